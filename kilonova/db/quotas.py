"""Quotas: the limits that differ from the configured ones, and what a project and a user in it use.

Owns where a limit comes from: the user's own, else the project's, else the class ``default``, else the
configuration; and the one statement that counts, within the transaction that writes what is counted. A
user with limits of his own costs one more: a sum, which is exact while the project's row is locked.
"""

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.errors import QuotaExceeded
from kilonova.core.ids import ProjectId, UserId
from kilonova.core.quota import UNLIMITED, Amount, Limits, OwnLimits, exceeded
from kilonova.db.api_schema import (
    InstanceMapping,
    KeyPairUsage,
    Quota,
    QuotaClass,
    QuotaUsage,
    ServerGroup,
)
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

DEFAULT_CLASS = "default"
"""The quota class whose limits are everybody's."""

_USERS_RANK = 2

_quotas = table_of(Quota)
_classes = table_of(QuotaClass)
_usages = table_of(QuotaUsage)
_key_pair_usages = table_of(KeyPairUsage)
_mappings = table_of(InstanceMapping)
_groups = table_of(ServerGroup)
_COUNTED = Amount.__struct_fields__

_of_class = sa.select(
    sa.literal_column("0").label("rank"), _classes.c.resource, _classes.c.hard_limit
).where(_classes.c.name == sa.bindparam("class"))
_of_project = sa.select(
    sa.case((_quotas.c.user_id == "", 1), else_=_USERS_RANK).label("rank"),
    _quotas.c.resource,
    _quotas.c.hard_limit,
).where(
    _quotas.c.project_id == sa.bindparam("project"),
    _quotas.c.user_id.in_(("", sa.bindparam("user"))),
)
_LIMITS = sa.union_all(_of_class, _of_project)
_USED = sa.select(*(_usages.c[name] for name in _COUNTED)).where(
    _usages.c.project_id == sa.bindparam("project")
)
_USED_BY_USER = sa.select(
    sa.func.count().label("instances"),
    sa.func.coalesce(sa.func.sum(_mappings.c.vcpus), 0).label("cores"),
    sa.func.coalesce(sa.func.sum(_mappings.c.memory_mb), 0).label("ram"),
    sa.select(sa.func.count())
    .select_from(_groups)
    .where(
        _groups.c.project_id == sa.bindparam("project"),
        _groups.c.user_id == sa.bindparam("user"),
    )
    .scalar_subquery()
    .label("server_groups"),
).where(
    _mappings.c.project_id == sa.bindparam("project"),
    _mappings.c.user_id == sa.bindparam("user"),
    _mappings.c.queued_for_delete.is_(False),
)


def limits_of(
    api_db: Database, defaults: Limits, project: ProjectId, user: UserId | None = None
) -> Limits:
    """Return the limits of a project (on a user in it), in one SELECT.

    ``defaults`` are the configured limits.
    """
    asked = {"class": DEFAULT_CLASS, "project": project, "user": user or ""}
    rows = sorted(api_db.query(lambda c: c.execute(_LIMITS, asked).all()))
    # The higher rank is written last and so wins.
    common = {row.resource: row.hard_limit for row in rows if row.rank < _USERS_RANK}
    own = {row.resource: row.hard_limit for row in rows if row.rank == _USERS_RANK}
    limits = _overridden(defaults, common)
    if user is None or not own:
        return limits
    nearest = _overridden(limits, own)
    if own.keys().isdisjoint(_COUNTED):
        return nearest
    of_project = {name: getattr(limits, name) for name in _COUNTED}
    return msgspec.structs.replace(nearest, **of_project, own=OwnLimits(user, nearest))


def limits_of_class(api_db: Database, defaults: Limits, name: str) -> Limits:
    """Return the limits of a quota class; those of an unknown class are the configured ones."""
    rows = api_db.query(lambda c: c.execute(_of_class, {"class": name}).all())
    return _overridden(defaults, {row.resource: row.hard_limit for row in rows})


def _overridden(defaults: Limits, limits: Mapping[str, int]) -> Limits:
    known = {name: limits[name] for name in Limits.__struct_fields__ if name in limits}
    return msgspec.structs.replace(defaults, **known) if known else defaults


def allotted(api_db: Database, project: ProjectId, besides: UserId | None = None) -> dict[str, int]:
    """Return the sums of the users' own limits in a project, without those of the user ``besides``.

    Who may have any number of something adds nothing.
    """
    query = (
        sa.select(_quotas.c.resource, sa.func.sum(_quotas.c.hard_limit))
        .where(
            _quotas.c.project_id == project,
            _quotas.c.user_id.not_in(("", besides or "")),
            _quotas.c.hard_limit != UNLIMITED,
        )
        .group_by(_quotas.c.resource)
    )
    rows = api_db.query(lambda c: c.execute(query).all())
    return {resource: int(total) for resource, total in rows}


def used_by(api_db: Database, project: ProjectId, user: UserId | None = None) -> Amount:
    """Return what a project uses, or of that what is a user's."""
    if user is None:
        return api_db.query(lambda connection: _used(connection, project))
    return api_db.query(lambda connection: _used_by_user(connection, project, user))


def _used(connection: sa.Connection, project: ProjectId) -> Amount:
    row = connection.execute(_USED, {"project": project}).mappings().first()
    return Amount() if row is None else Amount(**row)


def _used_by_user(connection: sa.Connection, project: ProjectId, user: UserId) -> Amount:
    row = connection.execute(_USED_BY_USER, {"project": project, "user": user}).mappings().one()
    return Amount(**{name: int(n) for name, n in row.items()})


def refusal(api_db: Database, project: ProjectId, asked: Amount, limits: Limits) -> str | None:
    """Return what a request would be told that is over its limits as it stands, None if it fits."""
    sentence = exceeded(asked, used_by(api_db, project), limits)
    if sentence is None and limits.own is not None:
        used = used_by(api_db, project, limits.own.user_id)
        sentence = exceeded(asked, used, limits.own.limits)
    return sentence


def count(connection: sa.Connection, project: ProjectId, asked: Amount, limits: Limits) -> None:
    """Add what is asked for to what a project uses, if that stays within the limits.

    It locks the project's row until the commit, so it comes last in its transaction: what is asked for is
    written already, and is in a user's sum.

    Raises:
        QuotaExceeded: naming what is exceeded, asked for, used and allowed.
    """
    amounts = {name: n for name, n in msgspec.structs.asdict(asked).items() if n}
    limited = tuple(name for name in amounts if getattr(limits, name) >= 0)
    values = {"b_project": project} | {f"b_{name}": n for name, n in amounts.items()}
    values |= {f"b_{name}_limit": getattr(limits, name) for name in limited}
    while not connection.execute(_counted(tuple(amounts), limited), values).rowcount:
        sentence = exceeded(asked, _used(connection, project), limits)
        if sentence is not None:
            raise QuotaExceeded(sentence)
        # There is room: the row was not there yet, or another gave something back meanwhile.
        empty = {"project_id": project, **msgspec.structs.asdict(Amount())}
        insert_if_absent(connection, _usages, [empty], "project_id")
    if limits.own is not None:
        _check_own(connection, project, asked, limits.own)


def _check_own(
    connection: sa.Connection, project: ProjectId, asked: Amount, own: OwnLimits
) -> None:
    """Hold a user to limits of his own. Nobody else in the project counts while its row is locked."""
    now = _used_by_user(connection, project, own.user_id)
    before = Amount(**{name: getattr(now, name) - getattr(asked, name) for name in _COUNTED})
    sentence = exceeded(asked, before, own.limits)
    if sentence is not None:
        raise QuotaExceeded(sentence)


@functools.cache
def _counted(names: tuple[str, ...], limited: tuple[str, ...]) -> sa.Update:
    """Return the UPDATE that counts these resources if each of the limited ones stays within its limit."""
    more = {name: _usages.c[name] + sa.bindparam(f"b_{name}") for name in names}
    within = [more[name] <= sa.bindparam(f"b_{name}_limit") for name in limited]
    mine = _usages.c.project_id == sa.bindparam("b_project")
    return sa.update(_usages).where(mine, *within).values(more)


def key_pairs_of(api_db: Database, user: UserId) -> int:
    """Return how many key pairs a user has."""
    query = sa.select(_key_pair_usages.c.used).where(_key_pair_usages.c.user_id == user)
    return api_db.query(lambda c: c.execute(query).scalar()) or 0


def set_limits(
    api_db: Database, project: ProjectId, limits: Mapping[str, int], user: UserId | None = None
) -> None:
    """Set limits of a project, or of a user in it, in one transaction.

    ``limits`` maps fields of ``Limits`` to numbers, -1 for unlimited.
    """
    owner = {"project_id": project, "user_id": user or ""}
    api_db.write(lambda c: _set(c, _quotas, owner, limits))


def set_class_limits(api_db: Database, name: str, limits: Mapping[str, int]) -> None:
    """Set limits of a quota class, in one transaction."""
    api_db.write(lambda c: _set(c, _classes, {"name": name}, limits))


def _set(
    connection: sa.Connection, table: sa.Table, owner: Mapping[str, Any], limits: Mapping[str, int]
) -> None:
    # In one order, so that two requests at once never wait for each other.
    for resource, limit in sorted(limits.items()):
        row = {**owner, "resource": resource, "hard_limit": limit}
        same = [table.c[key] == value for key, value in row.items() if key != "hard_limit"]
        change = sa.update(table).where(*same).values(hard_limit=limit)
        if not connection.execute(change).rowcount:
            insert_if_absent(connection, table, [row], "resource")


def reset_limits(api_db: Database, project: ProjectId, user: UserId | None = None) -> None:
    """Give a project, or only one user in it, the default limits again."""
    gone = sa.delete(_quotas).where(_quotas.c.project_id == project)
    if user is not None:
        gone = gone.where(_quotas.c.user_id == user)
    api_db.write(lambda c: c.execute(gone))
