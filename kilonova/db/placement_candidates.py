"""Trees of providers that may serve a request for candidates, a window at a time.

Roots are taken in stretches from a random spot on, so that what is read follows what is asked for and not
the fleet. Where the first stretch was not enough, one look at the indexes tells whether something that is
needed is rare; then all its few holders are read instead of walking on.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.candidates import Need, Provider, Stock, Tree
from kilonova.db import placement_candidates_statements as statements
from kilonova.db.engine import Database
from kilonova.db.placement_candidates_statements import Kind, Where
from kilonova.db.placement_schema import LAST_SPOT
from kilonova.db.placement_schema import Provider as StoredProvider
from kilonova.db.statements import table_of

_FEWEST = 64
"""Roots in the first stretch at least. With fewer, those behind a gap in the spots would be favoured."""
_MOST = 2048
"""Roots in a stretch at most: what is in memory at once."""
_RARE = 1024
"""Holders of something needed, up to which it is rare."""

_providers = table_of(StoredProvider)
_stocks = msgspec.json.Decoder(dict[str, Stock])


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which trees are looked for: those that meet all ``needs``, under a root that has its traits."""

    needs: tuple[Need, ...] = ()
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()


def trees(
    database: Database, wanted: Wanted, *, few: int | None, chance: random.Random | None
) -> Iterator[Sequence[Tree]]:
    """Yield all trees that are wanted, each once.

    ``few`` is how many of them are likely to do; None means all. With ``chance`` they start anywhere.
    """
    size = max(_FEWEST, _enough(few))
    stretches = _stretches(database, chance.randint(0, LAST_SPOT) if chance else -1, size)
    first = next(stretches)
    some = _enough(few)
    if chance and some < size:
        # The stretch is as long as it is for the sake of fairness: most often a few of it are enough.
        look = _read(database, wanted, "some", _bounds(first) | {"some": some})
        stretches = chain([first], stretches)
    else:
        look = _read(database, wanted, "between", _bounds(first))
    yield look
    second = next(stretches, None)
    if second is None:
        return
    seen = {tree.root for tree in look}
    rarest = _rarest(database, wanted)
    if rarest is not None:
        for roots in rarest.roots(database, some, chance):
            left = [root for root in roots if root not in seen]
            seen.update(left)
            yield from trees_under(database, wanted, left, few=few)
        return
    for stretch in chain([second], stretches):
        window = _read(database, wanted, "between", _bounds(stretch))
        yield [tree for tree in window if tree.root not in seen]


def trees_under(
    database: Database, wanted: Wanted, roots: Sequence[str], *, few: int | None
) -> Iterator[Sequence[Tree]]:
    """Yield those trees under some roots that are wanted, in the order of the roots."""
    size = _enough(few)
    while roots:
        yield _read(database, wanted, "named", {"roots": list(roots[:size])})
        roots = roots[size:]
        size = min(4 * size, _MOST)


def sharing_trees(database: Database, classes: Collection[str]) -> tuple[Tree, ...]:
    """Return the trees that have a sharing provider with some of these classes; of none, with anything."""
    query = statements.sharing_trees(any_class=not classes)
    values = {"classes": sorted(classes)}
    return _grouped(database.query(lambda c: c.execute(query, values).all()))


def roots_of(database: Database, uuids: Collection[str]) -> dict[str, str]:
    """Return the root of each of these providers that is there."""
    query = sa.select(_providers.c.uuid, _providers.c.root_uuid)
    query = query.where(_providers.c.uuid.in_(uuids))
    return {row[0]: row[1] for row in database.query(lambda c: c.execute(query).all())}


def _stretches(database: Database, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield stretches of spots, (after, until], of about ``size`` roots at first and then of ever more.

    Together they hold every root: upwards from ``start``, and then downwards. A fleet that is smaller than
    the first stretch is in it as a whole.
    """
    low = high = start
    top = bottom = False
    while not (top and bottom):
        values = {"low": low, "high": high, "size": size}
        found = database.query(lambda c, v=values: c.execute(statements.ends(), v).all())  # type: ignore[misc]
        (_, last, above), (_, first, below) = found
        until = last if above else high
        top = above < size
        after = first - 1 if below and top else low
        bottom = top and below < size
        if low == high:
            yield after, until
        else:
            if high < until:
                yield high, until
            if after < low:
                yield after, low
        low, high = after, until
        size = min(4 * size, _MOST)


def _enough(few: int | None) -> int:
    """Return how many trees to read where so few will do: some may not, and to ask again costs more."""
    return _MOST if few is None else min(few + few // 8 + 2, _MOST)


def _bounds(stretch: tuple[int, int]) -> dict[str, int]:
    return {"after": stretch[0], "until": stretch[1]}


def _read(
    database: Database, wanted: Wanted, where: Where, which: Mapping[str, Any]
) -> tuple[Tree, ...]:
    query = statements.trees(
        tuple(statements.need_form(need) for need in wanted.needs),
        (bool(wanted.root_required), bool(wanted.root_forbidden)),
        where,
    )
    values = {
        "root_required": sorted(wanted.root_required),
        "root_count": len(wanted.root_required),
        "root_forbidden": sorted(wanted.root_forbidden),
        **which,
    }
    for n, need in enumerate(wanted.needs):
        values |= statements.need_values(n, need)
    return _grouped(database.query(lambda c: c.execute(query, values).all()))


def _grouped(rows: Sequence[Any]) -> tuple[Tree, ...]:
    trees: defaultdict[str, list[Provider]] = defaultdict(list)
    for uuid, parent, root, stock, traits, aggregates in rows:
        provider = Provider(
            uuid,
            parent,
            root,
            _stocks.decode(f"{{{stock}}}") if stock else {},
            tuple(traits.split(",")) if traits else (),
            tuple(aggregates.split(",")) if aggregates else (),
        )
        trees[root].append(provider)
    return tuple(Tree(root, tuple(providers)) for root, providers in trees.items())


class _Rarest(msgspec.Struct, frozen=True):
    """Something that every tree must have which is wanted, and that few have."""

    kind: Kind
    number: int
    holders: int
    values: dict[str, Any]

    def roots(
        self, database: Database, some: int, chance: random.Random | None
    ) -> Iterator[list[str]]:
        """Yield the roots above some of its holders, and then above all."""
        for only_some in (True, False) if chance and some < self.holders else (False,):
            query = statements.roots_of_holders(self.kind, self.number, some=only_some)
            values = self.values | {"some": some}
            roots = database.query(lambda c, q=query, v=values: list(c.execute(q, v).scalars()))  # type: ignore[misc]
            yield chance.sample(roots, len(roots)) if chance else sorted(roots)


def _rarest(database: Database, wanted: Wanted) -> _Rarest | None:
    """Return what is rarest of what is needed, or None if nothing is rare."""
    kinds: list[Kind] = []
    values: dict[str, Any] = {"rare": _RARE}
    for kind, what, amount in _sources(wanted):
        values |= {f"source_{len(kinds)}": what, f"source_amount_{len(kinds)}": amount}
        kinds.append(kind)
    if not kinds:
        return None
    query = statements.holders_counts(tuple(kinds))
    counts = database.query(lambda c: c.execute(query, values).all())
    number, holders = min(counts, key=lambda count: count[1])
    return _Rarest(kinds[number], number, holders, values) if holders < _RARE else None


def _sources(wanted: Wanted) -> Iterator[tuple[Kind, Any, int]]:
    """Yield what the indexes can find the holders of, one of which every tree that is wanted must have."""
    for trait in sorted(wanted.root_required):
        yield "required", [trait], 0
    for need in wanted.needs:
        if need.shared:
            continue
        for name, amount in need.resources:
            yield "class", name, amount
        for traits in need.required:
            yield "required", sorted(traits), 0
        for aggregates in need.member_of:
            yield "member_of", sorted(aggregates), 0
