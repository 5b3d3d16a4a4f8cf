"""Lists of servers: the build requests and every cell, filtered, merged, sorted and cut into pages."""

import functools
import itertools
from functools import partial
from typing import Any

import msgspec

from kilonova.api.microversions import Since
from kilonova.api.paging import next_links
from kilonova.api.routing import Answer, Asked
from kilonova.api.servers.queries import server_query
from kilonova.api.servers.sight import sight_of
from kilonova.api.views import servers as views
from kilonova.api.views.servers import Sight
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.states import VmState
from kilonova.db import instance_lists, instances
from kilonova.db.instance_lists import (
    MAPPED_COLUMNS,
    NEWEST_FIRST,
    Mapped,
    ServerQuery,
    sort_value,
)
from kilonova.db.scatter import gather, gather_from

Found = tuple[Instance | Mapped, CellUuid | None]
"""A server, and its cell, if it has one that answers. Of one whose cell does not, the mapping is known."""

_WITH_FAULT = frozenset({VmState.ERROR, VmState.DELETED})


def index(asked: Asked) -> Answer:
    """``GET /servers``."""
    return _list(asked, "index")


def detail(asked: Asked) -> Answer:
    """``GET /servers/detail``."""
    return _list(asked, "detail")


def _list(asked: Asked, kind: str) -> Answer:
    wanted = server_query(asked, f"os_compute_api:servers:{kind}:get_all_tenants")
    if wanted is None:
        return Answer({"servers": []})
    found = _page(asked, wanted)
    faults = _faults(asked, found) if kind == "detail" else {}
    sight = sight_of(asked, show=False)
    view = _detailed if kind == "detail" else _brief
    shown = [view(server, faults.get(server.uuid), sight) for server, _ in found]
    path = "/servers/detail" if kind == "detail" else "/servers"
    links = next_links(asked, path, wanted.limit, [server.uuid for server, _ in found])
    return Answer({"servers": shown, "servers_links": links} if links else {"servers": shown})


def _detailed(server: Instance | Mapped, fault: Fault | None, sight: Sight) -> dict[str, Any]:
    if isinstance(server, Mapped):
        return views.unknown(server.uuid, server.project_id, server.created_at, sight)
    return views.full(server, fault, sight)


def _brief(server: Instance | Mapped, _fault: Fault | None, sight: Sight) -> dict[str, Any]:
    if isinstance(server, Mapped):
        return views.unknown_brief(server.uuid, sight)
    return views.brief(server, sight)


def _page(asked: Asked, wanted: ServerQuery) -> list[Found]:
    """Ask every cell at once for its page, and merge.

    What a cell that does not answer would say of its servers is not known, so they are left out, unless
    what is wanted goes by nothing but what their mappings say: then they stand in their places, from 2.69.
    """
    services = asked.services
    # Build requests come first: one that becomes an instance meanwhile is then found twice, never missed.
    found: dict[InstanceUuid, Found] = {i.uuid: (i, None) for i in _requested(asked, wanted)}
    parts = gather(
        services.cells, lambda db: instance_lists.list_instances(db, wanted), hosts_only=False
    )
    for cell, instances_there in parts.answers.items():
        found |= {i.uuid: (i, cell) for i in instances_there}
    if parts.silent and asked.version in Since.DOWN_CELLS and _goes_by_mappings(wanted):
        for known in instance_lists.mapped_to(services.api_db, parts.silent, wanted):
            found[known.uuid] = (known, None)
    ordered = sorted(found.values(), key=functools.cmp_to_key(_comparison(wanted)))
    return ordered[: wanted.limit]


def _goes_by_mappings(wanted: ServerQuery) -> bool:
    plain = ServerQuery(project_id=wanted.project_id, limit=wanted.limit)
    same = msgspec.structs.replace(wanted, sort=plain.sort, after=None) == plain
    return same and all(key in MAPPED_COLUMNS for key, _ in wanted.sort)


def _comparison(wanted: ServerQuery) -> Any:
    def compare(one: Found, other: Found) -> int:
        for key, descending in wanted.sort:
            left, right = sort_value(one[0], key), sort_value(other[0], key)
            if left == right:
                continue
            smaller = right is not None and (left is None or left < right)
            return 1 if smaller == descending else -1
        return 0

    return compare


def _requested(asked: Asked, wanted: ServerQuery) -> list[Instance]:
    candidates = instance_lists.requested(asked.services.api_db, wanted.project_id)
    fit = (instance for instance in candidates if _meets(instance, wanted))
    # They come newest first; under any other order the last of them may belong on this page.
    return list(itertools.islice(fit, wanted.limit) if wanted.sort == NEWEST_FIRST else fit)


def _meets(instance: Instance, wanted: ServerQuery) -> bool:
    """Whether a build request meets the conditions that the cells' databases test for instances."""
    row = instances.row_of(instance) if wanted.equal else {}
    changed = instance.updated_at or instance.created_at
    tags = set(instance.tags)
    met = (
        wanted.deleted is not True
        and all(row[column] in values for column, values in wanted.equal.items())
        and (wanted.name is None or wanted.name.matches(instance.name))
        and (wanted.states is None or (instance.vm_state, None) in wanted.states)
        and wanted.locked is not True
        and instance_lists.meets_unsaid(instance, wanted)
        and all(
            must == (tags.issuperset(named) if all_of_them else not tags.isdisjoint(named))
            for named, all_of_them, must in wanted.tags
        )
        and (wanted.changed_since is None or changed >= wanted.changed_since)
        and (wanted.changed_before is None or changed <= wanted.changed_before)
    )
    if not met or wanted.after is None:
        return met
    return bool(_comparison(wanted)((wanted.after, None), (instance, None)) < 0)


def _faults(asked: Asked, found: list[Found]) -> dict[InstanceUuid, Fault]:
    """Return the newest faults of those that show one, of all cells at once."""
    by_cell: dict[CellUuid, list[InstanceUuid]] = {}
    for server, cell in found:
        if cell is not None and isinstance(server, Instance) and server.vm_state in _WITH_FAULT:
            by_cell.setdefault(cell, []).append(server.uuid)
    work = {cell: partial(instances.newest_faults, uuids=uuids) for cell, uuids in by_cell.items()}
    faults: dict[InstanceUuid, Fault] = {}
    for answer in gather_from(asked.services.cells, work).answers.values():
        faults |= answer
    return faults
