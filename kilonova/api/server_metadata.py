"""The metadata of servers."""

from kilonova.api.find import find_server, missing
from kilonova.api.limits import limits_of
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.servers import META_ITEM, METADATA_BODY
from kilonova.api.server_actions import check_unlocked
from kilonova.core.errors import Conflict, Invalid, NotFound, QuotaExceeded
from kilonova.core.instance import Located
from kilonova.core.quota import UNLIMITED
from kilonova.core.states import VmState
from kilonova.db import instances

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


def _changeable(asked: Asked, server_id: str) -> Located:
    located = find_server(asked, server_id)
    instance = located.instance
    check_unlocked(asked, instance)
    if located.cell_uuid is None or instance.vm_state not in _CHANGEABLE:
        raise Conflict(
            f"Cannot 'update_server_metadata' instance {instance.uuid} while it is in "
            f"vm_state {instance.vm_state}"
        )
    return located


def _change(
    asked: Asked, located: Located, changed: dict[str, str], removed: tuple[str, ...] = ()
) -> dict[str, str]:
    limit = limits_of(asked, located.instance.project_id).metadata_items
    wanted = set(located.instance.metadata) | set(changed)
    wanted -= set(removed)
    if limit != UNLIMITED and len(wanted) > limit:
        raise QuotaExceeded(f"metadata: Maximum number of metadata items exceeds {limit}")
    if located.cell_uuid is None:
        raise missing(located.instance.uuid)
    database = asked.services.cells.database(located.cell_uuid)
    after = instances.change_metadata(database, located.instance.uuid, changed, removed)
    if after is None:
        raise missing(located.instance.uuid)
    return after


def add(asked: Asked, server_id: str) -> Answer:
    """``POST /servers/{server_id}/metadata``: adds and overwrites items."""
    located = _changeable(asked, server_id)
    return Answer({"metadata": _change(asked, located, asked.body["metadata"])})


def replace(asked: Asked, server_id: str) -> Answer:
    """``PUT /servers/{server_id}/metadata``: these items and no others."""
    located = _changeable(asked, server_id)
    wanted = asked.body["metadata"]
    gone = tuple(key for key in located.instance.metadata if key not in wanted)
    return Answer({"metadata": _change(asked, located, wanted, gone)})


def set_one(asked: Asked, server_id: str, key: str) -> Answer:
    """``PUT /servers/{server_id}/metadata/{key}``."""
    item = asked.body["meta"]
    if key not in item:
        raise Invalid("Request body and URI mismatch")
    _change(asked, _changeable(asked, server_id), item)
    return Answer({"meta": item})


def remove(asked: Asked, server_id: str, key: str) -> Answer:
    """``DELETE /servers/{server_id}/metadata/{key}``."""
    located = _changeable(asked, server_id)
    if key not in located.instance.metadata:
        raise NotFound("Metadata item was not found")
    _change(asked, located, {}, (key,))
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
