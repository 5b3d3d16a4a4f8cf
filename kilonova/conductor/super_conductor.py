"""The super conductor: from a build request to an instance in a cell and a message to its host."""

import logging
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
from oslo_config import cfg

from kilonova.conductor import plan
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, log_under, service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CELL0, CellUuid, InstanceUuid
from kilonova.core.scheduling import Decision
from kilonova.db import build_requests, instances
from kilonova.db.build_requests import Pending
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import BuildInstance, BuildServers, Destinations, SelectDestinations

LOG = logging.getLogger(__name__)

_LARGEST_BATCH = 500
_SCHEDULING_TIMEOUT = 55.0
"""Seconds; less than the lease on a build request, so that nobody else takes it up meanwhile."""

_encode = msgspec.json.Encoder().encode


class SuperConductor:
    """Handles ``BuildServers``: what has arrived is driven together, by a few threads."""

    def __init__(
        self, conf: cfg.ConfigOpts, collaborators: tuple[Database, Cells, Buses, Placement]
    ) -> None:
        self._api_db, self._cells, self._buses, self._placement = collaborators
        self._alternates = conf.scheduler.max_attempts - 1
        self._build_timeout = conf.instance_build_timeout
        self._arrived: queue.SimpleQueue[InstanceUuid | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, threads: int = 2) -> None:
        """Begin to drive."""
        for number in range(threads):
            thread = threading.Thread(target=self._run, name=f"drive-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what is in hand. What only arrived stays in the database and is driven by another."""
        for _ in self._threads:
            self._arrived.put(None)
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
        fresh = [p for p in kept if not (p.redriven and self._finish_earlier(p))]
        groups: defaultdict[bytes, list[Pending]] = defaultdict(list)
        late = []
        for one in fresh:
            if plan.is_late(one, self._build_timeout, now):
                late.append(one)
            else:
                groups[_encode(one.spec)].append(one)
        for group in groups.values():
            self._or_give_back(self._build_alike, group)
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
            build_requests.release(self._api_db, given_back, group[0].driver)

    def _give_up(self, late: Sequence[Pending]) -> None:
        """Put servers that were not placed in time into cell0, with whatever was claimed for them freed."""
        now = utcnow()
        uuids = [p.instance.uuid for p in late]
        self._placement.free(uuids)
        fault = plan.timed_out(self._build_timeout, now)
        refused = [plan.refuse(p, fault, now) for p in late]
        instances.insert(self._cells.database(CELL0), refused)
        build_requests.settle(self._api_db, dict.fromkeys(uuids, CELL0), late[0].driver)

    def _finish_earlier(self, pending: Pending) -> bool:
        """Settle a server that an earlier driver had placed already; the converger sends it to its host."""
        found = pending.instance.uuid
        for cell in self._cells.all():
            if instances.get(self._cells.database(cell.uuid), found) is not None:
                build_requests.settle(self._api_db, {found: cell.uuid}, pending.driver)
                return True
        return False

    def _build_alike(self, group: Sequence[Pending]) -> None:
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
        placed: defaultdict[CellUuid, list[tuple[Placed, Decision]]] = defaultdict(list)
        for decision in answer.decisions:
            if decision.instance_uuid not in mine:
                LOG.warning("%s is another conductor's by now", decision.instance_uuid)
                continue
            one = plan.place(by_uuid[decision.instance_uuid], decision, began, now)
            placed[CellUuid(plan.cell_of(decision))].append((one, decision))
            LOG.info("%s goes to %s", decision.instance_uuid, one.instance.host or "no host")
        written: set[InstanceUuid] = set()
        for cell_uuid, here in placed.items():
            written |= instances.insert(self._cells.database(cell_uuid), [one for one, _ in here])
        chosen = {one.instance.uuid: cell for cell, here in placed.items() for one, _ in here}
        settled = build_requests.settle(self._api_db, chosen, group[0].driver)
        if settled.lost:
            self._clear_away([p for p in group if p.instance.uuid in settled.lost])
        for cell_uuid, here in placed.items():
            if cell_uuid != CELL0:
                # One that was there already was placed by another, under an epoch of its own.
                ours = settled.mapped & written
                sent = [(o, d) for o, d in here if o.instance.uuid in ours]
                self._send(cell_uuid, sent, by_uuid)

    def _clear_away(self, withdrawn: Sequence[Pending]) -> None:
        """Remove whatever was placed and claimed for servers that their owners deleted meanwhile."""
        uuids = [p.instance.uuid for p in withdrawn]
        for cell in self._cells.all():
            instances.remove(self._cells.database(cell.uuid), uuids)
        self._placement.free(uuids)
        build_requests.forget(self._api_db, uuids, withdrawn[0].driver)

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
