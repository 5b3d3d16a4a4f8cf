"""What a cell conductor notifies of: reports that were taken, builds that were given up, new hosts.

Nothing is looked up unless somebody wants notifications, nothing is told before it is in the database, and
no report fails by what cannot be told.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from kilonova.core.context import service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, VmState
from kilonova.db import actions, hosts, instances
from kilonova.db.engine import Database
from kilonova.rpc.notifications import instances as payloads
from kilonova.rpc.notifications import reports as told
from kilonova.rpc.notifications.notification import Notification, by_conductor
from kilonova.rpc.notifications.notifier import Notifier
from kilonova.rpc.notifications.services import by_service, of_service

LOG = logging.getLogger(__name__)

Seen = dict[InstanceUuid, Instance]
"""Servers as they were before reports on them were applied."""


class Notices:
    """Tells of the servers of a cell. ``name`` is the machine that the conductor is on."""

    def __init__(self, cell_db: Database, notifier: Notifier, name: HostName) -> None:
        self._cell_db = cell_db
        self._notifier = notifier
        self._name = name

    def look(self, reports: Iterable[InstanceReport]) -> Seen:
        """Return the servers of reports as they are before these are applied."""
        if not self._notifier.is_on:
            return {}
        uuids = {report.instance_uuid for report in reports}
        try:
            return {one.uuid: one for one in instances.get_many(self._cell_db, uuids)}
        except KilonovaError as error:
            LOG.warning("Nobody is notified of %d reports: %s", len(uuids), error)
            return {}

    def tell(self, seen: Seen, reports: Sequence[InstanceReport], now: datetime) -> None:
        """Tell of reports that were applied, in order."""
        if not seen or not reports:
            return
        wanted = {(report.instance_uuid, report.request_id) for report in reports}
        try:
            known = actions.of_requests(self._cell_db, wanted)
        except KilonovaError as error:
            LOG.warning("Nobody is notified of %d reports: %s", len(reports), error)
            return
        for report in reports:
            before = seen.get(report.instance_uuid)
            if before is None:
                continue
            action = known.get((report.instance_uuid, report.request_id))
            asker = told.asker_of(report, action)
            for notification in told.notifications(before, report, action, now):
                self._notifier.emit(asker, notification)
            seen[report.instance_uuid] = told.after(before, report, now)

    def tell_given_up(self, before: Instance, report: InstanceReport, fault: Fault) -> None:
        """Tell that a server is in ERROR, as no host could build it."""
        if not self._notifier.is_on:
            return
        failed = msgspec.structs.replace(
            before,
            host=None,
            node=None,
            vm_state=VmState.ERROR,
            task_state=None,
            power_state=PowerState.NOSTATE,
            updated_at=fault.created_at,
        )
        asker = msgspec.structs.replace(
            service_context(report.request_id),
            user_id=before.user_id,
            project_id=before.project_id,
        )
        payload = payloads.of_update(before, failed, asker, fault.created_at)
        update = Notification(
            event_type="instance.update", publisher=by_conductor(self._name), payload=payload
        )
        self._notifier.emit(asker, update)

    def tell_new_host(self, host: HostName) -> None:
        """Tell of a compute service that reported for the first time."""
        if not self._notifier.is_on:
            return
        try:
            found = hosts.list_services(self._cell_db, binary=hosts.COMPUTE, host=host)
        except KilonovaError as error:
            LOG.warning("Nobody is notified of the new host %s: %s", host, error)
            return
        for service in found:
            made = Notification(
                event_type="service.create",
                publisher=by_service(service),
                payload=of_service(service),
            )
            self._notifier.emit(service_context(), made)
