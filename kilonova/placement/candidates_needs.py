"""What a tree must have to serve a request at all: what a query can tell, before the engine decides.

Pure. No tree that could give a candidate lacks any of this; not every tree that has it gives one.
"""

from collections.abc import Iterator, Sequence

from kilonova.core.candidates import Group, Need, Provider, Request, Tree
from kilonova.placement.candidates_engine import is_usable, serves, shares

_MOST = 16
"""Needs that one statement compares. The engine compares them all."""


def asks_one_provider(request: Request) -> bool:
    """Whether all that is asked comes from one provider, which may be found in its own tree.

    Then nothing more is found by looking at sharing providers from other trees, unless something is asked
    of the root that their own may not have.
    """
    slots = sum(1 if group.suffix else len(group.resources) for group in request.groups)
    of_root = request.root_required or request.root_forbidden
    loose = any(group.not_member_of for group in request.groups if not group.suffix)
    return slots == 1 and not of_root and not loose


def needs(request: Request, shared: Sequence[Tree]) -> tuple[Need, ...]:
    """Return what a tree must have, given the trees with sharing providers."""
    sharing = [provider for tree in shared for provider in tree.providers if shares(provider)]
    found: dict[Need, None] = {}
    for group in request.groups:
        if group.in_tree is None:
            found |= dict.fromkeys(_of_group(group, sharing))
    return tuple(found)[:_MOST]


def only_roots(request: Request, shared: Sequence[Tree]) -> frozenset[str] | None:
    """Return the only roots under which there can be candidates, or None if they can be anywhere."""
    sharing = [provider for tree in shared for provider in tree.providers if shares(provider)]
    roots: frozenset[str] | None = None
    for group in request.groups:
        if group.in_tree is None:
            continue
        if group.suffix and any(serves(provider, group) for provider in sharing):
            continue
        only = frozenset({group.in_tree})
        roots = only if roots is None else roots & only
    return roots


def _of_group(group: Group, sharing: Sequence[Provider]) -> Iterator[Need]:
    if group.suffix:
        yield Need(
            resources=tuple(sorted(group.resources.items())),
            required=group.required,
            forbidden=group.forbidden,
            member_of=group.member_of,
            not_member_of=group.not_member_of,
            shared=_through(p for p in sharing if serves(p, group)),
        )
        return
    usable = [provider for provider in sharing if is_usable(provider, group, provider)]
    for name, amount in sorted(group.resources.items()):
        yield Need(
            resources=((name, amount),),
            forbidden=group.forbidden,
            member_of=group.member_of,
            not_member_of=group.not_member_of,
            spans=True,
            shared=_through(p for p in usable if name in p.stock and p.stock[name].gives(amount)),
        )
    for traits in group.required:
        yield Need(
            required=(traits,),
            forbidden=group.forbidden,
            spans=True,
            shared=_through(p for p in usable if not traits.isdisjoint(p.traits)),
        )


def _through(sharing: Iterator[Provider]) -> frozenset[str]:
    """Return the aggregates through which some providers are reached."""
    return frozenset(uuid for provider in sharing for uuid in provider.aggregates)
