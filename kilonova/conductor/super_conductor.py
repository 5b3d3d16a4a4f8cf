"""The super conductor: from a build request to an instance in a cell and a message to its host."""

import logging
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
from kilonova.core.ids import CELL0, CellUuid, HostName, InstanceUuid
from kilonova.core.scheduling import Decision
from kilonova.db import build_requests, instances
from kilonova.db.build_requests import Outcome, Pending
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.db.scatter import gather
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import (
    BuildInstance,
    BuildInstances,
    BuildServers,
    Destinations,
    Message,
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
        self.arrive(message.instance_uuids)

    def arrive(self, uuids: Sequence[InstanceUuid]) -> None:
        """Have build requests driven, together with whatever else arrives."""
        for instance_uuid in uuids:
            self._arrived.put(instance_uuid)

    def run_task(self, _context: RequestContext, message: RunTask) -> None:
        """Take note of an operator's task."""
        self.tasks.take_note(message)

    def start_move(self, _context: RequestContext, message: StartMove) -> None:
        """Take note of a server to move."""
        self.moves.take_note(message)

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
        # Anew each time: a thread that stood still is as much another driver as another conductor is.
        pending = build_requests.take(self._api_db, uuids, str(uuid.uuid4()), now)
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
            build_requests.release(self._api_db, given_back, group[0].driver, str(error))

    def _give_up(self, late: Sequence[Pending]) -> None:
        """Put servers that were not placed in time into cell0, with whatever was claimed for them freed."""
        now = utcnow()
        uuids = [p.instance.uuid for p in late]
        self._placement.free(uuids)
        fault = plan.timed_out(self._build_timeout, now)
        refused = [plan.refuse(p, fault, now) for p in late]
        instances.insert(self._cells.database(CELL0), refused)
        owner = late[0].driver
        settled = build_requests.settle(self._api_db, dict.fromkeys(uuids, CELL0), owner)
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
            build_requests.settle(self._api_db, earlier, redriven[0].driver)
        return frozenset(earlier), found.silent

    def _build_alike(self, group: Sequence[Pending], *, silent: frozenset[CellUuid]) -> None:
        began = utcnow()
        context = _context_of(group[0])
        log_under(context)
        by_uuid = {p.instance.uuid: p for p in group}
        message = SelectDestinations(
            spec=group[0].spec,
            instance_uuids=tuple(by_uuid),
            alternates=self._alternates,
            epochs=tuple(p.epoch for p in group),
        )
        answer = self._buses.default().call(
            context, message, Destinations, timeout=_SCHEDULING_TIMEOUT
        )
        now = utcnow()
        # Whoever stood still for too long meanwhile must not write where its successor does not look.
        mine = build_requests.keep(self._api_db, tuple(by_uuid), group[0].driver, now)
        claim = answer.record.stage(CLAIM) if answer.record else None
        placed: defaultdict[CellUuid, list[tuple[Placed, Decision]]] = defaultdict(list)
        for decision in answer.decisions:
            pending = by_uuid[decision.instance_uuid]
            cell = CellUuid(plan.cell_of(decision))
            if pending.instance.uuid not in mine or (pending.redriven and cell in silent):
                continue
            one = plan.place(pending, decision, began, now, claim)
            placed[cell].append((one, decision))
            LOG.info("%s goes to %s", pending.instance.uuid, one.instance.host or "no host")
        self._settle(by_uuid, placed, plan.outcome(by_uuid, answer, now))

    def _settle(
        self,
        by_uuid: dict[InstanceUuid, Pending],
        placed: Mapping[CellUuid, Sequence[tuple[Placed, Decision]]],
        decided: Outcome | None,
    ) -> None:
        """Write servers into their cells, settle their requests, and send those that are ours to hosts."""
        driver = next(iter(by_uuid.values())).driver
        written = {cell: self._write(cell, here) for cell, here in placed.items()}
        chosen = {
            one.instance.uuid: cell
            for cell, here in placed.items()
            if written[cell] is not None
            for one, _ in here
        }
        settled = build_requests.settle(self._api_db, chosen, driver, decided)
        for cell, here in placed.items():
            # One that was there already was placed by another, under an epoch of its own.
            ours = settled.mapped & (written[cell] or frozenset())
            sent = [(o, d) for o, d in here if o.instance.uuid in ours]
            if cell != CELL0:
                self._send(cell, sent, by_uuid)
            else:
                self._notices.tell_refused(one for one, _ in sent)
        if len(chosen) < len(by_uuid):
            build_requests.release(self._api_db, by_uuid.keys() - chosen.keys(), driver, _AWAY)
        if settled.lost:
            self._clear_away([by_uuid[uuid] for uuid in sorted(settled.lost)])

    def _write(
        self, cell: CellUuid, here: Sequence[tuple[Placed, Decision]]
    ) -> frozenset[InstanceUuid] | None:
        """Write servers into their cell; return those that were not there, or None if it does not answer,
        which is no other cell's concern."""
        try:
            return instances.insert(self._cells.database(cell), [one for one, _ in here])
        except DatabaseUnavailable as error:
            LOG.warning("%d build requests are given back, of cell %s: %s", len(here), cell, error)
            return None

    def _clear_away(self, withdrawn: Sequence[Pending]) -> None:
        """Remove whatever was placed and claimed for servers that their owners deleted meanwhile."""
        uuids = [p.instance.uuid for p in withdrawn]
        self._placement.free(uuids)
        for cell in self._cells.all():
            instances.remove(self._cells.database(cell.uuid), uuids)
        build_requests.forget(self._api_db, uuids, withdrawn[0].driver)

    def _send(
        self,
        cell_uuid: CellUuid,
        placed: Sequence[tuple[Placed, Decision]],
        by_uuid: dict[InstanceUuid, Pending],
    ) -> None:
        bus: Bus = self._buses.at(self._cells.get(cell_uuid).transport_url)
        by_host: defaultdict[HostName, list[BuildInstance]] = defaultdict(list)
        for one, decision in placed:
            if (chosen := decision.destination) is not None:
                build = BuildInstance(
                    instance=one.instance, destination=chosen, alternates=decision.alternates
                )
                by_host[chosen.host].append(build)
        for host, builds in by_host.items():
            pending = [by_uuid[build.instance.uuid] for build in builds]
            try:
                bus.cast(_context_of(pending[0]), _together(builds, pending), host=host)
            except KilonovaError as error:
                LOG.warning("%d builds on %s wait for the converger: %s", len(builds), host, error)


def _together(builds: Sequence[BuildInstance], pending: Sequence[Pending]) -> Message:
    """Return the one message to the host of some builds."""
    if len(builds) == 1:
        return builds[0]
    requests = tuple(one.request_id for one in pending)
    return BuildInstances(builds=tuple(builds), request_ids=requests)


def _context_of(pending: Pending) -> RequestContext:
    return msgspec.structs.replace(
        service_context(),
        request_id=pending.request_id,
        user_id=pending.instance.user_id,
        project_id=pending.instance.project_id,
    )
