"""Where the members of server groups are in a cell, and whether one may begin to be built where it is.

The rows of a group's members are themselves the lock: every member's row is there before its host hears of
it, and a build that begins holds them all, in one order, until the commit. So of two members that begin at
once, whatever host and conductor each goes through, the second sees the first.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.report import InstanceReport
from kilonova.core.server_group import Member, by_host
from kilonova.core.states import TaskState, VmState
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

_instances = table_of(StoredInstance)

_OF_GROUP = sa.select(
    _instances.c.uuid, _instances.c.host, _instances.c.vm_state, _instances.c.task_state
).where(_instances.c.group_uuid == sa.bindparam("group"), _instances.c.deleted.is_(False))
_HOLD = (
    sa.select(
        _instances.c.group_uuid,
        _instances.c.uuid,
        _instances.c.host,
        _instances.c.vm_state,
        _instances.c.task_state,
        _instances.c.epoch,
        _instances.c.begun_epoch,
    )
    .where(among(_instances.c.group_uuid, "groups"), _instances.c.deleted.is_(False))
    .order_by(_instances.c.group_uuid, _instances.c.id)
    .with_for_update()
)


def members_in(cell_db: Database, group_uuid: str) -> tuple[Member, ...]:
    """Return a group's members in this cell, whether they are built on their hosts yet or not."""
    asked = {"group": group_uuid}
    rows = cell_db.query(lambda c: c.execute(_OF_GROUP, asked).all())
    return tuple(_member(row) for row in rows)


def _member(row: Any) -> Member:
    at_work = row.task_state is not None and row.vm_state != VmState.BUILDING
    return Member(
        uuid=row.uuid,
        host=row.host,
        leaving=row.task_state == TaskState.DELETING,
        busy=at_work or row.vm_state == VmState.RESIZED,
    )


def disband(cell_db: Database, group_uuid: str) -> None:
    """Let a cell's servers be in no group that was deleted."""
    mine = _instances.c.group_uuid == group_uuid
    free = sa.update(_instances).where(mine).values(group_uuid=None)
    cell_db.write(lambda connection: connection.execute(free))


class Beginnings:
    """The members whose builds have begun, of the groups that a batch of reports is about.

    Made first in the batch's transaction, before another row is held.
    """

    def __init__(self, connection: sa.Connection, reports: Sequence[InstanceReport]) -> None:
        self._members: defaultdict[str, dict[InstanceUuid, Member]] = defaultdict(dict)
        groups = {r.group.group_uuid for r in reports if r.group and r.group.is_hard}
        if not groups:
            return
        for row in connection.execute(_HOLD, {"groups": sorted(groups)}):
            # One that waits to begin holds no place: it is checked when it does.
            if row.vm_state != VmState.BUILDING or row.begun_epoch == row.epoch:
                self._members[row.group_uuid][row.uuid] = _member(row)

    def refusal(self, host: HostName, report: InstanceReport) -> str | None:
        """Return why a build must not begin on a host, or None if its group has nothing against it."""
        rule = report.group
        if rule is None:
            return None
        members = self._members[rule.group_uuid].values()
        others = by_host(rule, (m for m in members if m.uuid != report.instance_uuid))
        return None if rule.allows(host, others) else rule.refusal()

    def note(self, host: HostName, report: InstanceReport) -> None:
        """Note that a build has begun, for those that follow in the batch."""
        if report.group is not None:
            member = Member(report.instance_uuid, host)
            self._members[report.group.group_uuid][report.instance_uuid] = member
