"""What a cell conductor notifies of: reports that were taken, builds that were given up, new hosts.

Nothing is looked up unless somebody wants notifications, nothing is told before it is in the database, and
no report fails by what cannot be told.
"""

import logging
from collections.abc import Iterable, Sequence

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import Fault, Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db import actions, hosts, instances
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.rpc.notifications import instances as payloads
from kilonova.rpc.notifications import reports as told
from kilonova.rpc.notifications.notification import Notification, by_compute, by_conductor
from kilonova.rpc.notifications.notifier import Notifier
from kilonova.rpc.notifications.services import by_service, of_service

LOG = logging.getLogger(__name__)

Seen = dict[InstanceUuid, Instance]
"""Servers as they were before reports on them were applied."""


class Notices:
    """Tells of servers and hosts. ``name`` is the machine that the conductor is on."""

    def __init__(self, notifier: Notifier, name: HostName) -> None:
        self._notifier = notifier
        self._name = name

    def look(self, cell_db: Database, reports: Iterable[InstanceReport]) -> Seen:
        """Return the servers of reports as they are before these are applied."""
        if not self._notifier.is_on:
            return {}
        uuids = {report.instance_uuid for report in reports}
        try:
            return {one.uuid: one for one in instances.get_many(cell_db, uuids)}
        except KilonovaError as error:
            LOG.warning("Nobody is notified of %d reports: %s", len(uuids), error)
            return {}

    def tell(
        self,
        cell_db: Database,
        host: HostName | None,
        seen: Seen,
        reports: Sequence[InstanceReport],
    ) -> None:
        """Tell of a host's reports that were applied, in order; no host is a conductor in its place.

        Those about moves are to be followed up first: it is then that they change the server.
        """
        if not seen or not reports:
            return
        now = utcnow()
        publisher = by_compute(host) if host else by_conductor(self._name)
        wanted = {(report.instance_uuid, report.request_id) for report in reports}
        try:
            known = actions.of_requests(cell_db, wanted)
            moved = {report.instance_uuid for report in reports if report.move is not None}
            found = {one.uuid: one for one in instances.get_many(cell_db, moved)} if moved else {}
        except KilonovaError as error:
            LOG.warning("Nobody is notified of %d reports: %s", len(reports), error)
            return
        for report in reports:
            before = seen.get(report.instance_uuid)
            if before is None:
                continue
            action = known.get((report.instance_uuid, report.request_id))
            asker = told.asker_of(report, action)
            server = told.after(before, report, now)
            if report.move is not None:
                server = found.get(report.instance_uuid, before)
            change = (before, server)
            for notification in told.notifications(publisher, report, change, action, now):
                self._notifier.emit(asker, notification)
            seen[report.instance_uuid] = server

    def tell_one(self, cell_db: Database, before: Instance, report: InstanceReport) -> None:
        """Tell of what a conductor did in place of a host, as if that had reported it."""
        if self._notifier.is_on:
            self.tell(cell_db, before.host, {before.uuid: before}, [report])

    def tell_given_up(self, before: Instance, request_id: RequestId | None, fault: Fault) -> None:
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
        self._tell_update(before, failed, request_id)

    def _tell_update(self, before: Instance, now: Instance, request_id: RequestId | None) -> None:
        """Tell of a server that is different since the conductor decided on it, for its owner."""
        asker = msgspec.structs.replace(
            service_context(request_id), user_id=now.user_id, project_id=now.project_id
        )
        payload = payloads.of_update(before, now, asker, now.updated_at or now.created_at)
        update = Notification(
            event_type="instance.update", publisher=by_conductor(self._name), payload=payload
        )
        self._notifier.emit(asker, update)

    def tell_refused(self, placed: Iterable[Placed]) -> None:
        """Tell of servers that are in ERROR, as there is no host for them."""
        for one in placed if self._notifier.is_on else ():
            if one.fault is not None:
                waiting = msgspec.structs.replace(
                    one.instance, vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING
                )
                self._tell_update(waiting, one.instance, one.action.request_id)

    def tell_new_host(self, cell_db: Database, host: HostName) -> None:
        """Tell of a compute service that reported for the first time."""
        if not self._notifier.is_on:
            return
        try:
            found = hosts.list_services(cell_db, binary=hosts.COMPUTE, host=host)
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
