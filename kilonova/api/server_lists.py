"""Lists of servers: the build requests and every cell, filtered, merged, sorted and cut into pages."""

import functools
import itertools
from typing import Any

import msgspec

from kilonova.api.paging import next_links
from kilonova.api.routing import Answer, Asked
from kilonova.api.server_queries import server_query
from kilonova.api.server_sight import sight_of
from kilonova.api.views import servers as views
from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.states import VmState
from kilonova.db import instance_lists, instances
from kilonova.db.instance_lists import NEWEST_FIRST, Mapped, ServerQuery, sort_value
from kilonova.db.scatter import gather

Found = tuple[Instance, CellUuid | None]
"""A server, and its cell, if it has one yet."""


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
    found, silent = _page(asked, wanted)
    sight = sight_of(asked, show=False)
    if kind == "detail":
        faults = _faults(asked, found)
        shown = [views.full(i, faults.get(i.uuid), sight) for i, _ in found]
    else:
        shown = [views.brief(i, sight) for i, _ in found]
    path = "/servers/detail" if kind == "detail" else "/servers"
    links = next_links(asked, path, wanted.limit, [i.uuid for i, _ in found])
    if silent and asked.version >= (2, 69):
        unknown = _unknown(asked, wanted, silent, wanted.limit - len(shown))
        if kind == "detail":
            shown += [views.unknown(m.uuid, m.project_id, m.created_at, sight) for m in unknown]
        else:
            shown += [views.unknown_brief(m.uuid, sight) for m in unknown]
    return Answer({"servers": shown, "servers_links": links} if links else {"servers": shown})


def _page(asked: Asked, wanted: ServerQuery) -> tuple[list[Found], frozenset[CellUuid]]:
    """Ask every cell at once for its page, and merge; return the cells that do not answer, too."""
    services = asked.services
    # Build requests come first: one that becomes an instance meanwhile is then found twice, never missed.
    found: dict[InstanceUuid, Found] = {i.uuid: (i, None) for i in _requested(asked, wanted)}
    parts = gather(
        services.cells, lambda db: instance_lists.list_instances(db, wanted), hosts_only=False
    )
    for cell, instances_there in parts.answers.items():
        found |= {i.uuid: (i, cell) for i in instances_there}
    ordered = sorted(found.values(), key=functools.cmp_to_key(_comparison(wanted)))
    return ordered[: wanted.limit], parts.silent


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
        and wanted.config_drive in (None, instance.wishes.config_drive)
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
    by_cell: dict[CellUuid, list[InstanceUuid]] = {}
    for instance, cell in found:
        if cell is not None and instance.vm_state in (VmState.ERROR, VmState.DELETED):
            by_cell.setdefault(cell, []).append(instance.uuid)
    faults: dict[InstanceUuid, Fault] = {}
    for cell, uuids in by_cell.items():
        try:
            faults |= instances.newest_faults(asked.services.cells.database(cell), uuids)
        except DatabaseUnavailable:
            continue
    return faults


def _unknown(
    asked: Asked, wanted: ServerQuery, silent: frozenset[CellUuid], room: int
) -> list[Mapped]:
    """Return what is known of the servers of cells that do not answer, behind an unfiltered first page."""
    plain = ServerQuery(project_id=wanted.project_id, limit=wanted.limit)
    if msgspec.structs.replace(wanted, sort=NEWEST_FIRST) != plain or room <= 0:
        return []
    return instance_lists.mapped_to(asked.services.api_db, silent, wanted.project_id, room)
