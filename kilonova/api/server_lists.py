"""Lists of servers: every cell and the build requests, filtered, merged, sorted and cut into pages."""

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked
from kilonova.api.server_sight import sight_of
from kilonova.api.views import servers as views
from kilonova.core import states
from kilonova.core.errors import DatabaseUnavailable, Forbidden, Invalid, NotFound
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.states import VmState
from kilonova.db import instance_lists, instances
from kilonova.db.instance_lists import ServerQuery, sort_value

_COLUMN_OF = {
    "image": "image_id",
    "flavor": "flavor_id",
    "reservation_id": "reservation_id",
    "availability_zone": "availability_zone",
    "key_name": "key_name",
    "power_state": "power_state",
    "task_state": "task_state",
    "vm_state": "vm_state",
    "user_id": "user_id",
    "hostname": "hostname",
    "progress": "progress",
    "uuid": "uuid",
    "host": "host",
    "node": "node",
    "launch_index": None,
}
"""Query parameter -> column."""

_EVERYBODY: dict[str, tuple[int, int]] = {
    "image": (2, 1), "flavor": (2, 1), "reservation_id": (2, 1),
    "availability_zone": (2, 83), "key_name": (2, 83), "power_state": (2, 83),
    "task_state": (2, 83), "vm_state": (2, 83), "user_id": (2, 83), "progress": (2, 83),
    "hostname": (2, 90),
}  # fmt: skip
"""Filters that need no privilege, and since when."""

_BUSY = tuple((str(vm), str(task)) for vm, task in states.STATUS_WHILE)


def index(asked: Asked) -> Answer:
    """``GET /servers``."""
    return _list(asked, "/servers", detail=False)


def detail(asked: Asked) -> Answer:
    """``GET /servers/detail``."""
    return _list(asked, "/servers/detail", detail=True)


def _list(asked: Asked, path: str, *, detail: bool) -> Answer:
    wanted = _wanted(asked, detail=detail)
    if wanted is None:
        return Answer({"servers": []})
    found = _page(asked, wanted)
    sight = sight_of(asked, show=False)
    if detail:
        faults = _faults(asked, found)
        shown = [views.full(i, faults.get(i.uuid), sight) for i, _ in found]
    else:
        shown = [views.brief(i, sight) for i, _ in found]
    body: dict[str, Any] = {"servers": shown}
    if found and len(found) == wanted.limit:
        body["servers_links"] = [{"rel": "next", "href": _next(asked, path, found[-1][0])}]
    return Answer(body)


def _next(asked: Asked, path: str, last: Instance) -> str:
    query = {name: values for name, values in asked.query.items() if name != "marker"}
    query["marker"] = [last.uuid]
    return asked.link(path) + "?" + urlencode(sorted(query.items()), doseq=True)


def _wanted(asked: Asked, *, detail: bool) -> ServerQuery | None:
    """Return the query that the parameters describe; None if nothing can meet it."""
    rule = f"os_compute_api:servers:{'detail' if detail else 'index'}:get_all_tenants"
    project: str | None = asked.context.project_id
    if _flag(asked.one("all_tenants")):
        asked.authorize(rule)
        project = asked.one("project_id") or asked.one("tenant_id")
    privileged = asked.allows("os_compute_api:servers:allow_all_filters")
    query: dict[str, Any] = {"project_id": project, "equal": _equal(asked, privileged=privileged)}
    if not _read_status(asked, query, privileged=privileged):
        return None
    query["name"] = _pattern(asked.one("name") or asked.one("display_name"))
    query["locked"] = _locked(asked)
    query["changed_since"] = _time(asked, "changes-since")
    query["changed_before"] = _time(asked, "changes-before", since=(2, 66))
    if query["changed_since"] is not None:
        query["deleted"] = None
    if privileged and asked.one("deleted") is not None:
        query["deleted"] = _flag(asked.one("deleted"))
    query["sort"] = _sort(asked, privileged=privileged)
    query["limit"] = _limit(asked)
    marker = asked.one("marker")
    if marker is not None:
        try:
            query["after"] = find_server(asked, marker).instance
        except NotFound as error:
            raise Invalid(f"marker [{marker}] not found") from error
    return ServerQuery(**query)


def _flag(text: str | None) -> bool:
    if text is None:
        return False
    if text.lower() in ("", "1", "true", "t", "yes", "on", "y"):
        return True
    if text.lower() in ("0", "false", "f", "no", "off", "n"):
        return False
    raise Invalid(f"Invalid value '{text}': expected a boolean")


def _equal(asked: Asked, *, privileged: bool) -> dict[str, Any]:
    equal: dict[str, Any] = {}
    for name, column in _COLUMN_OF.items():
        values = asked.query.get(name)
        if values is None or column is None:
            continue
        if not privileged and asked.version < _EVERYBODY.get(name, (99, 0)):
            continue
        if name in ("power_state", "progress"):
            if not values[-1].isdigit():
                raise Invalid(f"{name}: {values[-1]} is not a number")
            equal[column] = int(values[-1])
        else:
            equal[column] = values if len(values) > 1 else values[-1]
    return equal


def _read_status(asked: Asked, query: dict[str, Any], *, privileged: bool) -> bool:
    """Add the conditions of ``status``; False if no server can have such a status."""
    wanted = asked.query.get("status")
    if not wanted:
        return True
    pairs = [pair for status in wanted for pair in states.states_of_status(status)]
    if not pairs:
        if asked.version >= (2, 38):
            raise Invalid(f"Invalid status value: {', '.join(wanted)}")
        return False
    if any(vm == VmState.DELETED for vm, _ in pairs):
        if not privileged:
            raise Forbidden("Only administrators may list deleted instances")
        query["deleted"] = True
    query["states"] = pairs
    query["busy_statuses"] = _BUSY
    return True


def _pattern(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"name: {text!r} is not a regular expression: {error}") from error
    return text


def _locked(asked: Asked) -> bool | None:
    text = asked.one("locked")
    return None if text is None or asked.version < (2, 73) else _flag(text)


def _time(asked: Asked, name: str, since: tuple[int, int] = (2, 1)) -> datetime | None:
    text = asked.one(name)
    if text is None or asked.version < since:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise Invalid(f"Invalid filter field: {name}: {text!r} is not a time") from error
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _sort(asked: Asked, *, privileged: bool) -> tuple[tuple[str, bool], ...]:
    keys = asked.query.get("sort_key", [])
    directions = asked.query.get("sort_dir", [])
    sort: list[tuple[str, bool]] = []
    for number, key in enumerate(keys):
        if key not in instance_lists.SORT_COLUMNS:
            raise Invalid(f"sort_key: {key} is not a key to sort by")
        if key in ("host", "node") and not privileged:
            raise Forbidden(f"Sorting by {key} is for administrators")
        direction = directions[number] if number < len(directions) else "desc"
        if direction not in ("asc", "desc"):
            raise Invalid(f"sort_dir: {direction} is neither asc nor desc")
        sort.append((key, direction == "desc"))
    if not sort:
        sort.append(("created_at", not (directions and directions[0] == "asc")))
    if all(key != "uuid" for key, _ in sort):
        sort.append(("uuid", sort[-1][1]))
    return tuple(sort)


def _limit(asked: Asked) -> int:
    text = asked.one("limit")
    largest: int = asked.services.conf.api.max_limit
    if text is None:
        return largest
    if not text.isdigit():
        raise Invalid(f"limit: {text!r} must be a number that is 0 or more")
    return min(int(text), largest) if int(text) else largest


Found = tuple[Instance, CellUuid | None]


def _page(asked: Asked, wanted: ServerQuery) -> list[Found]:
    """Ask every cell at once for its page, and merge. A cell that is down is left out."""
    services = asked.services
    cells = [cell.uuid for cell in services.cells.all()]

    def ask(cell: CellUuid) -> list[Found]:
        try:
            database = services.cells.database(cell)
            return [(i, cell) for i in instance_lists.list_instances(database, wanted)]
        except DatabaseUnavailable:
            return []

    if len(cells) > 2:
        with ThreadPoolExecutor(len(cells)) as pool:
            parts = list(pool.map(ask, cells))
    else:
        parts = [ask(cell) for cell in cells]
    found = {instance.uuid: (instance, cell) for part in parts for instance, cell in part}
    for instance in _requested(asked, wanted):
        found.setdefault(instance.uuid, (instance, None))
    ordered = sorted(found.values(), key=functools.cmp_to_key(_comparison(wanted)))
    return ordered[: wanted.limit]


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
    if wanted.deleted is True:
        return []
    candidates = instance_lists.list_requested(
        asked.services.api_db, wanted.project_id, wanted.limit
    )
    return [instance for instance in candidates if _meets(instance, wanted)]


def _meets(instance: Instance, wanted: ServerQuery) -> bool:
    """Whether a build request meets the conditions that the cells' databases test for instances."""
    row = instances.row_of(instance)
    for column, value in wanted.equal.items():
        if row[column] not in (value if isinstance(value, list) else [value]):
            return False
    if wanted.name is not None and not re.search(wanted.name, instance.name):
        return False
    if wanted.states is not None and all(vm != instance.vm_state for vm, _ in wanted.states):
        return False
    if wanted.locked is not None and wanted.locked != (instance.locked_by is not None):
        return False
    changed = instance.updated_at or instance.created_at
    if wanted.changed_since is not None and changed < wanted.changed_since:
        return False
    if wanted.changed_before is not None and changed > wanted.changed_before:
        return False
    if wanted.after is None:
        return True
    marker: Found = (wanted.after, None)
    return bool(_comparison(wanted)(marker, (instance, None)) < 0)


def _faults(asked: Asked, found: list[Found]) -> dict[InstanceUuid, Fault]:
    by_cell: dict[CellUuid, list[InstanceUuid]] = {}
    for instance, cell in found:
        if cell is not None and instance.vm_state in (VmState.ERROR, VmState.DELETED):
            by_cell.setdefault(cell, []).append(instance.uuid)
    faults: dict[InstanceUuid, Fault] = {}
    for cell, uuids in by_cell.items():
        faults |= instances.newest_faults(asked.services.cells.database(cell), uuids)
    return faults
