"""What the query parameters of a list of servers ask for, by microversion and privilege.

Source of the parameters: Compute API reference, "List Servers".
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from kilonova.api import parameters
from kilonova.api.find import find_server
from kilonova.api.microversions import ALWAYS, NEVER, Since, Span
from kilonova.api.paging import page
from kilonova.api.parameters import TEXT, Schema, moment_of, number_of, values
from kilonova.api.routing import Asked
from kilonova.core import states
from kilonova.core.errors import DatabaseUnavailable, Forbidden, Invalid, NotFound
from kilonova.core.instance import Instance
from kilonova.core.name_pattern import NamePattern
from kilonova.core.states import VmState
from kilonova.db.instance_lists import (
    MAPPED_COLUMNS,
    NEWEST_FIRST,
    SORT_COLUMNS,
    Mapped,
    ServerQuery,
    mapped,
)

_PRIVILEGED = "os_compute_api:servers:allow_all_filters"
_YES = frozenset({"1", "true", "t", "yes", "on", "y"})
_NO = frozenset({"0", "false", "f", "no", "off", "n"})
_BUSY = tuple((str(vm), str(task)) for vm, task in states.STATUS_WHILE)


def _number(text: str, name: str) -> int:
    number = number_of(text)
    if number is None:
        raise Invalid(f"{name}: {text!r} is not a whole number")
    return number


def _text(text: str, _name: str) -> str:
    return text


_COLUMNS: dict[str, tuple[str, Span, Callable[[str, str], Any]]] = {
    "image": ("image_id", ALWAYS, _text),
    "flavor": ("flavor_id", ALWAYS, _text),
    "reservation_id": ("reservation_id", ALWAYS, _text),
    "availability_zone": ("availability_zone", Since.MORE_FILTERS, _text),
    "key_name": ("key_name", Since.MORE_FILTERS, _text),
    "power_state": ("power_state", Since.MORE_FILTERS, _number),
    "task_state": ("task_state", Since.MORE_FILTERS, _text),
    "vm_state": ("vm_state", Since.MORE_FILTERS, _text),
    "user_id": ("user_id", Since.MORE_FILTERS, _text),
    "progress": ("progress", Since.MORE_FILTERS, _number),
    "created_at": ("created_at", Since.MORE_FILTERS, moment_of),
    "launched_at": ("launched_at", Since.MORE_FILTERS, moment_of),
    "terminated_at": ("terminated_at", Since.MORE_FILTERS, moment_of),
    "hostname": ("hostname", Since.HOST_NAMES, _text),
    "uuid": ("uuid", NEVER, _text),
    "host": ("host", NEVER, _text),
    "node": ("node", NEVER, _text),
    "description": ("description", NEVER, _text),
    "display_description": ("description", NEVER, _text),
    "locked_by": ("locked_by", NEVER, _text),
    "root_device_name": ("root_device_name", NEVER, _text),
    "access_ip_v4": ("access_ipv4", NEVER, _text),
    "access_ip_v6": ("access_ipv6", NEVER, _text),
}
"""Parameter -> its column, the microversions at which it is everybody's, and what its text means."""

_TAGS = (
    ("tags", True, True),
    ("tags-any", False, True),
    ("not-tags", True, False),
    ("not-tags-any", False, False),
)
"""(parameter, whether all of its tags are needed or any will do, whether that must hold or must not)."""

_INNER = frozenset(
    {
        "block_device_mapping",
        "services",
        "metadata",
        "system_metadata",
        "info_cache",
        "security_groups",
        "pci_devices",
    }
)
"""What clients must not filter by, although it sounds as if they could."""

_UNSORTED = frozenset(
    {"auto_disk_config", "config_drive", "kernel_id", "launch_index", "ramdisk_id"}
)
"""Sort keys that are taken and say nothing of the order: no column has them, or all servers the same."""

_ONCE_SORTED = frozenset(
    {
        "architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device",
        "deleted", "deleted_at", "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id",
        "key_data", "launched_on", "locked", "memory_mb", "os_type", "reservation_id", "root_gb",
        "shutdown_terminate", "user_data", "vcpus", "vm_mode",
    }
)  # fmt: skip
"""Sort keys that were ignored before they were refused (2.75), or came to mean something (locked, 2.73)."""

_OTHERS = (
    "all_tenants", "tenant_id", "project_id", "name", "display_name", "status", "locked", "deleted",
    "soft_deleted", "changes-since", "changes-before", "ip", "ip6", "config_drive", "sort_key", "sort_dir",
    "launch_index", "kernel_id", "ramdisk_id", "cell_name", "auto_disk_config",
    *(name for name, _, _ in _TAGS),
)  # fmt: skip
_KNOWN: Schema = {name: values(TEXT) for name in (*_COLUMNS, *_OTHERS)}
QUERY = parameters.queries(
    {
        ALWAYS: {},
        Since.STRICT_LISTS: _KNOWN | parameters.PAGE,
    },
    strict=Since.STRICT_LISTS,
)


def server_query(asked: Asked, rule: str) -> ServerQuery | None:
    """Return the query that the parameters describe, or None if nothing can meet it.

    ``rule`` is asked for servers of all projects.

    Raises:
        Invalid: a parameter is wrong.
        Forbidden: it is for administrators.
    """
    privileged = asked.allows(_PRIVILEGED)
    for name in asked.query if privileged else ():
        if name in _INNER or name.startswith("_"):
            raise Invalid(f"Invalid filter field: {name}.")
    wanted: dict[str, Any] = {
        "project_id": _project(asked, rule),
        "equal": dict(_equal(asked, privileged=privileged)),
        "deleted": _deleted(asked, privileged=privileged),
        "soft_deleted": _flag(asked, "soft_deleted", when=ALWAYS if privileged else NEVER),
        "name": _name(asked, privileged=privileged),
        "locked": _flag(asked, "locked", when=Since.LOCK_REASON),
        "config_drive": _flag(
            asked, "config_drive", when=ALWAYS if privileged else Since.MORE_FILTERS
        ),
        "tags": tuple(_tags(asked)),
        "addresses": tuple(_addresses(asked, privileged=privileged)),
        "sort": _sort(asked, privileged=privileged),
        "limit": page(asked)[0],
    }
    wanted |= _times(asked)
    possible = _read_status(asked, wanted, privileged=privileged)
    if wanted["limit"] == 0 or not possible:
        return None
    marker = asked.one("marker")
    if marker is not None:
        wanted["after"] = _marked(asked, marker, wanted["sort"])
    return ServerQuery(**wanted)


def _marked(
    asked: Asked, marker: str, sort: tuple[tuple[str, bool], ...]
) -> Instance | Mapped | None:
    """Return the server behind which a page begins; its mapping, if its cell is away and that is enough.

    Raises:
        Invalid: there is none.
        DatabaseUnavailable: its cell is away, and the order is by what only the cell knows.
    """
    try:
        return find_server(asked, marker, with_deleted=True).instance
    except NotFound as error:
        raise Invalid(f"marker [{marker}] not found") from error
    except DatabaseUnavailable:
        if all(key in MAPPED_COLUMNS for key, _ in sort):
            return mapped(asked.services.api_db, str(UUID(marker)))
        raise


def _project(asked: Asked, rule: str) -> str | None:
    """Return the project whose servers are asked for (None: all); another only with ``all_tenants``."""
    if not _flag(asked, "all_tenants", empty=True):
        return asked.context.project_id
    asked.authorize(rule)
    return asked.one("project_id") or asked.one("tenant_id")


def _flag(
    asked: Asked, name: str, *, when: Span = ALWAYS, empty: bool | None = None
) -> bool | None:
    text = asked.one(name)
    if text is None or asked.version not in when:
        return None
    if text == "" and empty is not None:
        return empty
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise Invalid(f"{name}: {text!r} is neither true nor false")


def _equal(asked: Asked, *, privileged: bool) -> Iterable[tuple[str, list[Any]]]:
    for name, (column, everybodys, read) in _COLUMNS.items():
        texts = asked.query.get(name)
        if texts and (privileged or asked.version in everybodys):
            yield column, [read(text, name) for text in texts]


def _deleted(asked: Asked, *, privileged: bool) -> bool | None:
    text = asked.one("deleted")
    if privileged and text is not None:
        # What is no boolean asks for what is there.
        return text.lower() in _YES
    changes = asked.one("changes-since") or (
        asked.version in Since.CHANGES_BEFORE and asked.one("changes-before")
    )
    return None if changes else False


def _name(asked: Asked, *, privileged: bool) -> NamePattern | None:
    text = asked.one("name") or (privileged and asked.one("display_name"))
    return NamePattern(text) if text else None


def _tags(asked: Asked) -> Iterable[tuple[list[str], bool, bool]]:
    for name, all_of_them, must in _TAGS:
        text = asked.one(name)
        if text and asked.version in Since.SERVER_TAGS:
            yield text.split(","), all_of_them, must


def _times(asked: Asked) -> dict[str, datetime | None]:
    since, before = asked.one("changes-since"), asked.one("changes-before")
    times = {
        "changed_since": moment_of(since, "changes-since") if since else None,
        "changed_before": moment_of(before, "changes-before")
        if before and asked.version in Since.CHANGES_BEFORE
        else None,
    }
    first, last = times["changed_since"], times["changed_before"]
    if first and last and first > last:
        raise Invalid("The value of changes-since must be less than or equal to changes-before")
    return times


def _addresses(asked: Asked, *, privileged: bool) -> Iterable[tuple[int, NamePattern]]:
    everybodys = {"ip": (4, ALWAYS), "ip6": (6, ALWAYS if privileged else Since.FILTER_BY_IPV6)}
    for name, (family, when) in everybodys.items():
        text = asked.one(name)
        if text and asked.version in when:
            yield family, NamePattern(text)


def _read_status(asked: Asked, wanted: dict[str, Any], *, privileged: bool) -> bool:
    """Add the conditions of ``status``; False if no server can have such a status."""
    named = asked.query.get("status")
    if not named:
        return True
    pairs = [pair for status in named for pair in states.states_of_status(status)]
    if not pairs:
        if asked.version in Since.UNKNOWN_STATUS_REFUSED:
            raise Invalid(f"Invalid status value: {', '.join(named)}")
        return False
    if any(vm == VmState.DELETED for vm, _ in pairs):
        if not privileged:
            raise Forbidden("Only administrators may list deleted instances")
        wanted["deleted"] = None if wanted["deleted"] is False else wanted["deleted"]
    if privileged and any(vm == VmState.SOFT_DELETED for vm, _ in pairs):
        wanted["soft_deleted"] = True
    wanted["states"] = pairs
    wanted["busy"] = _BUSY
    return True


def _refused_since(key: str) -> Span:
    return Since.LOCK_REASON if key == "locked" else Since.STRICT_LISTS


def _sort(asked: Asked, *, privileged: bool) -> tuple[tuple[str, bool], ...]:
    keys = asked.query.get("sort_key", [])
    directions = asked.query.get("sort_dir", [])
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise Invalid(f"sort_dir: {direction!r} is neither asc nor desc")
    if len(directions) > max(len(keys), 1):
        raise Invalid("sort_dir: there are more directions than keys to sort by")
    # A key without a direction goes by the first that was given.
    usual = directions[0] if directions else "desc"
    sort: dict[str, bool] = {}
    for number, key in enumerate(keys or ["created_at"]):
        if key in _UNSORTED or (key in _ONCE_SORTED and asked.version not in _refused_since(key)):
            continue
        if key not in SORT_COLUMNS:
            raise Invalid(f"sort_key: {key!r} is not a key to sort by")
        if key in ("host", "node") and not privileged:
            raise Forbidden(f"sort_key: sorting by {key} is for administrators")
        direction = directions[number] if number < len(directions) else usual
        sort.setdefault(key, direction == "desc")
    if not sort or tuple(sort.items()) == NEWEST_FIRST[:1]:
        return NEWEST_FIRST
    last = next(reversed(sort.values()))
    sort.setdefault("uuid", last)
    return tuple(sort.items())
