"""Servers that are deleted but kept for a while: since when, and what brings them back or ends them.

A soft-deleted server counts for nothing: its mapping is queued for delete and its quota given back, as if
it were gone. Its row in the cell says that it can be restored, and the note beside it since when.
"""

from datetime import datetime

import sqlalchemy as sa

from kilonova.core.errors import Invalid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.quota import Amount, Limits
from kilonova.core.states import TaskState, VmState
from kilonova.db import quotas, server_groups
from kilonova.db.actions import action_rows
from kilonova.db.api_schema import InstanceMapping
from kilonova.db.cell_schema import SoftDeletion, StoredAction, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_notes = table_of(SoftDeletion)
_instances = table_of(StoredInstance)
_actions = table_of(StoredAction)
_mappings = table_of(InstanceMapping)
_AT_ONCE = 500


def note(connection: sa.Connection, instance: Instance) -> None:
    """Note that a server is deleted since it was last changed, within the transaction that deletes it."""
    mine = _notes.c.instance_uuid == instance.uuid
    connection.execute(sa.delete(_notes).where(mine))
    values = {"instance_uuid": instance.uuid, "deleted_at": instance.updated_at}
    connection.execute(sa.insert(_notes), values)


def due(cell_db: Database, before: datetime) -> tuple[Instance, ...]:
    """Return servers that were soft-deleted before ``before``, the first first. Old notes of servers that
    were restored or are gone are forgotten."""
    listed = sa.select(_notes.c.instance_uuid).where(_notes.c.deleted_at < before)
    listed = listed.order_by(_notes.c.deleted_at).limit(_AT_ONCE)
    uuids = cell_db.query(lambda c: c.execute(listed).scalars().all())
    if not uuids:
        return ()
    kept = sa.select(*COLUMNS).where(
        _instances.c.uuid.in_(uuids),
        _instances.c.deleted.is_(False),
        _instances.c.vm_state == VmState.SOFT_DELETED,
    )
    found = tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(kept).all()))
    gone = set(uuids) - {instance.uuid for instance in found}
    if gone:
        # Unless it was noted anew meanwhile.
        old = sa.and_(_notes.c.instance_uuid.in_(gone), _notes.c.deleted_at < before)
        cell_db.write(lambda c: c.execute(sa.delete(_notes).where(old)))
    return found


def reclaim(cell_db: Database, instance: Instance, record: InstanceAction) -> Instance | None:
    """Begin to delete a soft-deleted server for good; None if somebody restores or deletes it."""
    begin = (
        sa.update(_instances)
        .where(
            _instances.c.uuid == instance.uuid,
            _instances.c.deleted.is_(False),
            _instances.c.vm_state == VmState.SOFT_DELETED,
            _instances.c.task_state.is_(None),
        )
        .values(
            task_state=TaskState.DELETING,
            task_request=record.request_id,
            task_worker="",
            updated_at=record.started_at,
        )
    )
    again = sa.select(*COLUMNS).where(_instances.c.uuid == instance.uuid)

    def work(connection: sa.Connection) -> Instance | None:
        if not connection.execute(begin).rowcount:
            return None
        connection.execute(sa.insert(_actions), action_rows([record]))
        return instance_of(connection.execute(again).one())

    return cell_db.write(work)


def count_again(api_db: Database, instance: Instance, limits: Limits) -> bool:
    """Count a server that is to be restored; False if it never ceased to count.

    It is a member of its server group again, if there still is one.

    Raises:
        QuotaExceeded: its project has not so much left, or its group too many members.
    """
    flavor = instance.flavor
    amount = Amount(instances=1, cores=flavor.vcpus, ram=flavor.memory_mb)
    group = instance.wishes.group

    def work(connection: sa.Connection) -> bool:
        values: dict[str, object] = {"queued_for_delete": False}
        if group is not None:
            try:
                server_groups.admit(connection, group, 1, limits.server_group_members)
                values["group_uuid"] = group.group_uuid
            except Invalid:
                values["group_uuid"] = None
        queued = sa.and_(
            _mappings.c.instance_uuid == instance.uuid, _mappings.c.queued_for_delete.is_(True)
        )
        if not connection.execute(sa.update(_mappings).where(queued).values(values)).rowcount:
            return False
        quotas.count(connection, instance.project_id, amount, limits)
        return True

    return api_db.write(work)
