"""A request for allocation candidates, the trees of providers that are searched, and what is found.

There are many of these values for a moment, and no cycles among them: the collector need not track them.
"""

import msgspec

from kilonova.core.scheduling import Allocation


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Resources, traits and aggregates that belong together.

    One provider must have all that a group with a ``suffix`` asks. What the group without one asks may come
    from several providers of a tree, and its ``required`` traits from all of them together.
    """

    suffix: str = ""
    resources: dict[str, int] = {}
    required: tuple[frozenset[str], ...] = ()
    """At least one trait of each set."""
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    """At least one aggregate of each set."""
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None
    """The root of the only tree whose providers may serve the group."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All that one request for candidates asks."""

    groups: tuple[Group, ...]
    isolate: bool = False
    """No two groups with a suffix share a provider."""
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtree: tuple[frozenset[str], ...] = ()
    """Suffixes of groups one of whose providers must stand above all the others', or be them."""
    nested: bool = True
    """Whether a candidate may use several providers of one tree."""


class Stock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much of one resource class a provider has and gives."""

    capacity: int
    used: int
    min_unit: int
    max_unit: int
    step_size: int

    def gives(self, amount: int) -> bool:
        """Whether a claim of ``amount`` would be granted."""
        return (
            self.used + amount <= self.capacity
            and self.min_unit <= amount <= self.max_unit
            and amount % self.step_size == 0
        )

    @property
    def most(self) -> int:
        """The most that one consumer can still get."""
        return min(self.capacity - self.used, self.max_unit)


class Provider(msgspec.Struct, frozen=True, gc=False):
    """One node of a tree of resource providers."""

    uuid: str
    parent: str | None
    root: str
    stock: dict[str, Stock] = {}
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()


class Tree(msgspec.Struct, frozen=True, gc=False):
    """A root provider and all that stand under it, the root among them."""

    root: str
    providers: tuple[Provider, ...]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One way to serve a request: what to allocate, and which providers serve which group (by suffix).

    ``roots`` are those of the trees that it takes from.
    """

    allocation: Allocation
    mappings: dict[str, tuple[str, ...]]
    roots: tuple[str, ...]


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What some one provider of a tree must have, or else the tree serves the request in no way.

    ``spans``: an aggregate of the root counts as each provider's own. ``shared``: aggregates through which
    a provider outside the tree meets the need for it.
    """

    resources: tuple[tuple[str, int], ...] = ()
    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    not_member_of: frozenset[str] = frozenset()
    spans: bool = False
    shared: frozenset[str] = frozenset()
