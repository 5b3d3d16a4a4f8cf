"""The converger: compares what should be with what is, and sends on what stopped moving.

One leads at a time, by a lease. Every repair may be done twice without harm, is logged with the server's
UUID and counted. The cells are gone through at once: one that hangs is left to itself until it is done.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from functools import partial

from oslo_config import cfg
from prometheus_client import Counter

from kilonova.conductor import aggregate_mirror, plan, reclaimer
from kilonova.conductor.move_repairs import MoveRepairs
from kilonova.conductor.notices import Notices
from kilonova.conductor.port_repairs import PortRepairs
from kilonova.conductor.super_conductor import SuperConductor
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CELL0, CellUuid, HostName, NodeName, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.core.report import Tried
from kilonova.core.scheduling import Destination
from kilonova.core.states import HOST_TASKS, Action, TaskState
from kilonova.db import (
    actions,
    build_requests,
    decisions,
    hosts,
    instances,
    leases,
    moves,
    reports,
    tasks,
    unfinished,
)
from kilonova.db.cells import Cell, Cells, hosts_in, map_hosts, mapping_of
from kilonova.db.engine import Database
from kilonova.http import networks
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import BuildInstance, BuildServers, DeleteInstance

LOG = logging.getLogger(__name__)

REPAIRS = Counter("kilonova_converger_repairs", "What the converger sent on", ["repair"])

_UNTOUCHED = timedelta(seconds=15)
"""A build request that no conductor took up for so long is driven again."""
_NOT_BEGUN = timedelta(seconds=30)
"""A build that its host did not begin for so long is sent again, under the next epoch."""
_NOT_DELETED = timedelta(seconds=30)
_NOT_DONE = timedelta(seconds=300)
"""A task that its host said nothing of for so long is given up."""
_NOT_DONE_BY_SILENT = timedelta(seconds=60)
"""The same where the host gives no sign of life either."""
_PRUNING = timedelta(seconds=60)
"""Between two looks at whether old decisions are to be forgotten."""

_CELLS_AT_ONCE = 32
_MIRRORED_EVERY = 60.0
"""Seconds from one comparison of the aggregates with Placement's to the next."""


class Converger:
    """Runs a round every ``converge_interval`` seconds while it holds the lease."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        collaborators: tuple[Database, Cells, Buses, Placement],
        conductor: SuperConductor,
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._api_db, self._cells, self._buses, self._placement = collaborators
        self._interval = conf.converge_interval
        self._build_timeout = conf.instance_build_timeout
        self._down_time = conf.service_down_time
        self._kept = conf.reclaim_instance_interval
        self._decisions_kept = conf.scheduler.decisions_kept
        self._next_pruning = utcnow()
        self._conductor = conductor
        self._moves = MoveRepairs(
            conf, (self._api_db, self._cells, self._placement), conductor.moves
        )
        self._ports = PortRepairs(networks.load(conf), self._api_db, self._cells)
        self._holder = f"{conf.host}-{uuid.uuid4()}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="converger", daemon=True)
        self._failing: set[str] = set()
        self._threads = ThreadPoolExecutor(_CELLS_AT_ONCE, "converge")
        self._under_way: dict[CellUuid, Future[None]] = {}
        self._mirrored_at = -_MIRRORED_EVERY

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the repair in hand, and let another lead."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._attempt("lease", lambda: leases.let_go(self._api_db, "converger", self._holder))

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self.round()
            except Exception:
                LOG.exception("A round of the converger failed")

    def round(self) -> None:
        """Do everything once, if this converger leads. One part's failure does not stop the others."""
        length = timedelta(seconds=3 * self._interval)
        held: list[int | None] = []
        self._attempt(
            "lease",
            lambda: held.append(
                leases.hold(self._api_db, "converger", self._holder, utcnow(), length)
            ),
        )
        if not held or held[0] is None:
            return
        self._attempt("build requests", self._drive_stale)
        self._attempt("decisions", self._forget_decisions)
        self._attempt("operators' tasks", self._conductor.tasks.mend)
        self._attempt("cells", self._cells.refresh)
        begun = self._begin_cells()
        self._attempt("aggregates", self._mirror_aggregates)
        self._attempt("ports", self._release_ports)
        wait(begun, timeout=self._interval)

    def _begin_cells(self) -> list[Future[None]]:
        """Begin to converge every cell but cell0, unless it is still being converged."""
        for cell in self._cells.all():
            before = self._under_way.get(cell.uuid)
            if cell.uuid != CELL0 and (before is None or before.done()):
                begun = self._threads.submit(self._converge_cell, cell)
                begun.add_done_callback(_tell)
                self._under_way[cell.uuid] = begun
        return list(self._under_way.values())

    def _converge_cell(self, cell: Cell) -> None:
        for name, repair in (
            ("hosts", self._map_hosts),
            ("late builds", self._fail_late),
            ("builds", self._send_again),
            ("soft deletes", self._reclaim),
            ("deletes", self._delete_again),
            ("tasks", self._give_up_tasks),
            ("moves", self._send_moves_on),
            ("moves' ends", self._moves.settle),
        ):
            self._attempt(f"{name} of {cell.name}", partial(repair, cell.uuid))

    def _attempt(self, what: str, repair: Callable[[], None]) -> None:
        try:
            repair()
        except KilonovaError as error:
            if what not in self._failing:
                LOG.warning("Converging %s failed: %s", what, error)
            self._failing.add(what)
        else:
            if what in self._failing:
                LOG.info("Converging %s works again", what)
            self._failing.discard(what)

    def _mirror_aggregates(self) -> None:
        if time.monotonic() - self._mirrored_at < _MIRRORED_EVERY:
            return
        changed = aggregate_mirror.repair(self._api_db, self._cells, self._placement)
        REPAIRS.labels("aggregate").inc(changed)
        self._mirrored_at = time.monotonic()

    def _release_ports(self) -> None:
        REPAIRS.labels("port").inc(self._ports.repair())

    def _drive_stale(self) -> None:
        stale = build_requests.stale(self._api_db, utcnow(), untouched=_UNTOUCHED)
        if stale:
            LOG.info("Driving again: %s", ", ".join(stale))
            REPAIRS.labels("drive").inc(len(stale))
            self._conductor.build_servers(service_context(), BuildServers(instance_uuids=stale))

    def _forget_decisions(self) -> None:
        now = utcnow()
        if now >= self._next_pruning:
            self._next_pruning = now + _PRUNING
            decisions.prune(self._api_db, now, self._decisions_kept)

    def _map_hosts(self, cell: CellUuid) -> None:
        found = set(hosts.hosts_of(self._cells.database(cell)))
        map_hosts(self._api_db, cell, found - hosts_in(self._api_db, cell))

    def _fail_late(self, cell: CellUuid) -> None:
        if not self._build_timeout:
            return
        now = utcnow()
        database = self._cells.database(cell)
        before = now - timedelta(seconds=self._build_timeout)
        for late in unfinished.building_since(database, before):
            fault = plan.timed_out(self._build_timeout, now)
            request = actions.request_of(database, late.uuid, Action.CREATE)
            tried = Tried(request_id=request, events=()) if request else None
            if reports.fail(database, late.uuid, late.epoch, fault, tried):
                self._note("late", late)
                self._notices.tell_given_up(late, request, fault)
                self._placement.free([late.uuid])

    def _send_again(self, cell: CellUuid) -> None:
        database = self._cells.database(cell)
        for waiting in unfinished.never_begun(database, utcnow() - _NOT_BEGUN):
            mapping = mapping_of(self._api_db, waiting.uuid)
            if mapping is None or mapping.cell_uuid is None:
                # Its build request is still there: it is settled, or cleared away, by who drives that.
                continue
            if mapping.cell_uuid != cell:
                # It lives elsewhere: who placed it here had lost it to another conductor by then.
                instances.remove(database, [waiting.uuid])
                continue
            chosen = self._destination(waiting, cell)
            to = (chosen.host, chosen.node, chosen.availability_zone)
            now = utcnow()
            context = self._context(cell, waiting, Action.CREATE)
            tried = Tried(request_id=context.request_id, events=(plan.sent_again(chosen, now),))
            if not reports.move(database, waiting.uuid, waiting.epoch, to, now, tried):
                continue
            again = instances.get(database, waiting.uuid)
            if again is not None:
                self._note("build", again)
                message = BuildInstance(instance=again, destination=chosen)
                self._bus(cell).cast(context, message, host=chosen.host)

    def _destination(self, instance: Instance, cell: CellUuid) -> Destination:
        held = self._placement.held_by(instance.uuid)
        return Destination(
            host=instance.host or HostName(""),
            node=instance.node or NodeName(""),
            cell_uuid=cell,
            provider_uuid=ProviderUuid(next(iter(held), "")),
            availability_zone=instance.availability_zone or "",
            allocation=held,
        )

    def _reclaim(self, cell: CellUuid) -> None:
        if self._kept:
            begun = reclaimer.reclaim(self._cells.database(cell), self._bus(cell), self._kept)
            REPAIRS.labels("reclaim").inc(begun)

    def _delete_again(self, cell: CellUuid) -> None:
        now = utcnow()
        database = self._cells.database(cell)
        deleting = unfinished.in_task(database, [TaskState.DELETING], now - _NOT_DELETED)
        for instance in deleting:
            self._note("delete", instance)
            # Again, because the API may have got no further than to begin.
            build_requests.queue_for_delete(self._api_db, instance.uuid)
            if instance.host is None:
                over = self._conductor.moves.of_cell(cell).leave_behind([instance.uuid], "")
                self._placement.free([instance.uuid, *(move.consumer for move in over)])
                instances.mark_deleted(database, [instance.uuid], now)
                self._notices.tell_one(database, instance, plan.gone(instance))
            else:
                message = DeleteInstance(instance=instance)
                context = self._context(cell, instance, Action.DELETE)
                self._bus(cell).cast(context, message, host=instance.host)

    def _send_moves_on(self, cell: CellUuid) -> None:
        REPAIRS.labels("move").inc(self._moves.send_on(cell))

    def _give_up_tasks(self, cell: CellUuid) -> None:
        now = utcnow()
        database = self._cells.database(cell)
        quiet = unfinished.in_task(database, HOST_TASKS, now - _NOT_DONE_BY_SILENT)
        if not quiet:
            return
        moving = moves.moving_among(database, [instance.uuid for instance in quiet])
        silent = hosts.silent_since(database, now - timedelta(seconds=self._down_time))
        for instance in quiet:
            if instance.uuid in moving:
                continue
            if instance.host in silent:
                reason = "The host of the server does not answer."
            elif (instance.updated_at or now) < now - _NOT_DONE:
                reason = f"The host did not do it within {_NOT_DONE.seconds} seconds."
            else:
                continue
            self._note("task", instance)
            if tasks.give_up(database, instance, reason, now):
                self._notices.tell_one(database, instance, plan.gave_up_task(instance, reason))

    def _context(self, cell: CellUuid, instance: Instance, action: Action) -> RequestContext:
        """Return the context in which an action is carried on, so that its events stay together."""
        return service_context(
            actions.request_of(self._cells.database(cell), instance.uuid, action)
        )

    def _bus(self, cell: CellUuid) -> Bus:
        return self._buses.at(self._cells.get(cell).transport_url)

    def _note(self, repair: str, instance: Instance) -> None:
        LOG.info("Repair %s: %s on %s", repair, instance.uuid, instance.host)
        REPAIRS.labels(repair).inc()


def _tell(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        LOG.error("Converging a cell failed", exc_info=error)
