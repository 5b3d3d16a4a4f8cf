"""Small random fleets and requests, and every candidate of them found the slow way.

The slow way is what the engine is compared with: it takes the product of all providers over all that is
asked, and looks at each filling as a whole, so that it has no use for the engine's shortcuts.
"""

import itertools
import random
from collections.abc import Iterator, Sequence

from kilonova.core.candidates import Candidate, Group, Provider, Request, Stock, Tree

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
TRAITS = ("HW_CPU_X86_AVX", "STORAGE_DISK_SSD", "COMPUTE_NODE")
AGGREGATES = ("rack-1", "rack-2", "rack-3")
SHARES = "MISC_SHARES_VIA_AGGREGATE"


def stock(total: int, used: int = 0, **limits: int) -> Stock:
    """Return a stock whose ``max_unit`` is its total."""
    units = {"min_unit": 1, "max_unit": total, "step_size": 1} | limits
    return Stock(capacity=total, used=used, **units)


def lone(uuid: str, **fields: object) -> Tree:
    """Return a tree of one provider."""
    return Tree(uuid, (Provider(uuid, None, uuid, **fields),))  # type: ignore[arg-type]


def random_fleet(chance: random.Random) -> list[Tree]:
    """Return a few trees, some of whose providers share."""
    trees = []
    for n in range(chance.randint(1, 4)):
        root = f"tree{n}"
        places: list[tuple[str, str | None]] = [(root, None)]
        for child in range(chance.choice((0, 0, 1, 2, 3))):
            places.append((f"{root}.{child}", chance.choice(places)[0]))
        providers = (_random_provider(chance, uuid, parent, root) for uuid, parent in places)
        trees.append(Tree(root, tuple(providers)))
    return trees


def _random_provider(chance: random.Random, uuid: str, parent: str | None, root: str) -> Provider:
    stocks = {}
    for name in CLASSES:
        total = chance.randint(1, 5)
        if chance.random() < 0.7:
            stocks[name] = stock(
                total,
                used=chance.choice((0, 0, 1)),
                max_unit=chance.choice((total, 2)),
                step_size=chance.choice((1, 1, 1, 2)),
            )
    traits = [trait for trait in TRAITS if chance.random() < 0.4]
    traits += [SHARES] if chance.random() < 0.25 else []
    aggregates = [uuid for uuid in AGGREGATES if chance.random() < 0.35]
    return Provider(uuid, parent, root, stocks, tuple(traits), tuple(aggregates))


def random_request(chance: random.Random, fleet: Sequence[Tree]) -> Request:
    """Return a request of one to three groups, with conditions of every kind now and then."""
    suffixes = chance.choice((("",), ("",), ("", "1"), ("1",), ("1", "2"), ("", "1", "2")))
    groups = tuple(_random_group(chance, fleet, suffix) for suffix in suffixes)
    suffixed = [suffix for suffix in suffixes if suffix]
    subtree = ()
    if suffixed and chance.random() < 0.3:
        subtree = (frozenset(chance.sample(suffixed, chance.randint(1, len(suffixed)))),)
    return Request(
        groups=groups,
        isolate=chance.random() < 0.4,
        root_required=frozenset(chance.sample(TRAITS, 1) if chance.random() < 0.15 else ()),
        root_forbidden=frozenset(chance.sample(TRAITS, 1) if chance.random() < 0.1 else ()),
        same_subtree=subtree,
        nested=chance.random() < 0.8 or not all(group.resources for group in groups),
    )


def _random_group(chance: random.Random, fleet: Sequence[Tree], suffix: str) -> Group:
    def sometimes(probability: float, names: Sequence[str], most: int) -> frozenset[str]:
        chosen = chance.sample(names, chance.randint(1, most))
        return frozenset(chosen if chance.random() < probability else ())

    required = sometimes(0.3, TRAITS, 2)
    member_of = sometimes(0.25, AGGREGATES, 2)
    resourceless = bool(suffix) and bool(required or member_of) and chance.random() < 0.3
    classes = chance.sample(CLASSES, chance.choice((1, 1, 2)))
    return Group(
        suffix=suffix,
        resources={} if resourceless else {name: chance.choice((1, 1, 2)) for name in classes},
        required=(required,) if required else (),
        forbidden=sometimes(0.15, TRAITS, 1),
        member_of=(member_of,) if member_of else (),
        not_member_of=sometimes(0.15, AGGREGATES, 1),
        in_tree=chance.choice(fleet).root if chance.random() < 0.08 else None,
    )


Shown = tuple[tuple[tuple[str, str, int], ...], tuple[tuple[str, tuple[str, ...]], ...]]


def shown(candidate: Candidate) -> Shown:
    """Return a candidate as a value that can be compared whatever its order."""
    return _shown(candidate.allocation, candidate.mappings)


def _shown(allocation: dict[str, dict[str, int]], mappings: dict[str, tuple[str, ...]]) -> Shown:
    amounts = sorted((u, name, n) for u, of in allocation.items() for name, n in of.items())
    served = sorted((suffix, tuple(sorted(set(uuids)))) for suffix, uuids in mappings.items())
    return tuple(amounts), tuple(served)


def slowly(request: Request, fleet: Sequence[Tree]) -> set[Shown]:
    """Return every candidate of a fleet."""
    everybody = {provider.uuid: provider for tree in fleet for provider in tree.providers}
    found = set()
    for tree in fleet:
        nearby = {uuid for provider in tree.providers for uuid in provider.aggregates}
        others = [
            provider
            for provider in everybody.values()
            if SHARES in provider.traits
            and provider.root != tree.root
            and nearby & set(provider.aggregates)
        ]
        asked = [
            (group, {name: amount})
            for group in request.groups
            if not group.suffix
            for name, amount in group.resources.items()
        ]
        asked += [(group, group.resources) for group in request.groups if group.suffix]
        for filling in itertools.product((*tree.providers, *others), repeat=len(asked)):
            pairs = list(zip(asked, filling, strict=True))
            root = everybody[tree.root]
            if _is_right(request, pairs, root, everybody):
                found.add(_filled(request, pairs))
    return found


Pairs = Sequence[tuple[tuple[Group, dict[str, int]], Provider]]


def _filled(request: Request, pairs: Pairs) -> Shown:
    allocation: dict[str, dict[str, int]] = {}
    mappings: dict[str, tuple[str, ...]] = {group.suffix: () for group in request.groups}
    for (group, amounts), provider in pairs:
        mappings[group.suffix] += (provider.uuid,)
        for name, amount in amounts.items():
            of = allocation.setdefault(provider.uuid, {})
            of[name] = of.get(name, 0) + amount
    return _shown(allocation, mappings)


def _is_right(
    request: Request, pairs: Pairs, root: Provider, everybody: dict[str, Provider]
) -> bool:
    suffixed = [provider.uuid for (group, _), provider in pairs if group.suffix]
    used = {provider.uuid: provider.root for (_, amounts), provider in pairs if amounts}
    return (
        request.root_required <= set(root.traits)
        and not request.root_forbidden & set(root.traits)
        and (not request.isolate or len(set(suffixed)) == len(suffixed))
        and (request.nested or len(set(used.values())) == len(used))
        and all(_may(group, amounts, provider, root) for (group, amounts), provider in pairs)
        and all(_has_all_traits(group, pairs) for group in request.groups)
        and _fits(pairs)
        and all(_is_subtree(suffixes, pairs, everybody) for suffixes in request.same_subtree)
    )


def _may(group: Group, amounts: dict[str, int], provider: Provider, root: Provider) -> bool:
    own = set(provider.aggregates)
    near = provider.root == root.uuid
    if group.in_tree and (provider.root != group.in_tree or not (group.suffix or near)):
        return False
    if set(provider.traits) & group.forbidden or own & group.not_member_of:
        return False
    member = all(own & wanted for wanted in group.member_of)
    if not group.suffix:
        if set(root.aggregates) & group.not_member_of:
            return False
        inherited = all(set(root.aggregates) & wanted for wanted in group.member_of)
        member = member or (near and inherited)
    elif not group.resources and not group.required and not group.member_of:
        return False
    return member and all(
        name in provider.stock
        and provider.stock[name].min_unit <= amount <= provider.stock[name].max_unit
        and amount % provider.stock[name].step_size == 0
        for name, amount in amounts.items()
    )


def _has_all_traits(group: Group, pairs: Pairs) -> bool:
    serving = [provider for (other, _), provider in pairs if other is group]
    traits = {trait for provider in serving for trait in provider.traits}
    return all(traits & wanted for wanted in group.required)


def _fits(pairs: Pairs) -> bool:
    totals: dict[tuple[str, str], int] = {}
    stocks = {}
    for (_, amounts), provider in pairs:
        for name, amount in amounts.items():
            key = provider.uuid, name
            totals[key] = totals.get(key, 0) + amount
            stocks[key] = provider.stock[name]
    return all(
        stocks[key].used + total <= stocks[key].capacity and total <= stocks[key].max_unit
        for key, total in totals.items()
    )


def _is_subtree(suffixes: frozenset[str], pairs: Pairs, everybody: dict[str, Provider]) -> bool:
    serving = {provider.uuid for (group, _), provider in pairs if group.suffix in suffixes}
    lines = [set(_line(uuid, everybody)) for uuid in serving]
    return any(all(top in line for line in lines) for top in serving)


def _line(uuid: str, everybody: dict[str, Provider]) -> Iterator[str]:
    above: str | None = uuid
    while above is not None:
        yield above
        above = everybody[above].parent
