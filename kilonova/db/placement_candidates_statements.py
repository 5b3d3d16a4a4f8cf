"""The statements of a search for trees of providers, each built once for a form of request.

To build such a statement takes longer than to run it. So its form (how many classes, which conditions) is
the key of a cache, and what fills the form are bound values.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import os_traits
import sqlalchemy as sa

from kilonova.core.candidates import Need
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

_FORMS = 256
"""Statements that are kept of each kind: nobody fills the memory by asking in ever new forms."""

Kind = Literal["class", "required", "member_of"]
Where = Literal["named", "between", "some"]


class NeedForm(NamedTuple):
    """How many conditions a need has, and which."""

    classes: int
    required: int
    forbidden: bool
    member_of: int
    not_member_of: bool
    spans: bool
    shared: bool


def need_form(need: Need) -> NeedForm:
    """Return the form of a need."""
    return NeedForm(
        classes=len(need.resources),
        required=len(need.required),
        forbidden=bool(need.forbidden),
        member_of=len(need.member_of),
        not_member_of=bool(need.not_member_of),
        spans=need.spans,
        shared=bool(need.shared),
    )


def need_values(n: int, need: Need) -> dict[str, Any]:
    """Return the bound values of the ``n``-th need."""
    values: dict[str, Any] = {
        f"forbidden_{n}": sorted(need.forbidden),
        f"not_member_of_{n}": sorted(need.not_member_of),
        f"shared_{n}": sorted(need.shared),
    }
    for k, (name, amount) in enumerate(need.resources):
        values |= {f"class_{n}_{k}": name, f"amount_{n}_{k}": amount}
    for k, traits in enumerate(need.required):
        values[f"required_{n}_{k}"] = sorted(traits)
    for k, aggregates in enumerate(need.member_of):
        values[f"member_of_{n}_{k}"] = sorted(aggregates)
    return values


@lru_cache(maxsize=_FORMS)
def trees(needs: tuple[NeedForm, ...], root: tuple[bool, bool], where: Where) -> sa.Select[Any]:
    """Select the providers of the trees that meet the needs, whose roots are ``:roots``, or have spots in
    (:after, :until], or are ``:some`` of those at random.

    ``root`` says whether traits of the root are required (all of ``:root_required``, which are
    ``:root_count``), and whether some are forbidden.
    """
    top: sa.FromClause = _providers.alias("top")
    node = _providers.alias("node")
    between = sa.and_(top.c.root_spot > _bound("after"), top.c.root_spot <= _bound("until"))
    if where == "some":
        picked = sa.select(top.c.uuid).where(between).order_by(sa.func.random())
        top = picked.limit(_bound("some")).subquery("top")
    query = _described(node).join(top, top.c.uuid == node.c.root_uuid)
    if where != "some":
        named = top.c.uuid.in_(_some("roots"))
        query = query.where(named if where == "named" else between)
    if root[0]:
        count = sa.select(sa.func.count()).where(*_has_trait(top.c.uuid, "root_required"))
        query = query.where(count.scalar_subquery() == _bound("root_count"))
    if root[1]:
        query = query.where(~_exists(*_has_trait(top.c.uuid, "root_forbidden")))
    for n, need in enumerate(needs):
        query = query.where(_meets(top, n, need))
    return query


@lru_cache(maxsize=2)
def sharing_trees(*, any_class: bool) -> sa.Select[Any]:
    """Select the providers of all trees with one that shares, and has some of ``:classes`` if not any."""
    sharer = _providers.alias("sharer")
    roots = sa.select(sharer.c.root_uuid).join(_traits, _traits.c.provider_uuid == sharer.c.uuid)
    roots = roots.where(_traits.c.trait == os_traits.MISC_SHARES_VIA_AGGREGATE)
    if not any_class:
        has = _inventories.c.resource_class.in_(_some("classes"))
        roots = roots.where(_exists(_inventories.c.provider_uuid == sharer.c.uuid, has))
    node = _providers.alias("node")
    return _described(node).where(node.c.root_uuid.in_(roots))


@lru_cache(maxsize=1)
def ends() -> sa.CompoundSelect[Any]:
    """Select where a stretch of ``:size`` roots ends: above ``:high``, and below ``:low``, with their
    numbers."""
    spot = _providers.c.root_spot
    above = sa.select(spot).where(spot > _bound("high")).order_by(spot)
    below = sa.select(spot).where(spot <= _bound("low")).order_by(spot.desc())
    up = above.limit(_bound("size")).subquery()
    down = below.limit(_bound("size")).subquery()
    return sa.union_all(
        sa.select(sa.literal(1).label("way"), sa.func.max(up.c.root_spot), sa.func.count()),
        sa.select(sa.literal(2).label("way"), sa.func.min(down.c.root_spot), sa.func.count()),
    ).order_by("way")


@lru_cache(maxsize=_FORMS)
def holders_counts(kinds: tuple[Kind, ...]) -> sa.CompoundSelect[Any]:
    """Select for each source its number, and how many holders it has, up to ``:rare``."""
    counts = []
    for n, kind in enumerate(kinds):
        some = _holders(kind, n).limit(_bound("rare")).subquery()
        counts.append(sa.select(sa.literal(n), sa.func.count()).select_from(some))
    return sa.union_all(*counts)


@lru_cache(maxsize=_FORMS)
def roots_of_holders(kind: Kind, n: int, *, some: bool) -> sa.Select[Any]:
    """Select the roots above the holders of the ``n``-th source: above all, or ``:some`` at random."""
    holders = _holders(kind, n).limit(_bound("rare")).subquery()
    if some:
        picked = sa.select(holders).order_by(sa.func.random()).limit(_bound("some"))
        holders = picked.subquery()
    query = sa.select(_providers.c.root_uuid).distinct()
    return query.join(holders, holders.c.provider_uuid == _providers.c.uuid)


def _holders(kind: Kind, n: int) -> sa.Select[Any]:
    match kind:
        case "class":
            of, free = _inventories.c.resource_class, _inventories.c.free
            # No more than the index knows, and in its order: PostgreSQL, which expects to find many
            # soon, would read the table itself.
            room = sa.and_(of == _name(f"source_{n}"), free >= _bound(f"source_amount_{n}"))
            return sa.select(_inventories.c.provider_uuid).where(room).order_by(free)
        case "required":
            has = _traits.c.trait.in_(_some(f"source_{n}"))
            return sa.select(_traits.c.provider_uuid).where(has)
        case "member_of":
            is_in = _aggregates.c.aggregate_uuid.in_(_some(f"source_{n}"))
            return sa.select(_aggregates.c.provider_uuid).where(is_in)


def _described(node: sa.FromClause) -> sa.Select[Any]:
    """One row a provider with all that it has: far fewer and shorter rows than one for each thing."""
    uuid = node.c.uuid
    mine = _inventories.c
    numbers = (mine.capacity, mine.used, mine.min_unit, mine.max_unit, mine.step_size)
    first, *others = (sa.cast(number, sa.String(20)) for number in numbers)
    stock: Any = '"' + mine.resource_class + '":[' + first
    for number in others:
        stock = stock + "," + number
    stocks = sa.select(sa.func.aggregate_strings(stock + "]", ","))
    traits = sa.select(sa.func.aggregate_strings(_traits.c.trait, ","))
    aggregates = sa.select(sa.func.aggregate_strings(_aggregates.c.aggregate_uuid, ","))
    return sa.select(
        uuid,
        node.c.parent_uuid,
        node.c.root_uuid,
        stocks.where(mine.provider_uuid == uuid).scalar_subquery(),
        traits.where(_traits.c.provider_uuid == uuid).scalar_subquery(),
        aggregates.where(_aggregates.c.provider_uuid == uuid).scalar_subquery(),
    )


def _meets(top: sa.FromClause, n: int, need: NeedForm) -> sa.ColumnElement[bool]:
    node = _providers.alias(f"node_{n}")
    own = sa.select(node.c.uuid).where(node.c.root_uuid == top.c.uuid, *_has(node, n, need))
    # The LIMIT keeps MariaDB from reading all that would do, for all roots at once.
    met: sa.ColumnElement[bool] = own.limit(1).scalar_subquery().is_not(None)
    if need.shared:
        other = _providers.alias(f"other_{n}")
        through = _aggregates.c.aggregate_uuid.in_(_some(f"shared_{n}"))
        met = met | _exists(
            other.c.root_uuid == top.c.uuid, _aggregates.c.provider_uuid == other.c.uuid, through
        )
    return met


def _has(node: sa.FromClause, n: int, need: NeedForm) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions under which a node meets a need."""
    for k in range(need.classes):
        stock = _inventories.alias(f"stock_{n}_{k}")
        mine = stock.c.provider_uuid == node.c.uuid
        yield _exists(mine, *_gives(stock, f"class_{n}_{k}", f"amount_{n}_{k}"))
    for k in range(need.required):
        yield _exists(*_has_trait(node.c.uuid, f"required_{n}_{k}"))
    if need.forbidden:
        yield ~_exists(*_has_trait(node.c.uuid, f"forbidden_{n}"))
    members: list[sa.ColumnElement[str]] = [node.c.uuid]
    members += [node.c.root_uuid] if need.spans else []
    for k in range(need.member_of):
        yield _exists(*_is_in(members, f"member_of_{n}_{k}"))
    if need.not_member_of:
        yield ~_exists(*_is_in(members, f"not_member_of_{n}"))


def _gives(stock: sa.FromClause, name: str, amount: str) -> tuple[sa.ColumnElement[bool], ...]:
    wanted = _bound(amount)
    return (
        stock.c.resource_class == _name(name),
        stock.c.free >= wanted,
        stock.c.min_unit <= wanted,
        stock.c.max_unit >= wanted,
        wanted % stock.c.step_size == 0,
    )


def _has_trait(uuid: sa.ColumnElement[str], names: str) -> tuple[sa.ColumnElement[bool], ...]:
    traits = _traits.alias()
    return traits.c.provider_uuid == uuid, traits.c.trait.in_(_some(names))


def _is_in(members: list[sa.ColumnElement[str]], names: str) -> tuple[sa.ColumnElement[bool], ...]:
    aggregates = _aggregates.alias()
    mine = aggregates.c.provider_uuid.in_(members)
    return mine, aggregates.c.aggregate_uuid.in_(_some(names))


def _exists(*conditions: sa.ColumnElement[bool]) -> sa.Exists:
    return sa.exists().where(*conditions)


def _bound(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.BigInteger)


def _name(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.String)


def _some(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, expanding=True)
