"""How a request for candidates is asked over HTTP: the parameters of ``GET /allocation_candidates``."""

from collections.abc import Iterator
from urllib.parse import quote

from kilonova.core.candidates import Group, Request


def query_of(request: Request, limit: int) -> Iterator[str]:
    """Yield the parameters of a request for candidates."""
    yield f"limit={limit}"
    for group in request.groups:
        yield from _of_group(group)
    if sum(1 for group in request.groups if group.suffix) > 1:
        yield "group_policy=" + ("isolate" if request.isolate else "none")
    root = [*sorted(request.root_required), *("!" + t for t in sorted(request.root_forbidden))]
    if root:
        yield "root_required=" + ",".join(root)
    for suffixes in request.same_subtree:
        yield "same_subtree=" + ",".join(sorted(suffixes))


def _of_group(group: Group) -> Iterator[str]:
    end = quote(group.suffix) + "="
    if group.resources:
        pairs = (f"{quote(name)}:{amount}" for name, amount in sorted(group.resources.items()))
        yield "resources" + end + ",".join(pairs)
    one = [next(iter(names)) for names in group.required if len(names) == 1]
    traits = [*sorted(one), *("!" + trait for trait in sorted(group.forbidden))]
    if traits:
        yield "required" + end + quote(",".join(traits), safe=",!")
    for names in group.required:
        if len(names) > 1:
            yield "required" + end + "in:" + quote(",".join(sorted(names)), safe=",")
    for uuids in group.member_of:
        yield "member_of" + end + "in:" + ",".join(sorted(uuids))
    if group.not_member_of:
        yield "member_of" + end + "!in:" + ",".join(sorted(group.not_member_of))
    if group.in_tree is not None:
        yield "in_tree" + end + group.in_tree


def wants_any_of(request: Request) -> bool:
    """Whether one of several traits will do for some group of a request."""
    return any(len(names) > 1 for group in request.groups for names in group.required)
