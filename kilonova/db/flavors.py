"""Flavors: finding, listing and changing them, their extra specs and who may use the private ones.

Owns the rule of who sees a flavor: a public one is everybody's; a private one is seen by the projects
on its list. A caller that may see everything passes ``None`` for the project.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import Conflict, Invalid, NotFound
from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId, ProjectId
from kilonova.core.name_pattern import NamePattern
from kilonova.db.api_schema import FlavorProject, StoredFlavor
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_flavors = table_of(StoredFlavor)
_projects = table_of(FlavorProject)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode

_PLAIN = tuple(name for name in Flavor.__struct_fields__ if name != "extra_specs")
_COLUMNS = (*(_flavors.c[name] for name in _PLAIN), _flavors.c.extra_specs)

_may_use = sa.exists().where(
    _projects.c.flavor_id == _flavors.c.flavor_id, _projects.c.project_id == sa.bindparam("project")
)
_named = _flavors.c.flavor_id == sa.bindparam("flavor")
_GET_ANY = sa.select(*_COLUMNS).where(_named)
_GET_VISIBLE = _GET_ANY.where(sa.or_(_flavors.c.is_public, _may_use))

SortKey = Literal[
    "id",
    "flavor_id",
    "name",
    "vcpus",
    "memory_mb",
    "root_gb",
    "ephemeral_gb",
    "swap_mb",
    "rxtx_factor",
    "is_public",
    "disabled",
    "description",
]
"""What lists sort by; ``id`` is the order of creation."""


class FlavorQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which flavors a list wants, and in what order.

    ``is_public`` None is both kinds; with a ``project`` private flavors are those that it may use.
    ``min_ram`` is MiB, ``min_disk`` GiB; ``marker`` is the flavor that comes just before the first.
    """

    project: ProjectId | None = None
    is_public: bool | None = True
    disabled: bool | None = None
    min_ram: int | None = None
    min_disk: int | None = None
    name: NamePattern | None = None
    sort_key: SortKey = "flavor_id"
    descending: bool = False
    marker: FlavorId | None = None
    limit: int = 1000


def get(api_db: Database, flavor_id: str, project: ProjectId | None) -> Flavor:
    """Return one flavor, in one SELECT.

    Raises:
        NotFound: there is none, or the project may not use it.
    """
    row = api_db.query(lambda c: _row_of(c, flavor_id, project))
    if row is None:
        raise _missing(flavor_id)
    return _flavor(row)


def _row_of(connection: sa.Connection, flavor_id: str, project: ProjectId | None) -> Any:
    if project is None:
        return connection.execute(_GET_ANY, {"flavor": flavor_id}).first()
    return connection.execute(_GET_VISIBLE, {"flavor": flavor_id, "project": project}).first()


def _flavor(row: Any) -> Flavor:
    return Flavor(**dict(zip(_PLAIN, row, strict=False)), extra_specs=_decode(row[-1]))


def _missing(flavor_id: str) -> NotFound:
    return NotFound(f"Flavor {flavor_id} could not be found.")


def list_flavors(api_db: Database, wanted: FlavorQuery) -> tuple[Flavor, ...]:
    """Return a page of flavors, in at most two SELECTs.

    Raises:
        Invalid: the marker is no flavor.
    """
    keys = _keys(_flavors, wanted.sort_key)
    query = sa.select(*_COLUMNS).where(*_conditions(wanted)).limit(wanted.limit)
    query = query.order_by(*(key.desc() if wanted.descending else key.asc() for key in keys))

    if wanted.marker is not None:
        query = query.where(_after(wanted, wanted.marker))
    bound = {} if wanted.project is None else {"project": wanted.project}

    def work(connection: sa.Connection) -> Sequence[Any]:
        found = connection.execute(query, bound).all()
        if not found and wanted.marker is not None and not _row_of(connection, wanted.marker, None):
            raise Invalid(f"marker [{wanted.marker}] not found")
        return found

    return tuple(_flavor(row) for row in api_db.query(work))


def _conditions(wanted: FlavorQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.is_public is not None:
        conditions.append(_flavors.c.is_public.is_(wanted.is_public))
    if wanted.project is not None:
        conditions.append(sa.or_(_flavors.c.is_public, _may_use))
    if wanted.disabled is not None:
        conditions.append(_flavors.c.disabled.is_(wanted.disabled))
    if wanted.min_ram is not None:
        conditions.append(_flavors.c.memory_mb >= wanted.min_ram)
    if wanted.min_disk is not None:
        conditions.append(_flavors.c.root_gb >= wanted.min_disk)
    if wanted.name is not None:
        conditions.append(_flavors.c.name.regexp_match(wanted.name.text))
    return conditions


def _keys(
    table: sa.FromClause, sort_key: SortKey
) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]:
    column: sa.ColumnElement[Any] = table.c[sort_key]
    if sort_key == "description":
        column = sa.func.coalesce(column, "")
    # The id makes every order total, so that no page repeats or skips a flavor.
    return column, table.c.id


def _after(wanted: FlavorQuery, marker: FlavorId) -> sa.ColumnElement[bool]:
    first, second = _keys(_flavors, wanted.sort_key)
    # The database compares with its own value of the marker: a float that went through a client's
    # hands may no longer be equal to itself.
    at = sa.alias(_flavors)
    same = at.c.flavor_id == marker
    value, number = (
        sa.select(key).where(same).scalar_subquery() for key in _keys(at, wanted.sort_key)
    )
    if wanted.descending:
        return sa.or_(first < value, sa.and_(first == value, second < number))
    return sa.or_(first > value, sa.and_(first == value, second > number))


def create(api_db: Database, flavor: Flavor) -> None:
    """Write a new flavor.

    Raises:
        Conflict: its name or its id is taken.
    """
    row = {name: getattr(flavor, name) for name in _PLAIN}
    row["extra_specs"] = _encode(flavor.extra_specs)
    try:
        api_db.write(lambda c: c.execute(sa.insert(_flavors).values(row)))
    except exc.IntegrityError as error:
        taken = sa.select(_flavors.c.id).where(_flavors.c.name == flavor.name)
        if api_db.query(lambda c: c.execute(taken).first()):
            raise Conflict(f"Flavor with name {flavor.name} already exists.") from error
        raise Conflict(f"Flavor with ID {flavor.flavor_id} already exists.") from error


def describe(api_db: Database, flavor_id: str, description: str | None) -> Flavor:
    """Set a flavor's description and return the flavor.

    Raises:
        NotFound: there is no such flavor.
    """
    change = sa.update(_flavors).where(_named).values(description=description)

    def work(connection: sa.Connection) -> Any:
        connection.execute(change, {"flavor": flavor_id})
        return _row_of(connection, flavor_id, None)

    row = api_db.write(work)
    if row is None:
        raise _missing(flavor_id)
    return _flavor(row)


def delete(api_db: Database, flavor_id: str) -> None:
    """Remove a flavor and its list of projects. Servers keep their copies.

    Raises:
        NotFound: there is no such flavor.
    """
    gone = sa.delete(_flavors).where(_flavors.c.flavor_id == flavor_id)
    if not api_db.write(lambda c: c.execute(gone).rowcount):
        raise _missing(flavor_id)


def change_extra_specs(
    api_db: Database, flavor_id: str, change: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    """Replace a flavor's extra specs by what ``change`` makes of them, under the row's lock.

    ``change`` may run more than once. What it raises leaves the flavor as it was.

    Raises:
        NotFound: there is no such flavor.
    """
    mine = _flavors.c.flavor_id == flavor_id

    def work(connection: sa.Connection) -> None:
        query = sa.select(_flavors.c.extra_specs).where(mine).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            raise _missing(flavor_id)
        specs = _encode(change(_decode(row[0])))
        connection.execute(sa.update(_flavors).where(mine).values(extra_specs=specs))

    api_db.write(work)


def projects_of(api_db: Database, flavor_id: str) -> tuple[ProjectId, ...]:
    """Return the projects that may use a private flavor, in order."""
    query = (
        sa.select(_projects.c.project_id)
        .where(_projects.c.flavor_id == flavor_id)
        .order_by(_projects.c.project_id)
    )
    return tuple(api_db.query(lambda c: c.execute(query).scalars().all()))


def allow(api_db: Database, flavor_id: FlavorId, project: ProjectId) -> None:
    """Let a project use a private flavor.

    Raises:
        NotFound: the flavor is gone.
        Conflict: the project may use it already.
    """
    row = {"flavor_id": flavor_id, "project_id": project}
    try:
        api_db.write(lambda c: c.execute(sa.insert(_projects).values(row)))
    except exc.IntegrityError as error:
        get(api_db, flavor_id, None)
        raise Conflict(
            f"Flavor access already exists for flavor {flavor_id} and project {project}."
        ) from error


def disallow(api_db: Database, flavor_id: FlavorId, project: ProjectId) -> None:
    """Take a private flavor from a project.

    Raises:
        NotFound: the project was not on its list.
    """
    gone = sa.delete(_projects).where(
        _projects.c.flavor_id == flavor_id, _projects.c.project_id == project
    )
    if not api_db.write(lambda c: c.execute(gone).rowcount):
        raise NotFound(f"Flavor {flavor_id} is not accessible to project {project}.")


def numbers_of(api_db: Database, flavor_ids: Collection[str]) -> dict[str, int]:
    """Return the numbers under which flavors are stored, of those that there are."""
    columns = (_flavors.c.flavor_id, _flavors.c.id)
    query = sa.select(*columns).where(_flavors.c.flavor_id.in_(flavor_ids))
    return {row[0]: row[1] for row in api_db.query(lambda c: c.execute(query).all())}
