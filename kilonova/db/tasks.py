"""What is under way with servers: a task begins by compare-and-set, is undone, or is given up.

A task is of one request. Whatever speaks of it names the request, so that nothing late or repeated speaks
of another.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kilonova.core import states
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.core.instance import Fault, Instance, InstanceAction
from kilonova.core.states import TaskState, VmState
from kilonova.db.actions import action_rows, end_action
from kilonova.db.card_orders import forget
from kilonova.db.cell_schema import InstanceFault, StoredAction, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, fault_row, instance_of, row_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_actions = table_of(StoredAction)

_STAYS = sa.or_(_instances.c.task_state.is_(None), _instances.c.task_state != TaskState.DELETING)
"""Nothing begins with a server that is being deleted but another delete."""

Change = Callable[[Instance], Instance]
Beside = Callable[[sa.Connection, Instance], None]


def begin(
    cell_db: Database,
    seen: Instance,
    rule: str,
    record: InstanceAction,
    change: Change | None = None,
    beside: Beside | None = None,
) -> Instance | None:
    """Set the task state of an action by compare-and-set and record the action, in one transaction.

    ``rule`` is a key of ``states.RULES``; ``change`` makes what else becomes different with it, ``beside``
    writes what else belongs to it. Returns the
    server as it is then. None means that its state is no longer the one that it was seen in, and nothing
    was written: read again and judge anew.
    """
    found = states.RULES[rule]

    def work(connection: sa.Connection) -> Instance | None:
        if found.task is not None and not connection.execute(_set(seen, found, record)).rowcount:
            return None
        row = connection.execute(sa.select(*COLUMNS).where(_instances.c.uuid == seen.uuid)).first()
        begun = instance_of(row)
        if change is not None:
            after = change(begun)
            write_differences(connection, begun, after)
            begun = after
        connection.execute(sa.insert(_actions), action_rows([record]))
        if beside is not None:
            beside(connection, begun)
        return begun

    return cell_db.write(work)


def _set(seen: Instance, rule: states.Rule, record: InstanceAction) -> sa.Update:
    task = _instances.c.task_state
    same_task = task.is_(None) if seen.task_state is None else task == seen.task_state
    unchanged = sa.and_(same_task, _instances.c.vm_state == seen.vm_state)
    return (
        sa.update(_instances)
        .where(
            _instances.c.uuid == seen.uuid,
            _instances.c.deleted.is_(False),
            # None may have come since it was seen.
            _instances.c.shares.is_(None) if rule.bars_shares else sa.true(),
            unchanged
            if not rule.any_task
            else _STAYS
            if rule.task != TaskState.DELETING
            else sa.true(),
        )
        .values(
            task_state=rule.task,
            task_request=record.request_id,
            task_worker="",
            updated_at=record.started_at,
        )
    )


def write_differences(connection: sa.Connection, before: Instance, after: Instance) -> None:
    """Write the columns in which two states of a server differ."""
    old = row_of(before)
    values = {name: value for name, value in row_of(after).items() if value != old[name]}
    if "host" in values:
        # Another host numbers its reports by itself.
        values["reported"] = 0
    if values:
        mine = _instances.c.uuid == before.uuid
        connection.execute(sa.update(_instances).where(mine).values(values))


def undo(
    cell_db: Database, before: Instance, begun: Instance, request_id: RequestId, now: datetime
) -> None:
    """Make a server what it was before a task began that nobody could be told of, and end its action.

    If another task took its place, that one stays.
    """
    mine = sa.and_(_instances.c.uuid == begun.uuid, _instances.c.task_request == request_id)

    def work(connection: sa.Connection) -> None:
        there = sa.select(_instances.c.id).where(mine).with_for_update()
        if connection.execute(there).first() is not None:
            write_differences(connection, begun, before)
        end_action(connection, (begun.uuid, request_id), now, failed="Its host could not be told.")
        forget(connection, begun.uuid, request_id)

    cell_db.write(work)


def reset(cell_db: Database, uuid: InstanceUuid, state: VmState, record: InstanceAction) -> bool:
    """Say what a server is; whatever is under way with it is over. False if it is gone.

    One that is being deleted stays so: nothing brings it back.
    """
    task = _instances.c.task_state
    change = (
        sa.update(_instances)
        .where(
            _instances.c.uuid == uuid,
            _instances.c.deleted.is_(False),
            sa.or_(task.is_(None), task != TaskState.DELETING),
        )
        .values(
            vm_state=state,
            task_state=None,
            task_request=None,
            task_worker="",
            updated_at=record.started_at,
        )
    )

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        connection.execute(sa.insert(_actions), action_rows([record]))
        return True

    return cell_db.write(work)


def give_up(cell_db: Database, seen: Instance, reason: str, now: datetime) -> bool:
    """End a task of which nothing was heard, and say why; False if it has ended or moved on by itself.

    A server whose guest may be half made is in ERROR from then on.
    """
    breaks = seen.task_state in states.BREAKS
    values: dict[str, Any] = {"vm_state": VmState.ERROR} if breaks else {}
    change = (
        sa.update(_instances)
        .where(
            _instances.c.uuid == seen.uuid,
            _instances.c.deleted.is_(False),
            _instances.c.task_state == seen.task_state,
            _instances.c.updated_at == seen.updated_at,
        )
        .values(task_state=None, task_request=None, task_worker="", updated_at=now, **values)
    )

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        if breaks:
            fault = Fault(code=500, message=reason, created_at=now)
            connection.execute(sa.insert(table_of(InstanceFault)), [fault_row(seen.uuid, fault)])
        if seen.task_request is not None:
            end_action(connection, (seen.uuid, seen.task_request), now, failed=reason)
        return True

    return cell_db.write(work)
