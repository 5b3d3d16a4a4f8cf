"""The super conductor: from a build request to an instance in a cell and a message to its host."""

import logging
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from oslo_config import cfg

from kilonova.conductor import plan
from kilonova.conductor.move_starter import MoveStarter
from kilonova.conductor.notices import Notices
from kilonova.conductor.task_workers import TaskWorkers
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, log_under, service_context
from kilonova.core.decision_record import CLAIM
from kilonova.core.errors import DatabaseUnavailable, KilonovaError
from kilonova.core.ids import CELL0, CellUuid, InstanceUuid
from kilonova.core.scheduling import Decision
from kilonova.db import build_requests, instances
from kilonova.db.build_requests import Pending
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.db.scatter import gather
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import (
    BuildInstance,
    BuildServers,
    Destinations,
    RunTask,
    SelectDestinations,
    StartMove,
)

LOG = logging.getLogger(__name__)

_LARGEST_BATCH = 500
_SCHEDULING_TIMEOUT = 55.0
"""Seconds; less than the lease on a build request, so that nobody else takes it up meanwhile."""

_AWAY = "The database of the chosen cell does not answer."
"""Why servers of a batch wait whose cell went away."""

_encode = msgspec.json.Encoder().encode


class SuperConductor:
    """Handles ``BuildServers``: what has arrived is driven together, by a few threads."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        collaborators: tuple[Database, Cells, Buses, Placement],
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._api_db, self._cells, self._buses, self._placement = collaborators
        self._alternates = conf.scheduler.max_attempts - 1
        self._build_timeout = conf.instance_build_timeout
        self._token = str(uuid.uuid4())
        self.moves = MoveStarter(conf, collaborators)
        self._arrived: queue.SimpleQueue[InstanceUuid | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.tasks = TaskWorkers(self._api_db, self._cells, self._buses)

    def start(self, threads: int = 2) -> None:
        """Begin to drive."""
        self.moves.start()
        for number in range(threads):
            thread = threading.Thread(target=self._run, name=f"drive-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what is in hand. What only arrived stays in the database and is driven by another."""
        self.tasks.stop()
        for _ in self._threads:
            self._arrived.put(None)
        self.moves.stop()
        deadline = time.monotonic() + 8
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def build_servers(self, _context: RequestContext, message: BuildServers) -> None:
        """Take note of servers to build."""
        for instance_uuid in message.instance_uuids:
            self._arrived.put(instance_uuid)

    def run_task(self, _context: RequestContext, message: RunTask) -> None:
        """Take note of an operator's task."""
        self.tasks.take_note(message.task_id, message.queue)

    def start_move(self, context: RequestContext, message: StartMove) -> None:
        """Take note of a server to move."""
        self.moves.start_move(context, message)

    def _run(self) -> None:
        while (first := self._arrived.get()) is not None:
            batch = [first]
            try:
                while len(batch) < _LARGEST_BATCH:
                    following = self._arrived.get_nowait()
                    if following is None:
                        self._arrived.put(None)
                        break
                    batch.append(following)
            except queue.Empty:
                pass
            try:
                self.drive(batch)
            except KilonovaError as error:
                LOG.warning("%d build requests wait for the converger: %s", len(batch), error)
            except Exception:
                LOG.exception("Driving %d build requests failed", len(batch))

    def drive(self, uuids: Sequence[InstanceUuid]) -> None:
        """Take build requests and bring each to a cell; what cannot go on is given back.

        Raises:
            DatabaseUnavailable: nothing was taken, or what was taken is driven again after its lease.
        """
        now = utcnow()
        pending = build_requests.take(self._api_db, uuids, self._token, now)
        withdrawn = [p for p in pending if p.withdrawn]
        if withdrawn:
            self._or_give_back(self._clear_away, withdrawn)
        kept = [p for p in pending if not p.withdrawn]
        earlier, silent = self._finish_earlier([p for p in kept if p.redriven])
        fresh = [p for p in kept if p.instance.uuid not in earlier]
        groups: defaultdict[bytes, list[Pending]] = defaultdict(list)
        late = []
        for one in fresh:
            if plan.is_late(one, self._build_timeout, now):
                late.append(one)
            else:
                groups[_encode(one.spec)].append(one)
        for group in groups.values():
            self._or_give_back(partial(self._build_alike, silent=silent), group)
        if late:
            self._or_give_back(self._give_up, late)

    def _or_give_back(
        self, work: Callable[[Sequence[Pending]], None], group: Sequence[Pending]
    ) -> None:
        try:
            work(group)
        except KilonovaError as error:
            LOG.warning("%d build requests are given back: %s", len(group), error)
            given_back = [p.instance.uuid for p in group]
            build_requests.release(self._api_db, given_back, self._token, str(error))

    def _give_up(self, late: Sequence[Pending]) -> None:
        """Put servers that were not placed in time into cell0, with whatever was claimed for them freed."""
        now = utcnow()
        uuids = [p.instance.uuid for p in late]
        self._placement.free(uuids)
        fault = plan.timed_out(self._build_timeout, now)
        refused = [plan.refuse(p, fault, now) for p in late]
        instances.insert(self._cells.database(CELL0), refused)
        settled = build_requests.settle(self._api_db, dict.fromkeys(uuids, CELL0), self._token)
        self._notices.tell_refused(r for r in refused if r.instance.uuid in settled.mapped)

    def _finish_earlier(
        self, redriven: Sequence[Pending]
    ) -> tuple[frozenset[InstanceUuid], frozenset[CellUuid]]:
        """Settle servers that an earlier driver had placed; the converger sends them to their hosts.

        Returns them, and the cells that do not tell whether they have some. A server that may be in one
        of these was never sent to a host, so it may go to another cell, and the converger removes it from
        there; but it must not go to that cell a second time.
        """
        if not redriven:
            return frozenset(), frozenset()
        uuids = [p.instance.uuid for p in redriven]
        found = gather(self._cells, lambda db: instances.known(db, uuids), hosts_only=False)
        earlier = {uuid: cell for cell, here in found.answers.items() for uuid in here}
        if earlier:
            build_requests.settle(self._api_db, earlier, self._token)
        return frozenset(earlier), found.silent

    def _build_alike(self, group: Sequence[Pending], *, silent: frozenset[CellUuid]) -> None:
        began = utcnow()
        context = _context_of(group[0])
        log_under(context)
        by_uuid = {p.instance.uuid: p for p in group}
        message = SelectDestinations(
            spec=group[0].spec, instance_uuids=tuple(by_uuid), alternates=self._alternates
        )
        answer = self._buses.default().call(
            context, message, Destinations, timeout=_SCHEDULING_TIMEOUT
        )
        now = utcnow()
        claim = answer.record.stage(CLAIM) if answer.record else None
        placed: defaultdict[CellUuid, list[tuple[Placed, Decision]]] = defaultdict(list)
        for decision in answer.decisions:
            pending = by_uuid[decision.instance_uuid]
            cell = CellUuid(plan.cell_of(decision))
            if pending.redriven and cell in silent:
                continue
            one = plan.place(pending, decision, began, now, claim)
            placed[cell].append((one, decision))
            LOG.info("%s goes to %s", decision.instance_uuid, one.instance.host or "no host")
        written = {cell: here for cell, here in placed.items() if self._write(cell, here)}
        chosen = {one.instance.uuid: cell for cell, here in written.items() for one, _ in here}
        decided = plan.outcome(by_uuid, answer, now)
        settled = build_requests.settle(self._api_db, chosen, self._token, decided)
        for cell, here in written.items():
            sent = [(o, d) for o, d in here if o.instance.uuid in settled.mapped]
            if cell != CELL0:
                self._send(cell, sent, by_uuid)
            else:
                self._notices.tell_refused(one for one, _ in sent)
        if len(chosen) < len(group):
            waiting = by_uuid.keys() - chosen.keys()
            build_requests.release(self._api_db, waiting, self._token, _AWAY)
        if settled.lost:
            self._clear_away([p for p in group if p.instance.uuid in settled.lost])

    def _write(self, cell: CellUuid, here: Sequence[tuple[Placed, Decision]]) -> bool:
        """Write servers into their cell; False if it does not answer, which is no other cell's concern."""
        try:
            instances.insert(self._cells.database(cell), [one for one, _ in here])
        except DatabaseUnavailable as error:
            LOG.warning("%d build requests are given back, of cell %s: %s", len(here), cell, error)
            return False
        return True

    def _clear_away(self, withdrawn: Sequence[Pending]) -> None:
        """Remove whatever was placed and claimed for servers that their owners deleted meanwhile."""
        uuids = [p.instance.uuid for p in withdrawn]
        self._placement.free(uuids)
        for cell in self._cells.all():
            instances.remove(self._cells.database(cell.uuid), uuids)
        build_requests.forget(self._api_db, uuids, self._token)

    def _send(
        self,
        cell_uuid: CellUuid,
        placed: Sequence[tuple[Placed, Decision]],
        by_uuid: dict[InstanceUuid, Pending],
    ) -> None:
        bus: Bus = self._buses.at(self._cells.get(cell_uuid).transport_url)
        for one, decision in placed:
            if decision.destination is None:
                continue
            message = BuildInstance(
                instance=one.instance,
                destination=decision.destination,
                alternates=decision.alternates,
            )
            context = _context_of(by_uuid[one.instance.uuid])
            try:
                bus.cast(context, message, host=decision.destination.host)
            except KilonovaError as error:
                LOG.warning("%s waits for the converger: %s", one.instance.uuid, error)


def _context_of(pending: Pending) -> RequestContext:
    return msgspec.structs.replace(
        service_context(),
        request_id=pending.request_id,
        user_id=pending.instance.user_id,
        project_id=pending.instance.project_id,
    )
