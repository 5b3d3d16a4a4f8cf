"""The metadata of servers."""

from collections.abc import Callable

from kilonova.api.find import find_server, missing
from kilonova.api.limits import limits_of
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.servers import META_ITEM, METADATA_BODY
from kilonova.api.servers.tasks import check_unlocked, placed
from kilonova.core.errors import Conflict, Invalid, NotFound, QuotaExceeded
from kilonova.core.instance import Instance
from kilonova.core.quota import UNLIMITED
from kilonova.core.states import VmState
from kilonova.db import instances
from kilonova.db.engine import Database

_Items = dict[str, str]
_CHANGEABLE = frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED})


def list_metadata(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/metadata``."""
    return Answer({"metadata": find_server(asked, server_id).instance.metadata})


def show(asked: Asked, server_id: str, key: str) -> Answer:
    """``GET /servers/{server_id}/metadata/{key}``."""
    metadata = find_server(asked, server_id).instance.metadata
    if key not in metadata:
        raise NotFound("Metadata item was not found")
    return Answer({"meta": {key: metadata[key]}})


def _changeable(asked: Asked, server_id: str) -> tuple[Instance, Database]:
    located = find_server(asked, server_id)
    instance, cell = placed(located, "update_server_metadata")
    check_unlocked(asked, instance)
    if instance.vm_state not in _CHANGEABLE:
        raise Conflict(
            f"Cannot 'update_server_metadata' instance {instance.uuid} while it is in "
            f"vm_state {instance.vm_state}"
        )
    return instance, asked.services.cells.database(cell)


def _change(asked: Asked, server_id: str, change: Callable[[_Items], _Items]) -> _Items:
    """Replace a server's metadata by what ``change`` makes of it; return what it is then."""
    instance, database = _changeable(asked, server_id)
    limit = limits_of(asked, instance.project_id).metadata_items

    def within_limit(items: _Items) -> _Items:
        after = change(items)
        if limit != UNLIMITED and len(after) > limit:
            raise QuotaExceeded(f"metadata: Maximum number of metadata items exceeds {limit}")
        return after

    after = instances.change_metadata(database, instance.uuid, within_limit)
    if after is None:
        raise missing(instance.uuid)
    return after


def add(asked: Asked, server_id: str) -> Answer:
    """``POST /servers/{server_id}/metadata``: adds and overwrites items."""
    wanted = asked.body["metadata"]
    return Answer({"metadata": _change(asked, server_id, lambda items: items | wanted)})


def replace(asked: Asked, server_id: str) -> Answer:
    """``PUT /servers/{server_id}/metadata``: these items and no others."""
    wanted = asked.body["metadata"]
    return Answer({"metadata": _change(asked, server_id, lambda _: wanted)})


def set_one(asked: Asked, server_id: str, key: str) -> Answer:
    """``PUT /servers/{server_id}/metadata/{key}``."""
    item = asked.body["meta"]
    if key not in item:
        raise Invalid("Request body and URI mismatch")
    _change(asked, server_id, lambda items: items | item)
    return Answer({"meta": item})


def remove(asked: Asked, server_id: str, key: str) -> Answer:
    """``DELETE /servers/{server_id}/metadata/{key}``."""

    def without(items: _Items) -> _Items:
        if key not in items:
            raise NotFound("Metadata item was not found")
        return {name: value for name, value in items.items() if name != key}

    _change(asked, server_id, without)
    return Answer(status=204)


_RULE = "os_compute_api:server-metadata"
_ALL = "/servers/{server_id}/metadata"
_ONE = "/servers/{server_id}/metadata/{key}"

ROUTES = (
    Route("GET", _ALL, f"{_RULE}:index", list_metadata),
    Route("POST", _ALL, f"{_RULE}:create", add, body=METADATA_BODY),
    Route("PUT", _ALL, f"{_RULE}:update_all", replace, body=METADATA_BODY),
    Route("GET", _ONE, f"{_RULE}:show", show),
    Route("PUT", _ONE, f"{_RULE}:update", set_one, body=META_ITEM),
    Route("DELETE", _ONE, f"{_RULE}:delete", remove),
)
