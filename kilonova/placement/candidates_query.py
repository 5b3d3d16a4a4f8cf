"""The query string of ``GET /allocation_candidates``, from 1.10 to 1.39. It looks nothing up.

Resources, traits, aggregates and trees are asked for in groups: the parameters whose names end in the same
suffix are one group, and those without one are another.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kilonova.core.candidates import Group, Request
from kilonova.core.errors import BadParameter, DuplicateParameter, Invalid, MissingParameter
from kilonova.placement import parameters
from kilonova.placement.schemas import since
from kilonova.placement.wire import Version

Given = Mapping[str, Sequence[str]]
"""The parameters by name, each with all its values."""

_MOST_GROUPS = 256
_NO_LIMIT = 1 << 31

_OF_GROUPS: dict[Version, Iterable[str]] = {
    (1, 10): ("resources",),
    (1, 17): ("resources", "required"),
    (1, 21): ("resources", "required", "member_of"),
    (1, 31): ("resources", "required", "member_of", "in_tree"),
}
_SUFFIX = {(1, 10): "", (1, 25): "([1-9][0-9]*)?", (1, 33): "([a-zA-Z0-9_-]{1,64})?"}
_OF_ALL: dict[Version, frozenset[str]] = {
    (1, 10): frozenset(),
    (1, 16): frozenset({"limit"}),
    (1, 25): frozenset({"limit", "group_policy"}),
    (1, 35): frozenset({"limit", "group_policy", "root_required"}),
    (1, 36): frozenset({"limit", "group_policy", "root_required", "same_subtree"}),
}
_LIMIT = re.compile(r"[1-9][0-9]*")
_WRONG = "Invalid query string parameters:"


class Query(msgspec.Struct, frozen=True):
    """What is asked, how many candidates at most, and every class and trait that is named."""

    request: Request
    limit: int | None
    classes: frozenset[str]
    traits: frozenset[str]


def read(given: Given, version: Version) -> Query:
    """Return what a query string asks.

    ``Group.in_tree`` has the UUID that the client named, which need not be a root's.

    Raises:
        Invalid: a parameter is not known at the microversion, or its value means nothing; the sentence
            names it.
    """
    suffixes = _suffixes(given, version)
    subtrees = tuple(_subtree(value) for value in given.get("same_subtree", ()))
    groups = tuple(_group(given, suffix, version) for suffix in suffixes)
    if version >= (1, 36):
        _check_resourceless(groups, subtrees)
    else:
        _check_orphans(groups, given)
    for group in groups:
        _check_conflict(f"required{group.suffix}", group.required, group.forbidden)
    policy = _policy(given, groups)
    required, forbidden = _root(given)
    request = Request(
        groups=groups,
        isolate=policy == "isolate",
        root_required=required,
        root_forbidden=forbidden,
        same_subtree=subtrees,
        nested=version >= (1, 29),
    )
    traits = [group.forbidden.union(*group.required) for group in groups]
    return Query(
        request,
        _limit(given),
        frozenset(name for group in groups for name in group.resources),
        required.union(forbidden, *traits),
    )


def _suffixes(given: Given, version: Version) -> list[str]:
    """Return the suffixes of the groups, in the order in which they are mentioned."""
    names = "|".join(since(version, _OF_GROUPS))
    pattern = re.compile(f"(?:{names}){since(version, _SUFFIX) or '()'}")
    known = since(version, _OF_ALL)
    suffixes: dict[str, None] = {}
    for name in given:
        match = pattern.fullmatch(name)
        if match is not None:
            suffixes[match[1] or ""] = None
        elif name not in known:
            raise Invalid(f"{_WRONG} {name[:100]} is none at this microversion")
    if len(suffixes) > _MOST_GROUPS:
        raise Invalid(f"{_WRONG} there are {len(suffixes)} groups, more than {_MOST_GROUPS}")
    if version < (1, 25) and "resources" not in given:
        raise Invalid(f"{_WRONG} 'resources' is a required property")
    return list(suffixes)


def _group(given: Given, suffix: str, version: Version) -> Group:
    def values(name: str) -> Sequence[str]:
        return given.get(name + suffix, ())

    resources, trees = values("resources"), values("in_tree")
    traits = parameters.traits(values("required"), version, f"required{suffix}")
    aggregates = parameters.aggregates(values("member_of"), version, f"member_of{suffix}")
    return Group(
        suffix=suffix,
        resources=parameters.resources(resources[-1], f"resources{suffix}") if resources else {},
        required=traits.any_of,
        forbidden=traits.forbidden,
        member_of=aggregates.any_of,
        not_member_of=aggregates.forbidden,
        in_tree=parameters.tree(trees[-1], f"in_tree{suffix}") if trees else None,
    )


def _check_orphans(groups: Sequence[Group], given: Given) -> None:
    """Before 1.36 every group asks for resources."""
    if not groups:
        raise Invalid("resources: at least one group of resources must be asked for")
    for group in groups:
        if not group.resources:
            names = [f"{name}{group.suffix}" for name in ("required", "member_of", "in_tree")]
            orphans = ", ".join(name for name in names if name in given)
            raise Invalid(f"{orphans}: there is no resources{group.suffix} to go with it")


def _check_resourceless(groups: Sequence[Group], subtrees: Iterable[frozenset[str]]) -> None:
    """From 1.36 on a group may ask for no resources, if a ``same_subtree`` ties it to others."""
    if not any(group.resources for group in groups):
        raise MissingParameter("resources: at least one group must ask for resources")
    tied = frozenset[str]().union(*subtrees)
    loose = [group.suffix for group in groups if not group.resources and group.suffix not in tied]
    if loose:
        raise BadParameter(
            f"same_subtree: groups without resources must be in one, but these are not: {loose}"
        )
    unknown = tied - {group.suffix for group in groups}
    if unknown:
        raise BadParameter(f"same_subtree: no group has these suffixes: {sorted(unknown)}")


def _check_conflict(
    name: str, required: Iterable[frozenset[str]], forbidden: frozenset[str]
) -> None:
    both = [", ".join(sorted(traits)) for traits in required if traits <= forbidden]
    if both:
        raise Invalid(f"{name}: required and forbidden at once: {'; '.join(both)}")


def _policy(given: Given, groups: Sequence[Group]) -> str:
    policies = given.get("group_policy", ())
    for policy in policies:
        if policy not in ("none", "isolate"):
            raise Invalid(f"{_WRONG} group_policy: {policy[:100]!r} is not one of none, isolate")
    suffixed = sum(1 for group in groups if group.suffix)
    if suffixed > 1 and not policies:
        raise Invalid("group_policy: required where more than one group has a suffix")
    return policies[0] if policies else "none"


def _root(given: Given) -> tuple[frozenset[str], frozenset[str]]:
    """Return the traits that ``root_required`` requires and forbids; it knows no ``in:``."""
    values = given.get("root_required", ())
    if len(values) > 1:
        raise DuplicateParameter("root_required: may be given only once")
    sought = parameters.traits(values, (1, 38), "root_required")
    required = frozenset[str]().union(*sought.any_of)
    both = required & sought.forbidden
    if both:
        raise BadParameter(f"root_required: required and forbidden at once: {sorted(both)}")
    return required, sought.forbidden


def _subtree(value: str) -> frozenset[str]:
    suffixes = frozenset(part.strip() for part in value.split(","))
    if "" in suffixes:
        raise BadParameter("same_subtree: the group without a suffix cannot be in one")
    return suffixes


def _limit(given: Given) -> int | None:
    for value in given.get("limit", ()):
        if not _LIMIT.fullmatch(value):
            raise Invalid(f"{_WRONG} limit: {value[:100]!r} is not a whole number above 0")
    limits = given.get("limit", ())
    # A number of many digits is as good as none, and int() refuses the longest.
    return min(int(limits[0][:12]), _NO_LIMIT) if limits else None
