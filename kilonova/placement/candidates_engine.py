"""Which providers can serve a request for allocation candidates: values in, candidates out, lazily.

Pure. Trees of providers come in, window by window, and candidates go out as they are taken, so that the
work follows what is asked for. A candidate belongs to one tree: its providers are nodes of that tree, and
sharing providers (of other trees) that are in an aggregate with one of its nodes.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import os_traits

from kilonova.core.candidates import Candidate, Group, Provider, Request, Tree
from kilonova.placement.candidates_search import Patience, Search, Slot

T = TypeVar("T")


class Engine:
    """Finds candidates for one request.

    ``shared`` are the trees of the sharing providers. With ``chance``, trees and providers are taken in
    random order, without it in that of their UUIDs.
    """

    def __init__(
        self,
        request: Request,
        shared: Sequence[Tree] = (),
        chance: random.Random | None = None,
    ) -> None:
        self._request = request
        self._chance = chance
        self._sharing = [p for tree in shared for p in tree.providers if shares(p)]
        self._common = {provider.uuid for provider in self._sharing}
        self._lines_above = {uuid: line for tree in shared for uuid, line in _lines(tree).items()}
        self._patience = Patience()
        self._given: set[tuple[object, ...]] = set()
        self._totals: Counter[str] = Counter()
        for group in request.groups:
            self._totals.update(group.resources)
        suffixed = sum(1 for group in request.groups if group.suffix)
        self._one_is_too_few = request.isolate and suffixed > 1

    @property
    def given_up(self) -> int:
        """In how many trees the search was ended, because it went on too long in vain."""
        return self._patience.given_up

    def candidates(self, windows: Iterable[Sequence[Tree]]) -> Iterator[Candidate]:
        """Yield each candidate once.

        Every tree of a window gives its first before any gives its second, so that those who take only a
        few get them from many trees.
        """
        for window in windows:
            trees = self._in_order(window, lambda tree: tree.root)
            for candidate in _in_turns([iter(self._of_tree(tree)) for tree in trees]):
                if self._is_new(candidate):
                    yield candidate

    def _of_tree(self, tree: Tree) -> Iterable[Candidate]:
        if not self._has_right_root(tree):
            return ()
        reached = self._reached(tree)
        if len(tree.providers) == 1 and not reached:
            return self._of_one(tree.providers[0])
        slots = [
            slot for group in self._request.groups for slot in self._slots(group, tree, reached)
        ]
        if not all(slot.options for slot in slots):
            return ()
        # Who stands above whom matters only where something asks for it.
        lines = self._lines_above | _lines(tree) if self._request.same_subtree else {}
        return map(self._candidate, Search(self._request, slots, lines).fillings(self._patience))

    def _of_one(self, provider: Provider) -> tuple[Candidate, ...]:
        """A tree of one provider gives one candidate or none, without a search."""
        groups = self._request.groups
        if self._one_is_too_few or not all(serves(provider, group) for group in groups):
            return ()
        if len(groups) > 1 and any(
            amount > provider.stock[name].most for name, amount in self._totals.items()
        ):
            return ()
        mappings: dict[str, tuple[str, ...]] = {g.suffix: (provider.uuid,) for g in groups}
        return (Candidate({provider.uuid: self._totals}, mappings, (provider.root,)),)

    def _has_right_root(self, tree: Tree) -> bool:
        required, forbidden = self._request.root_required, self._request.root_forbidden
        if not required and not forbidden:
            return True
        traits = _root_of(tree).traits
        return required.issubset(traits) and forbidden.isdisjoint(traits)

    def _reached(self, tree: Tree) -> list[Provider]:
        """Return the sharing providers that the tree's nodes may use."""
        if not self._sharing:
            return []
        aggregates = {uuid for provider in tree.providers for uuid in provider.aggregates}
        return [
            provider
            for provider in self._sharing
            if provider.root != tree.root and not aggregates.isdisjoint(provider.aggregates)
        ]

    def _slots(self, group: Group, tree: Tree, reached: Sequence[Provider]) -> Iterator[Slot]:
        if group.suffix:
            able = [p for p in (*tree.providers, *reached) if serves(p, group)]
            yield Slot(group.suffix, group.resources, self._options(able))
            return
        root = _root_of(tree)
        usable = [p for p in tree.providers if is_usable(p, group, root)]
        if group.in_tree is None:
            usable += [p for p in reached if is_usable(p, group, root)]
        for name, amount in group.resources.items():
            able = [p for p in usable if name in p.stock and p.stock[name].gives(amount)]
            yield Slot("", {name: amount}, self._options(able))

    def _candidate(self, filling: Sequence[tuple[Slot, Provider]]) -> Candidate:
        allocation: dict[str, dict[str, int]] = {}
        mappings: dict[str, tuple[str, ...]] = {group.suffix: () for group in self._request.groups}
        for slot, provider in filling:
            if provider.uuid not in mappings[slot.suffix]:
                mappings[slot.suffix] += (provider.uuid,)
            for name, amount in slot.amounts.items():
                amounts = allocation.setdefault(provider.uuid, {})
                amounts[name] = amounts.get(name, 0) + amount
        roots = dict.fromkeys(provider.root for slot, provider in filling if slot.amounts)
        return Candidate(allocation, mappings, tuple(roots))

    def _is_new(self, candidate: Candidate) -> bool:
        # Only what is taken from sharing providers alone can be had in more than one tree.
        if not self._common:
            return True
        uuids = {uuid for uuids in candidate.mappings.values() for uuid in uuids}
        if not uuids <= self._common:
            return True
        amounts = frozenset(
            (u, *item) for u, of in candidate.allocation.items() for item in of.items()
        )
        key = amounts, tuple(frozenset(uuids) for uuids in candidate.mappings.values())
        if key in self._given:
            return False
        self._given.add(key)
        return True

    def _options(self, able: Sequence[Provider]) -> tuple[Provider, ...]:
        return tuple(self._in_order(able, lambda provider: provider.uuid))

    def _in_order(self, items: Sequence[T], name: Callable[[T], str]) -> Sequence[T]:
        return self._chance.sample(items, len(items)) if self._chance else sorted(items, key=name)


def shares(provider: Provider) -> bool:
    """Whether others may use what a provider has, through an aggregate that both are in."""
    return os_traits.MISC_SHARES_VIA_AGGREGATE in provider.traits


def serves(provider: Provider, group: Group) -> bool:
    """Whether one provider has all that a group asks.

    A group without resources is served only by what has a trait or an aggregate that it names.
    """
    if group.in_tree not in (None, provider.root):
        return False
    for name, amount in group.resources.items():
        stock = provider.stock.get(name)
        if stock is None or not stock.gives(amount):
            return False
    return (
        group.forbidden.isdisjoint(provider.traits)
        and all(not wanted.isdisjoint(provider.traits) for wanted in group.required)
        and _is_member(provider, group)
        and group.not_member_of.isdisjoint(provider.aggregates)
        and bool(group.resources or group.required or group.member_of)
    )


def _is_member(provider: Provider, group: Group) -> bool:
    return all(not wanted.isdisjoint(provider.aggregates) for wanted in group.member_of)


def is_usable(provider: Provider, group: Group, root: Provider) -> bool:
    """Whether a provider may serve some part of the group without a suffix, in the tree under ``root``.

    An aggregate of the root is one of the whole tree: providers under it are members through it, and what
    the tree uses of others is in it too, where that is not wanted.
    """
    return (
        group.in_tree in (None, provider.root)
        and group.forbidden.isdisjoint(provider.traits)
        and group.not_member_of.isdisjoint((*provider.aggregates, *root.aggregates))
        and (
            _is_member(provider, group) or (provider.root == root.uuid and _is_member(root, group))
        )
    )


def _root_of(tree: Tree) -> Provider:
    return next(provider for provider in tree.providers if provider.uuid == tree.root)


def _lines(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Return for each provider of a tree itself and its ancestors, upwards."""
    parents = {provider.uuid: provider.parent for provider in tree.providers}
    lines = {}
    for uuid in parents:
        line = [uuid]
        while (parent := parents.get(line[-1])) is not None and parent not in line:
            line.append(parent)
        lines[uuid] = tuple(line)
    return lines


def _in_turns(sources: Sequence[Iterator[T]]) -> Iterator[T]:
    """Yield the first of every source, then the second of every source, and so on."""
    while sources:
        left = []
        for source in sources:
            for item in source:
                yield item
                left.append(source)
                break
        sources = left
