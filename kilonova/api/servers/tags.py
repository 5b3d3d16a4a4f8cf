"""The tags of servers (from 2.26): ``/servers/{server_id}/tags``."""

import re
from collections.abc import Callable

from kilonova.api.find import find_server, missing
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.servers import NO_BODY, TAG, TAGS, TAGS_BODY
from kilonova.api.servers.tasks import placed
from kilonova.core.errors import Invalid, NotFound, WrongState
from kilonova.core.states import VmState
from kilonova.db import instances

_Tags = tuple[str, ...]
_MOST: int = TAGS["maxItems"]
_CHANGEABLE = frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED})


def list_tags(asked: Asked, server_id: str) -> Answer:
    """Answer a server's tags."""
    return Answer({"tags": list(find_server(asked, server_id).instance.tags)})


def show(asked: Asked, server_id: str, tag: str) -> Answer:
    """Say whether a server has a tag: 204, or 404."""
    if tag not in find_server(asked, server_id).instance.tags:
        raise _no_tag(server_id, tag)
    return Answer(status=204)


def _no_tag(server_id: str, tag: str) -> NotFound:
    return NotFound(f"Server {server_id} has no tag '{tag}'")


def _change(asked: Asked, server_id: str, change: Callable[[_Tags], _Tags]) -> _Tags:
    """Replace a server's tags by what ``change`` makes of them; return what they are then.

    Raises:
        WrongState: the server is not in a state that lasts.
    """
    instance, cell = placed(find_server(asked, server_id), "update_tags")
    if instance.vm_state not in _CHANGEABLE:
        raise WrongState(
            f"Cannot 'update_tags' instance {instance.uuid} while it is in vm_state "
            f"{instance.vm_state}"
        )
    after = instances.change_tags(asked.services.cells.database(cell), instance.uuid, change)
    if after is None:
        raise missing(instance.uuid)
    return after


def replace(asked: Asked, server_id: str) -> Answer:
    """Give a server these tags and no others."""
    wanted = tuple(dict.fromkeys(asked.body["tags"]))
    return Answer({"tags": list(_change(asked, server_id, lambda _: wanted))})


def add(asked: Asked, server_id: str, tag: str) -> Answer:
    """Give a server one tag more: 201, or 204 if it has it already."""
    if not tag or len(tag) > TAG["maxLength"] or not re.match(TAG["pattern"], tag):
        raise Invalid(f"Tag '{tag}' is invalid. It must be of {TAG['description']}.")
    had: list[bool] = []

    def with_it(tags: _Tags) -> _Tags:
        had.append(tag in tags)
        if tag in tags:
            return tags
        if len(tags) >= _MOST:
            raise Invalid(f"The number of tags exceeded the per-server limit {_MOST}")
        return (*tags, tag)

    _change(asked, server_id, with_it)
    # The last look counts: a transaction may have been tried twice.
    if had[-1]:
        return Answer(status=204)
    location = asked.link(f"/servers/{server_id}/tags/{tag}")
    return Answer(status=201, headers={"Location": location})


def remove(asked: Asked, server_id: str, tag: str) -> Answer:
    """Take a tag from a server."""

    def without(tags: _Tags) -> _Tags:
        if tag not in tags:
            raise _no_tag(server_id, tag)
        return tuple(one for one in tags if one != tag)

    _change(asked, server_id, without)
    return Answer(status=204)


def remove_all(asked: Asked, server_id: str) -> Answer:
    """Take every tag from a server."""
    _change(asked, server_id, lambda _: ())
    return Answer(status=204)


_RULE = "os_compute_api:os-server-tags"
_ALL = "/servers/{server_id}/tags"
_ONE = _ALL + "/{tag}"
_SINCE = Since.SERVER_TAGS

ROUTES = (
    Route("GET", _ALL, f"{_RULE}:index", list_tags, when=_SINCE),
    Route("PUT", _ALL, f"{_RULE}:update_all", replace, body=TAGS_BODY, when=_SINCE),
    Route("DELETE", _ALL, f"{_RULE}:delete_all", remove_all, when=_SINCE),
    Route("GET", _ONE, f"{_RULE}:show", show, when=_SINCE),
    Route("PUT", _ONE, f"{_RULE}:update", add, body=NO_BODY, when=_SINCE),
    Route("DELETE", _ONE, f"{_RULE}:delete", remove, when=_SINCE),
)
