"""Providers in their trees: finding them, and moving one under another parent."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.clock import utcnow
from kilonova.core.errors import GenerationConflict, Invalid, NoSuchProvider, NotFound
from kilonova.db.engine import Database
from kilonova.db.placement_providers import (
    StoredProvider,
    get,
    name_taken,
    select_providers,
    stored,
)
from kilonova.db.placement_schema import (
    Provider,
    ProviderAggregate,
    ProviderTrait,
    StoredInventory,
)
from kilonova.db.statements import table_of

_providers = table_of(Provider)
_inventories = table_of(StoredInventory)
_traits = table_of(ProviderTrait)
_aggregates = table_of(ProviderAggregate)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which providers are looked for. Each must meet every condition that is given.

    ``in_tree`` is the UUID of any provider of the tree. Of each set in ``required`` and ``member_of`` a
    provider has at least one trait or aggregate, of ``forbidden`` and ``not_member_of`` none.
    ``resources`` are amounts for which it has room.
    """

    name: str | None = None
    uuid: str | None = None
    in_tree: str | None = None
    required: Collection[Collection[str]] = ()
    forbidden: Collection[str] = ()
    member_of: Collection[Collection[str]] = ()
    not_member_of: Collection[str] = ()
    resources: Mapping[str, int] = {}


def find(database: Database, sought: Query) -> tuple[StoredProvider, ...]:
    """Return the providers that are looked for, in order of name, in one query."""
    query = select_providers().where(*_conditions(sought)).order_by(_providers.c.name)
    return tuple(database.query(lambda c: [stored(row) for row in c.execute(query).mappings()]))


def _conditions(sought: Query) -> list[sa.ColumnElement[bool]]:
    uuid = _providers.c.uuid
    found: list[sa.ColumnElement[bool]] = []
    if sought.name is not None:
        found.append(_providers.c.name == sought.name)
    if sought.uuid is not None:
        found.append(uuid == sought.uuid)
    if sought.in_tree is not None:
        member = _providers.alias("member")
        root = sa.select(member.c.root_uuid).where(member.c.uuid == sought.in_tree)
        found.append(_providers.c.root_uuid == root.scalar_subquery())
    found += [uuid.in_(_having(_traits.c.trait, names)) for names in sought.required]
    if sought.forbidden:
        found.append(uuid.not_in(_having(_traits.c.trait, sought.forbidden)))
    found += [uuid.in_(_having(_aggregates.c.aggregate_uuid, names)) for names in sought.member_of]
    if sought.not_member_of:
        found.append(uuid.not_in(_having(_aggregates.c.aggregate_uuid, sought.not_member_of)))
    for name, amount in sought.resources.items():
        fits = sa.select(_inventories.c.provider_uuid).where(
            _inventories.c.resource_class == name,
            _inventories.c.free >= amount,
            _inventories.c.min_unit <= amount,
            _inventories.c.max_unit >= amount,
            sa.literal(amount) % _inventories.c.step_size == 0,
        )
        found.append(uuid.in_(fits))
    return found


def _having(column: sa.Column[Any], names: Collection[str]) -> sa.Select[tuple[str]]:
    return sa.select(column.table.c.provider_uuid).where(column.in_(names))


def move(
    database: Database, uuid: str, name: str, parent_uuid: str | None, *, again: bool
) -> StoredProvider:
    """Give a provider a name and a parent, None to make it the root of its own tree.

    All that is below it moves with it. ``again`` allows it for a provider that has a parent already.

    Raises:
        NotFound: there is none of that UUID.
        NoSuchProvider: there is no such parent.
        Invalid: it would be below itself, or has a parent that it must keep.
        DuplicateName: the name is taken.
        GenerationConflict: its tree was changed meanwhile.
    """

    def work(connection: sa.Connection) -> None:
        tree = _lock_trees(connection, [uuid] if parent_uuid is None else [uuid, parent_uuid])
        below = _movable(uuid, parent_uuid, tree, again=again)
        own = {"name": name, "parent_uuid": parent_uuid, "updated_at": utcnow()}
        connection.execute(sa.update(_providers).where(_providers.c.uuid == uuid).values(own))
        root = uuid if parent_uuid is None else tree[parent_uuid][1]
        change = sa.update(_providers).where(_providers.c.uuid.in_(below))
        connection.execute(change.values(root_uuid=root))

    try:
        database.write(work)
    except exc.IntegrityError as error:
        raise name_taken(name) from error
    return get(database, uuid)


_Tree = dict[str, tuple[str | None, str]]
"""Provider -> its parent and its root."""


def _lock_trees(connection: sa.Connection, uuids: Collection[str]) -> _Tree:
    """Lock the whole trees of some providers until the transaction ends, and return them."""
    roots = sa.select(_providers.c.root_uuid).where(_providers.c.uuid.in_(uuids))
    columns = (_providers.c.uuid, _providers.c.parent_uuid, _providers.c.root_uuid)
    before = set(connection.execute(roots).scalars().all())
    query = sa.select(*columns).where(_providers.c.root_uuid.in_(before))
    query = query.order_by(_providers.c.uuid).with_for_update()
    # Once to wait for whoever changes these trees, and once to see what they are now.
    connection.execute(query).all()
    tree: _Tree = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    if set(connection.execute(roots).scalars().all()) != before:
        raise GenerationConflict("The provider tree was changed by another request.")
    return tree


def _movable(uuid: str, parent_uuid: str | None, tree: _Tree, *, again: bool) -> set[str]:
    """Return a provider with all its descendants, if it may have that parent."""
    if uuid not in tree:
        raise NotFound(f"No resource provider with uuid {uuid} found")
    if parent_uuid is not None and parent_uuid not in tree:
        raise NoSuchProvider(f"parent_provider_uuid: there is no resource provider {parent_uuid}")
    refused = f"Unable to move resource provider {uuid}: parent_provider_uuid:"
    if tree[uuid][0] not in (None, parent_uuid) and not again:
        what = "un-parenting" if parent_uuid is None else "re-parenting"
        raise Invalid(f"{refused} {what} comes with microversion 1.37.")
    below = _below(uuid, tree)
    if parent_uuid in below:
        raise Invalid(f"{refused} that would make a loop in its tree.")
    return below


def _below(uuid: str, tree: _Tree) -> set[str]:
    children: dict[str, list[str]] = {}
    for child, (parent, _root) in tree.items():
        if parent is not None:
            children.setdefault(parent, []).append(child)
    found = {uuid}
    waiting = [uuid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found
