"""Resource classes and traits that an operator made; the standard ones are nowhere in the database."""

from collections.abc import Collection
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import Conflict, DuplicateName, Invalid, NotFound
from kilonova.db.engine import Database
from kilonova.db.placement_schema import (
    CustomName,
    ProviderTrait,
    StoredAllocation,
    StoredInventory,
)
from kilonova.db.statements import insert_if_absent, table_of

Kind = Literal["class", "trait"]

_custom = table_of(CustomName)
_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)
_traits = table_of(ProviderTrait)

_USES = {"class": _inventories.c.resource_class, "trait": _traits.c.trait}


def custom_names(database: Database, kind: Kind) -> tuple[str, ...]:
    """Return the custom names of a kind in order."""
    query = sa.select(_custom.c.name).where(_custom.c.kind == kind).order_by(_custom.c.name)
    return tuple(database.query(lambda c: c.execute(query).scalars().all()))


def unknown(database: Database, kind: Kind, names: Collection[str]) -> set[str]:
    """Return those of some names that no custom name of the kind is."""
    query = _of(kind, names)
    return set(names).difference(database.query(lambda c: c.execute(query).scalars().all()))


def hold(connection: sa.Connection, kind: Kind, names: Collection[str]) -> None:
    """Keep custom names from being deleted until the transaction ends.

    Raises:
        Invalid: one is not there any more.
    """
    if not names:
        return
    held = connection.execute(_of(kind, names).with_for_update(read=True)).scalars().all()
    gone = sorted(set(names).difference(held))
    if gone:
        what = "resource class" if kind == "class" else "trait"
        raise Invalid(f"No such {what} {', '.join(gone)}")


def _of(kind: Kind, names: Collection[str]) -> sa.Select[tuple[str]]:
    return sa.select(_custom.c.name).where(_custom.c.kind == kind, _custom.c.name.in_(names))


def add(database: Database, kind: Kind, name: str) -> bool:
    """Add a custom name; False if it was there."""
    row = {"kind": kind, "name": name}

    def work(connection: sa.Connection) -> bool:
        if connection.execute(_of(kind, [name])).first():
            return False
        insert_if_absent(connection, _custom, [row], "name")
        return True

    return database.write(work)


def rename_class(database: Database, old: str, new: str) -> None:
    """Give a custom resource class another name, wherever it is used.

    Raises:
        NotFound: there is no such class.
        DuplicateName: the new name is taken.
    """

    def work(connection: sa.Connection) -> None:
        if old == new:
            return
        if connection.execute(_of("class", [new])).first():
            raise DuplicateName(f"Resource class already exists: {new}")
        changed = sa.update(_custom).where(_custom.c.kind == "class", _custom.c.name == old)
        if not connection.execute(changed.values(name=new)).rowcount:
            raise NotFound(f"No such resource class {old}")
        # Inventories first: a claim of the old name holds its inventory until it is written.
        for table in (_inventories, _allocations):
            mine = table.c.resource_class == old
            connection.execute(sa.update(table).where(mine).values(resource_class=new))

    try:
        database.write(work)
    except exc.IntegrityError as error:
        raise DuplicateName(f"Resource class already exists: {new}") from error


def delete(database: Database, kind: Kind, name: str) -> None:
    """Remove a custom name that nothing uses.

    Raises:
        NotFound: there is none.
        Conflict: some provider has an inventory of the class, or the trait.
    """

    def work(connection: sa.Connection) -> None:
        mine = sa.delete(_custom).where(_custom.c.kind == kind, _custom.c.name == name)
        if not connection.execute(mine).rowcount:
            raise NotFound(f"No such {'resource class' if kind == 'class' else 'trait(s):'} {name}")
        column = _USES[kind]
        if connection.execute(sa.select(column).where(column == name).limit(1)).first():
            if kind == "class":
                raise Conflict(
                    f"Error in delete resource class: Class is in use in inventory: {name}"
                )
            raise Conflict(f"The trait {name} is in use by a resource provider.")

    database.write(work)


def missing(database: Database) -> tuple[tuple[Kind, str], ...]:
    """Return the custom names that providers or consumers use and that are not there, in order."""
    found: list[tuple[Kind, str]] = []
    uses: tuple[tuple[Kind, sa.ColumnElement[str]], ...] = (
        ("class", _inventories.c.resource_class),
        ("class", _allocations.c.resource_class),
        ("trait", _traits.c.trait),
    )
    for kind, column in uses:
        there = sa.select(_custom.c.name).where(_custom.c.kind == kind)
        custom = column.startswith("CUSTOM_", autoescape=True)
        query = sa.select(column).distinct().where(custom, column.not_in(there))
        with database.read() as connection:
            found += [(kind, name) for name in connection.execute(query).scalars()]
    return tuple(sorted(set(found)))
