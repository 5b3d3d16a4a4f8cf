"""The cell conductor: stores what hosts report, and follows up on what failed or is gone."""

import logging
from collections.abc import Sequence

import msgspec

from kilonova.conductor import plan
from kilonova.conductor.rebuild import Rebuild
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.db import hosted, hosts, instances, reports
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import (
    HostInstances,
    ListInstances,
    ReportHost,
    ReportInstances,
    ReportsTaken,
    Taken,
    Topic,
)

LOG = logging.getLogger(__name__)


class CellConductor:
    """Handles the messages of a cell's compute hosts."""

    def __init__(self, cell_db: Database, bus: Bus, placement: Placement) -> None:
        self._cell_db = cell_db
        self._placement = placement
        self._rebuild = Rebuild(cell_db, bus, placement)

    def report_host(self, _context: RequestContext, message: ReportHost) -> Taken:
        """Store a host's sign of life and, if it says so, what it has."""
        service = (hosts.COMPUTE, message.host, Topic.COMPUTE.value)
        if hosts.beat(self._cell_db, service, message.nodes, utcnow()):
            LOG.info("Compute host %s is new", message.host)
        return Taken()

    def list_instances(self, _context: RequestContext, message: ListInstances) -> HostInstances:
        """Return the servers that a host should have, and the guests that it should not."""
        if message.start:
            hosts.begin_start(self._cell_db, message.host, message.start)
        return HostInstances(
            instances=instances.of_host(self._cell_db, message.host),
            disowned=hosted.not_on(self._cell_db, message.host, message.guests),
            start=hosts.count_start(self._cell_db, message.host) if message.starting else 0,
        )

    def report_instances(self, context: RequestContext, message: ReportInstances) -> ReportsTaken:
        """Apply a host's reports in one transaction, then follow up on failures and deletes."""
        refused = reports.apply(self._cell_db, message.host, message.reports, utcnow())
        taken = [r for index, r in enumerate(message.reports) if index not in refused]
        self._bury([report for report in taken if report.gone])
        for report in taken:
            if report.failure is not None:
                # Under the request that the build is for, not under that of the report.
                building = msgspec.structs.replace(context, request_id=report.request_id)
                self._try_next(building, report, report.failure)
        return ReportsTaken(refused=refused)

    def _bury(self, gone: Sequence[InstanceReport]) -> None:
        """Free the claims of servers that are gone, and only then mark them deleted."""
        uuids = [report.instance_uuid for report in gone]
        if not uuids:
            return
        try:
            self._placement.free(uuids)
        except KilonovaError as error:
            # They stay in `deleting`: the converger asks their host again.
            LOG.warning("%d deleted servers keep their claims for now: %s", len(uuids), error)
            return
        instances.mark_deleted(self._cell_db, uuids, utcnow())

    def _try_next(
        self, context: RequestContext, report: InstanceReport, failure: BuildFailure
    ) -> None:
        """Give a failed build to the next host that still has room, or up.

        What cannot be done now is left to the converger.
        """
        LOG.info("%s: build failed: %s", report.instance_uuid, failure.reason)
        instance = instances.get(self._cell_db, report.instance_uuid)
        if instance is None or instance.epoch != report.epoch:
            return
        destinations = reports.destinations_of(self._cell_db, instance.uuid)
        candidates = plan.next_hosts(destinations, failure, instance.epoch)
        try:
            waiting = self._rebuild.end(instance)
            if waiting is None or self._rebuild.start(context, waiting, candidates):
                return
            if self._rebuild.give_up(waiting, plan.gave_up(failure, utcnow())):
                request = report.request_id
                reports.finish_action(self._cell_db, instance.uuid, request, "Error", utcnow())
        except KilonovaError as error:
            LOG.warning("%s waits for the converger: %s", instance.uuid, error)
