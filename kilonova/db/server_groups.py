"""Server groups in the API database, and who is in them.

A server is a member by its mapping, from the transaction that accepts it to the one that queues it for
delete: so no member points nowhere. Whoever adds members, or chooses hosts for them, holds the group's
row; the order of locks is group, mappings, the project's quota.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.errors import Invalid, NotFound, QuotaExceeded
from kilonova.core.ids import CellUuid, HostName, InstanceUuid, ProjectId
from kilonova.core.quota import UNLIMITED, Amount, Limits, crowded
from kilonova.core.server_group import GroupRule, Policy, ServerGroup
from kilonova.db import api_schema, quotas
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

_groups = table_of(api_schema.ServerGroup)
_mappings = table_of(api_schema.InstanceMapping)
_usages = table_of(api_schema.QuotaUsage)

_PLAIN = ("uuid", "name", "project_id", "user_id", "policy", "max_server_per_host", "created_at")
_COLUMNS = [_groups.c[name] for name in _PLAIN]
_mine = _groups.c.uuid == sa.bindparam("group")
_GET = sa.select(*_COLUMNS).where(_mine)
_THERE = sa.select(_groups.c.uuid).where(_mine)
_HOLD = _THERE.with_for_update()
_inside = _mappings.c.group_uuid == sa.bindparam("group")
_COUNT = sa.select(sa.func.count()).select_from(_mappings).where(_inside)
_MEMBERS = (
    sa.select(_mappings.c.group_uuid, _mappings.c.instance_uuid)
    .where(among(_mappings.c.group_uuid, "groups"))
    .order_by(_mappings.c.created_at, _mappings.c.instance_uuid)
)
_PLACES = sa.select(
    _mappings.c.instance_uuid, _mappings.c.cell_uuid, _mappings.c.chosen_host
).where(_inside)
_CHOOSE = sa.update(_mappings).where(among(_mappings.c.instance_uuid, "uuids"))


def missing(uuid: str) -> str:
    """Return the sentence for a group that is not there, or that the asker may not know of."""
    return f"Instance group {uuid} could not be found."


def create(api_db: Database, group: ServerGroup, limits: Limits) -> None:
    """Write a group and count it, in one transaction.

    Raises:
        QuotaExceeded: the project has as many as it may have.
    """
    api_db.write(lambda connection: insert(connection, group, limits))


def insert(connection: sa.Connection, group: ServerGroup, limits: Limits) -> None:
    """Do what ``create`` does, within a transaction."""
    row = {name: getattr(group, name) for name in _PLAIN}
    connection.execute(sa.insert(_groups), [row])
    quotas.count(connection, group.project_id, Amount(server_groups=1), limits)


def get(api_db: Database, uuid: str) -> ServerGroup:
    """Return a group with its members, in two SELECTs.

    Raises:
        NotFound: there is none.
    """

    def read(connection: sa.Connection) -> ServerGroup | None:
        rows = connection.execute(_GET, {"group": uuid}).all()
        return next(iter(_with_members(connection, rows)), None)

    found = api_db.query(read)
    if found is None:
        raise NotFound(missing(uuid))
    return found


def list_groups(
    api_db: Database, project: ProjectId | None, *, limit: int, offset: int = 0
) -> list[ServerGroup]:
    """Return a page of a project's groups (of all, for None), oldest first, in two SELECTs."""
    query = sa.select(*_COLUMNS).order_by(_groups.c.id).limit(limit).offset(offset)
    if project is not None:
        query = query.where(_groups.c.project_id == project)
    return api_db.query(lambda c: _with_members(c, c.execute(query).all()))


def _with_members(connection: sa.Connection, rows: Collection[Any]) -> list[ServerGroup]:
    members: defaultdict[str, list[InstanceUuid]] = defaultdict(list)
    if rows:
        for group, uuid in connection.execute(_MEMBERS, {"groups": [row.uuid for row in rows]}):
            members[group].append(uuid)
    return [_group(row, members[row.uuid]) for row in rows]


def _group(row: Any, members: Iterable[InstanceUuid] = ()) -> ServerGroup:
    fields = dict(row._mapping) | {"policy": Policy(row.policy)}
    return ServerGroup(**fields, members=tuple(members))


def rule_of(api_db: Database, uuid: str, project: ProjectId) -> GroupRule | None:
    """Return what a group asks of a new server of its project; None if the project has no such group."""
    row = api_db.query(lambda c: c.execute(_GET, {"group": uuid}).first())
    if row is None or row.project_id != project:
        return None
    return _group(row).rule()


def is_there(api_db: Database, uuid: str) -> bool:
    """Whether a group is not deleted."""
    return api_db.query(lambda c: c.execute(_THERE, {"group": uuid}).first()) is not None


def count_members(api_db: Database, uuid: str) -> int:
    """Return how many members a group has."""
    return int(api_db.query(lambda c: c.execute(_COUNT, {"group": uuid}).scalar_one()))


def delete(api_db: Database, group: ServerGroup) -> None:
    """Remove a group and what it counts for. Its servers stay, and belong to none.

    Raises:
        NotFound: it is gone.
    """

    def work(connection: sa.Connection) -> None:
        if not remove(connection, group.uuid, group.project_id):
            raise NotFound(missing(group.uuid))

    api_db.write(work)


def remove(connection: sa.Connection, uuid: str, project: ProjectId) -> bool:
    """Do what ``delete`` does, within a transaction; False if the group is gone."""
    gone = sa.delete(_groups).where(_groups.c.uuid == uuid)
    free = sa.update(_mappings).where(_mappings.c.group_uuid == uuid).values(group_uuid=None)
    less = sa.update(_usages).where(_usages.c.project_id == project)
    if not connection.execute(gone).rowcount:
        return False
    connection.execute(free)
    connection.execute(less.values(server_groups=_usages.c.server_groups - 1))
    return True


def admit(connection: sa.Connection, rule: GroupRule, count: int, limit: int) -> None:
    """Hold a group until the commit, for so many new members to be written.

    Raises:
        Invalid: it is gone.
        QuotaExceeded: it would have more than ``limit``.
    """
    asked = {"group": rule.group_uuid}
    if connection.execute(_HOLD, asked).first() is None:
        raise Invalid(f"group: {missing(rule.group_uuid)}")
    if limit == UNLIMITED:
        return
    sentence = crowded(count, connection.execute(_COUNT, asked).scalar_one(), limit)
    if sentence is not None:
        raise QuotaExceeded(sentence)


class Place(msgspec.Struct, frozen=True):
    """Where a member is to be looked for: in its cell, or on its way to ``chosen_host``."""

    uuid: InstanceUuid
    cell_uuid: CellUuid | None
    chosen_host: HostName | None


def places_of(api_db: Database, rule: GroupRule) -> tuple[Place, ...]:
    """Return the places of a group's members."""
    return api_db.query(lambda connection: _places(connection, rule))


def _places(connection: sa.Connection, rule: GroupRule) -> tuple[Place, ...]:
    rows = connection.execute(_PLACES, {"group": rule.group_uuid}).all()
    return tuple(Place(*row) for row in rows)


Judge = Callable[[tuple[Place, ...]], Mapping[InstanceUuid, HostName | None]]
"""Takes the places of a group's members as they are, and returns the host that each member may have."""


def choose(api_db: Database, rule: GroupRule, judge: Judge) -> frozenset[InstanceUuid]:
    """Note the hosts that a scheduler wants members to go to, while no other scheduler does the same.

    Returns the members to whom ``judge`` gives none.
    """

    def work(connection: sa.Connection) -> frozenset[InstanceUuid]:
        connection.execute(_HOLD, {"group": rule.group_uuid})
        chosen = judge(_places(connection, rule))
        on_host: defaultdict[HostName | None, list[InstanceUuid]] = defaultdict(list)
        for uuid, host in chosen.items():
            on_host[host].append(uuid)
        for host, uuids in on_host.items():
            connection.execute(_CHOOSE, {"uuids": uuids, "chosen_host": host})
        return frozenset(on_host[None])

    return api_db.write(work)
