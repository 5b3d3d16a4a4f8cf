"""What compute hosts report of their servers, applied to the cell's database.

One batch of reports is one transaction. A report is refused when its epoch no longer counts or its server
is being deleted. What a guest did by itself is refused, too, while something else is under way with it. A
report that comes again, or after a later one of its host, counts as taken and changes nothing: so late,
repeated and reordered reports do no harm.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import ActionEvent, Fault
from kilonova.core.report import REPORTS_OF_A_START, InstanceReport
from kilonova.core.scheduling import Destination
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db.actions import event_row
from kilonova.db.cell_schema import (
    InstanceFault,
    StoredAction,
    StoredEvent,
    StoredInstance,
    StoredService,
)
from kilonova.db.engine import Database
from kilonova.db.hosts import COMPUTE
from kilonova.db.instances import fault_row
from kilonova.db.statements import insert_if_absent, table_of

_instances = table_of(StoredInstance)
_events = table_of(StoredEvent)
_actions = table_of(StoredAction)
_services = table_of(StoredService)

_task = _instances.c.task_state
_stays = sa.or_(_task.is_(None), _task != TaskState.DELETING)
_current = sa.and_(
    _instances.c.uuid == sa.bindparam("b_uuid"),
    _instances.c.host == sa.bindparam("b_host"),
    _instances.c.epoch == sa.bindparam("b_epoch"),
    _instances.c.deleted.is_(False),
)
_GONE = sa.update(_instances).where(_current)
_STAYS = _GONE.where(_stays)
_CHANGE = _STAYS.where(_instances.c.reported < sa.bindparam("b_number"))
_CHANGE_IDLE = _CHANGE.where(_task.is_(None), _instances.c.vm_state != VmState.ERROR)
_TAKEN_BEFORE = sa.select(_instances.c.uuid).where(
    _current, _stays, _instances.c.reported >= sa.bindparam("b_number")
)
_started = sa.select(_services.c.started).where(
    _services.c.binary == COMPUTE, _services.c.host == sa.bindparam("b_host")
)
_BEGIN = _STAYS.where(
    # Not by a service that has been started again since: nobody would go on with it.
    sa.func.coalesce(_started.scalar_subquery(), 0) <= sa.bindparam("b_start"),
    # Not once it has ended: this question may come again long after it was answered.
    _instances.c.vm_state == VmState.BUILDING,
    # The same builder may ask again, because the answer to its first question was lost.
    sa.or_(
        _instances.c.begun_epoch < sa.bindparam("b_epoch"),
        _instances.c.builder == sa.bindparam("b_builder"),
    ),
)
_FINISH = sa.update(_events).where(
    _events.c.instance_uuid == sa.bindparam("b_uuid"),
    _events.c.request_id == sa.bindparam("b_request"),
    _events.c.name == sa.bindparam("b_name"),
    _events.c.finished_at.is_(None),
)

_encode = msgspec.json.Encoder().encode
_decode_destinations = msgspec.json.Decoder(tuple[Destination, ...]).decode

_NUMBERED = (_CHANGE, _CHANGE_IDLE)
_LAST = (1 << 63) - 1
"""What a report without a number is compared as: it counts, as ever, whenever it comes."""

_SIMPLE = ("vm_state", "task_state", "power_state", "launched_at", "root_device_name")


def apply(
    cell_db: Database, host: HostName, reports: Sequence[InstanceReport], now: datetime
) -> tuple[int, ...]:
    """Apply a host's reports in order; return the indexes of those that were refused.

    Reports with ``gone`` or ``failure`` get their events written here; what else follows from them
    (freeing the claim, trying the next host) is the cell conductor's.
    """

    def work(connection: sa.Connection) -> tuple[int, ...]:
        refused = []
        # By what is unique of them: an event that ends in the batch it began in is one row.
        events: dict[tuple[Any, ...], dict[str, Any]] = {}
        for index, report in enumerate(reports):
            if not _apply_one(connection, host, report, now):
                refused.append(index)
                continue
            for event in report.events:
                if not (event.finished_at and _finish(connection, report, event)):
                    one = (report.instance_uuid, report.request_id, event.name, event.started_at)
                    events[one] = event_row(report.instance_uuid, report.request_id, event)
        # A report that is repeated, because its answer was lost, finds its events there.
        insert_if_absent(connection, _events, list(events.values()), "name")
        return tuple(refused)

    return cell_db.write(work)


def _apply_one(
    connection: sa.Connection, host: HostName, report: InstanceReport, now: datetime
) -> bool:
    values: dict[str, Any] = {
        name: value for name in _SIMPLE if (value := getattr(report, name)) is not UNSET
    }
    if report.vm_state is not UNSET:
        values["destinations"] = None
    values |= {"updated_at": now, "b_uuid": report.instance_uuid, "b_host": host}
    values |= {"b_epoch": report.epoch}
    if report.builder:
        values |= {"begun_epoch": report.epoch, "builder": report.builder}
        values |= {"b_builder": report.builder}
        values |= {"b_start": (report.number or _LAST) // REPORTS_OF_A_START}
    change = _change_of(report)
    if change in _NUMBERED:
        values |= {"b_number": report.number or _LAST}
        values |= {"reported": report.number} if report.number else {}
    if not connection.execute(change, values).rowcount:
        return change in _NUMBERED and _taken_before(connection, values)
    if report.fault is not None:
        row = fault_row(report.instance_uuid, report.fault)
        connection.execute(sa.insert(table_of(InstanceFault)), [row])
    return True


def _taken_before(connection: sa.Connection, values: Mapping[str, Any]) -> bool:
    names = ("b_uuid", "b_host", "b_epoch", "b_number")
    known = {name: values[name] for name in names}
    return connection.execute(_TAKEN_BEFORE, known).first() is not None


def _change_of(report: InstanceReport) -> sa.Update:
    if report.builder:
        return _BEGIN
    if report.gone:
        return _GONE
    return _CHANGE_IDLE if report.if_idle else _CHANGE


def _finish(connection: sa.Connection, report: InstanceReport, event: ActionEvent) -> bool:
    """Finish an event that an earlier report started; False if none did."""
    if report.builder or event.name != _STARTED_EARLIER:
        return False
    values = {
        "b_uuid": report.instance_uuid,
        "b_request": report.request_id,
        "b_name": event.name,
        "finished_at": event.finished_at,
        "result": event.result,
        "details": event.details,
        "traceback": event.traceback,
    }
    return bool(connection.execute(_FINISH, values).rowcount)


_STARTED_EARLIER = "compute__do_build_and_run_instance"
"""The event whose start is reported by itself; the others come finished, in one row."""


def raise_epoch(
    cell_db: Database, uuid: InstanceUuid, epoch: int, now: datetime, *, unbegun: bool = False
) -> bool:
    """End a build, so that nothing of it counts any more; the server waits under the next epoch.

    With ``unbegun`` only if its host did not begin it. False if ``epoch`` no longer counts, the build is
    done, or the server is being deleted: then nothing may be claimed or sent for it.
    """
    values = {"task_state": TaskState.SCHEDULING, "updated_at": now}
    change = _end_epoch(uuid, epoch, values).where(_instances.c.vm_state == VmState.BUILDING)
    if unbegun:
        change = change.where(_instances.c.begun_epoch < epoch)
    return bool(cell_db.write(lambda c: c.execute(change).rowcount))


def destinations_of(cell_db: Database, uuid: InstanceUuid) -> tuple[Destination, ...]:
    """Return where a server is being built, and after that where else it may be."""
    query = sa.select(_instances.c.destinations).where(_instances.c.uuid == uuid)
    stored = cell_db.query(lambda c: c.execute(query).scalar())
    return () if stored is None else _decode_destinations(stored)


def move(
    cell_db: Database,
    uuid: InstanceUuid,
    epoch: int,
    destinations: Sequence[Destination],
    now: datetime,
) -> bool:
    """Give a build that waits under ``epoch`` to the first of some hosts; the others are left to try.

    False if ``epoch`` no longer counts or the server is being deleted: then nothing may be sent.
    """
    chosen = destinations[0]
    unbegun = _instances.c.begun_epoch < epoch
    change = (
        _waiting(uuid, epoch)
        .where(unbegun)
        .values(
            host=chosen.host,
            node=chosen.node,
            availability_zone=chosen.availability_zone,
            destinations=_encode(destinations),
            vm_state=VmState.BUILDING,
            task_state=TaskState.SCHEDULING,
            reported=0,
            updated_at=now,
        )
    )
    return bool(cell_db.write(lambda c: c.execute(change).rowcount))


def _waiting(uuid: InstanceUuid, epoch: int) -> sa.Update:
    """Return the UPDATE of a server whose epoch still counts and that is not being deleted."""
    current = sa.and_(_instances.c.uuid == uuid, _instances.c.epoch == epoch)
    there = _instances.c.deleted.is_(False)
    return sa.update(_instances).where(current, there, _stays)


def _end_epoch(uuid: InstanceUuid, epoch: int, values: Mapping[str, Any]) -> sa.Update:
    return _waiting(uuid, epoch).values(epoch=epoch + 1, **values)


def fail(cell_db: Database, uuid: InstanceUuid, epoch: int, fault: Fault) -> bool:
    """Put a build that no host could do into ERROR, with no host; False if ``epoch`` no longer counts.

    The epoch is raised, so that nothing of the failed build can change the server again. It keeps its node
    as long as it may hold a claim: until ``note_freed``.
    """
    change = _end_epoch(
        uuid,
        epoch,
        {
            "host": None,
            "destinations": None,
            "vm_state": VmState.ERROR,
            "task_state": None,
            "power_state": PowerState.NOSTATE,
            "updated_at": fault.created_at,
        },
    ).where(_instances.c.vm_state == VmState.BUILDING)

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        connection.execute(sa.insert(table_of(InstanceFault)), [fault_row(uuid, fault)])
        return True

    return cell_db.write(work)


def note_freed(cell_db: Database, uuid: InstanceUuid, epoch: int) -> None:
    """Note that a server without a host holds nothing any more."""
    freed = _waiting(uuid, epoch).where(_instances.c.host.is_(None)).values(node=None)
    cell_db.write(lambda c: c.execute(freed))


def finish_action(
    cell_db: Database, uuid: InstanceUuid, request_id: str, message: str | None, now: datetime
) -> None:
    """Note on an action when it was last heard of and, with ``message``, that it failed."""
    change = (
        sa.update(_actions)
        .where(_actions.c.instance_uuid == uuid, _actions.c.request_id == request_id)
        .values(updated_at=now, message=message)
    )
    cell_db.write(lambda c: c.execute(change))
