"""What compute hosts report of their servers, applied to the cell's database.

One batch of reports is one transaction. A report is refused when its epoch no longer counts or its server
is being deleted. What is said of a task is refused unless that task is under way, and what a guest did by
itself while anything is. A build that would break its server group's rule does not begin. A report that
comes again, or after a later one of its host, counts as taken and changes nothing: so late, repeated and
reordered reports do no harm.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from kilonova.core.ids import HostName
from kilonova.core.instance import BUILD_EVENT, ActionEvent
from kilonova.core.report import REPORTS_OF_A_START, InstanceReport
from kilonova.core.states import FOLLOWS_POWER, TaskState, VmState
from kilonova.db import card_orders, moves, shares, volumes
from kilonova.db.actions import end_action, event_row
from kilonova.db.carried import encode_nics
from kilonova.db.cell_schema import (
    InstanceFault,
    StoredAction,
    StoredEvent,
    StoredInstance,
    StoredService,
)
from kilonova.db.engine import Database
from kilonova.db.grouped import Beginnings
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
_number = sa.bindparam("b_number", type_=sa.BigInteger)
_CHANGE = _STAYS.where(_instances.c.reported < _number)
_CHANGE_IDLE = _CHANGE.where(_task.is_(None), _instances.c.vm_state.in_(FOLLOWS_POWER))
_TAKEN_BEFORE = sa.select(_instances.c.uuid).where(
    _current, _stays, _instances.c.reported >= _number
)
_CHANGE_TASK = _STAYS.where(
    _instances.c.task_request == sa.bindparam("b_request"),
    sa.or_(_instances.c.task_worker == "", _instances.c.task_worker == sa.bindparam("b_worker")),
    # Its number is not compared: whoever asks again whether it may begin is to hear the same again.
).values(reported=sa.case((_instances.c.reported < _number, _number), else_=_instances.c.reported))
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

_NUMBERED = (_CHANGE, _CHANGE_IDLE)
_LAST = (1 << 63) - 1
"""What a report without a number is compared as: it counts, as ever, whenever it comes."""

_SIMPLE = ("vm_state", "task_state", "power_state", "launched_at", "root_device_name", "password")


class Applied(msgspec.Struct, frozen=True):
    """The indexes of the reports that were refused; of those that begin a build in vain, also why their
    host is ``unfit``."""

    refused: tuple[int, ...]
    unfit: dict[int, str] = {}


def apply(
    cell_db: Database, host: HostName, reports: Sequence[InstanceReport], now: datetime
) -> Applied:
    """Apply a host's reports in order.

    Reports with ``gone`` or ``failure`` get their events written here; what else follows from them
    (freeing the claim, trying the next host) is the cell conductor's.
    """

    def work(connection: sa.Connection) -> Applied:
        beginnings = Beginnings(connection, reports)
        refused: list[int] = []
        unfit: dict[int, str] = {}
        # By what is unique of them: an event that ends in the batch it began in is one row.
        events: dict[tuple[Any, ...], dict[str, Any]] = {}
        for index, report in enumerate(reports):
            why = beginnings.refusal(host, report)
            if why is not None:
                unfit[index] = why
            if why is not None or not _take(connection, host, report, now):
                refused.append(index)
                continue
            beginnings.note(host, report)
            for event in report.events:
                if not (event.finished_at and _finish(connection, report, event)):
                    one = (report.instance_uuid, report.request_id, event.name, event.started_at)
                    events[one] = event_row(report.instance_uuid, report.request_id, event)
            if report.over:
                _end(connection, report, now)
        # A report that is repeated, because its answer was lost, finds its events there.
        insert_if_absent(connection, _events, list(events.values()), "name")
        return Applied(tuple(refused), unfit)

    return cell_db.write(work)


def _take(connection: sa.Connection, host: HostName, report: InstanceReport, now: datetime) -> bool:
    """Apply one report; False if it is refused."""
    if report.move is not None:
        return moves.hear(connection, host, report.move, now)
    if report.volume is not None:
        return volumes.hear(connection, host, (report, report.volume), now)
    if report.share is not None:
        return shares.hear(connection, host, (report, report.share), now)
    if report.port_id and not report.over:
        return card_orders.hear(connection, host, report, now)
    return _apply_one(connection, host, report, now)


def _apply_one(
    connection: sa.Connection, host: HostName, report: InstanceReport, now: datetime
) -> bool:
    values: dict[str, Any] = {
        name: value for name in _SIMPLE if (value := getattr(report, name)) is not UNSET
    }
    if report.nics is not UNSET:
        values["nics"] = encode_nics(report.nics)
    if report.vm_state is not UNSET:
        values["destinations"] = None
    values |= {"updated_at": now, "b_uuid": report.instance_uuid, "b_host": host}
    values |= {"b_epoch": report.epoch}
    if report.builder:
        values |= {"begun_epoch": report.epoch, "builder": report.builder}
        values |= {"b_builder": report.builder}
        values |= {"b_start": (report.number or _LAST) // REPORTS_OF_A_START}
    if report.worker:
        values |= {"task_worker": report.worker, "b_worker": report.worker}
        values |= {"b_request": report.request_id}
    if report.task_state is None:
        values |= {"task_request": None, "task_worker": ""}
    change = _change_of(report)
    if change in _NUMBERED:
        values |= {"b_number": report.number or _LAST}
        values |= {"reported": report.number} if report.number else {}
    elif change is _CHANGE_TASK:
        values |= {"b_number": report.number}
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
    if report.worker:
        return _CHANGE_TASK
    return _CHANGE_IDLE if report.if_idle else _CHANGE


def _finish(connection: sa.Connection, report: InstanceReport, event: ActionEvent) -> bool:
    """Finish an event that an earlier report started; False if none did."""
    if report.builder or not (report.has_begun or event.name == _STARTED_EARLIER):
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


_STARTED_EARLIER = BUILD_EVENT
"""The event of a build whose start is reported by itself; the others come finished, in one row."""


def _end(connection: sa.Connection, report: InstanceReport, now: datetime) -> None:
    """Note that the action of a report is over."""
    broken = [event.details or event.name for event in report.events if event.result == "Error"]
    failed = report.interrupted or next(iter(broken), None)
    end_action(connection, (report.instance_uuid, report.request_id), now, failed=failed)
    if not report.worker:
        # It may be of a card: hosts of an earlier version do not name its port.
        card_orders.forget(connection, report.instance_uuid, report.request_id)
