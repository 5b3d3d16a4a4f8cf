"""The cell conductor: stores what hosts report, and follows up on what failed or is gone."""

import logging
from collections.abc import Sequence

import msgspec

from kilonova.conductor import plan
from kilonova.conductor.cell_moves import CellMoves
from kilonova.conductor.notices import Notices
from kilonova.conductor.rebuild import Rebuild
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName
from kilonova.core.report import BuildFailure, InstanceReport, Tried
from kilonova.db import actions, builds, hosted, hosts, instances, moved_parts, reports
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import (
    HostInstances,
    ListInstances,
    Ping,
    ReportHost,
    ReportInstances,
    ReportsTaken,
    Taken,
    Topic,
)
from kilonova.rpc.notifications.notifier import Silent

LOG = logging.getLogger(__name__)


class CellConductor:
    """Handles the messages of a cell's compute hosts."""

    def __init__(
        self, cell_db: Database, bus: Bus, placement: Placement, notices: Notices | None = None
    ) -> None:
        self._cell_db = cell_db
        self._notices = notices or Notices(Silent(), HostName(""))
        self._placement = placement
        self._moves = CellMoves(cell_db, bus, placement)
        self._rebuild = Rebuild(cell_db, bus, placement, self._notices)

    def ping(self, _context: RequestContext, _message: Ping) -> Taken:
        """Answer, if the database answers."""
        hosts.list_services(self._cell_db, binary=hosts.COMPUTE, host="")
        return Taken()

    def report_host(self, _context: RequestContext, message: ReportHost) -> Taken:
        """Store a host's sign of life and, if it says so, what it has."""
        service = (hosts.COMPUTE, message.host, Topic.COMPUTE.value)
        if hosts.beat(self._cell_db, service, message.nodes, utcnow(), message.vitals):
            LOG.info("Compute host %s is new", message.host)
            self._notices.tell_new_host(self._cell_db, message.host)
        return Taken()

    def list_instances(self, _context: RequestContext, message: ListInstances) -> HostInstances:
        """Return the servers that a host should have, and the guests that it should not."""
        if message.start:
            hosts.begin_start(self._cell_db, message.host, message.start)
        # First, because what begins to move while this is read must not look as if it were nobody's.
        here = instances.of_host(self._cell_db, message.host)
        # Before and after, because an evacuation may begin or end while this is read.
        leaving = moved_parts.evacuated_from(self._cell_db, message.host)
        disowned = hosted.not_on(self._cell_db, message.host, message.guests)
        leaving |= moved_parts.evacuated_from(self._cell_db, message.host)
        moving = moved_parts.moving(self._cell_db, message.host)
        self._moves.resume(message.host)
        return HostInstances(
            instances=here,
            disowned=tuple(uuid for uuid in disowned if uuid not in moving),
            moving=moving,
            kept=tuple(uuid for uuid in disowned if uuid in leaving),
            start=hosts.count_start(self._cell_db, message.host) if message.starting else 0,
        )

    def report_instances(self, context: RequestContext, message: ReportInstances) -> ReportsTaken:
        """Apply a host's reports in one transaction, then follow up on failures and deletes."""
        seen = self._notices.look(self._cell_db, message.reports)
        done = reports.apply(self._cell_db, message.host, message.reports, utcnow())
        taken = [r for index, r in enumerate(message.reports) if index not in done.refused]
        buried = self._bury([report for report in taken if report.gone], message.host)
        told = [report for report in taken if buried or not report.gone]
        plain = [report for report in told if report.move is None]
        self._notices.tell(self._cell_db, message.host, seen, plain)
        for report in taken:
            self._moves.hear(report)
        moved = [report for report in told if report.move is not None]
        self._notices.tell(self._cell_db, message.host, seen, moved)
        for report in taken:
            if report.failure is not None:
                # Under the request that the build is for, not under that of the report.
                building = msgspec.structs.replace(context, request_id=report.request_id)
                self._try_next(building, report, report.failure)
        return ReportsTaken(refused=done.refused, unfit=done.unfit)

    def _bury(self, gone: Sequence[InstanceReport], host: HostName) -> bool:
        """Free the claims of servers that are gone, and only then mark them deleted; False if not yet."""
        uuids = [report.instance_uuid for report in gone]
        if not uuids:
            return True
        try:
            over = self._moves.leave_behind(uuids, host)
            self._placement.free([*uuids, *(move.consumer for move in over)])
        except KilonovaError as error:
            # They stay in `deleting`: the converger asks their host again.
            LOG.warning("%d deleted servers keep their claims for now: %s", len(uuids), error)
            return False
        instances.mark_deleted(self._cell_db, uuids, utcnow())
        return True

    def _try_next(
        self, context: RequestContext, report: InstanceReport, failure: BuildFailure
    ) -> None:
        """Give a failed build to the next host that still has room, or up, without scheduling again.

        What cannot be done now is left to the converger.
        """
        LOG.info("%s: build failed: %s", report.instance_uuid, failure.reason)
        instance = instances.get(self._cell_db, report.instance_uuid)
        if instance is None or instance.epoch != report.epoch:
            return
        destinations = builds.destinations_of(self._cell_db, instance.uuid)
        candidates = plan.next_hosts(destinations, failure, instance.epoch)
        try:
            waiting = self._rebuild.end(instance)
            if waiting is None:
                return
            started = self._rebuild.start(context, waiting, candidates)
            if started.destination is None:
                action = actions.get_action(self._cell_db, instance.uuid, report.request_id)
                events = (*(action.events if action else ()), *started.tries)
                fault = plan.gave_up(failure, events, utcnow())
                tried = Tried(request_id=report.request_id, events=started.tries)
                self._rebuild.give_up(waiting, fault, tried)
        except KilonovaError as error:
            LOG.warning("%s waits for the converger: %s", instance.uuid, error)
