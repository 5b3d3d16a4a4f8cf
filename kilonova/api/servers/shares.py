"""Shares of servers (from 2.97): no share service is configured, so no server has any."""

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.parameters import NAME, closed
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.schemas.servers import UUID
from kilonova.api.servers.tasks import check_unlocked, placed
from kilonova.core.errors import Invalid, NotFound

_RULE = "os_compute_api:os-server-shares"
_ATTACH = Schemas(
    {Since.SHARES: closed({"share": closed({"share_id": UUID, "tag": NAME}, "share_id")}, "share")}
)


def index(asked: Asked, server_id: str) -> Answer:
    """Answer a server's shares: none."""
    find_server(asked, server_id)
    return Answer({"shares": []})


def attach(asked: Asked, server_id: str) -> Answer:
    """Refuse to attach a share."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    placed(located, "attach_share")
    raise Invalid("share: no share service is configured, so servers have no shares")


def one(asked: Asked, server_id: str, share_id: str) -> Answer:
    """``GET`` and ``DELETE`` of one share, which no server has."""
    find_server(asked, server_id)
    raise NotFound(f"Share {share_id} is not attached to instance {server_id}.")


_ALL = "/servers/{server_id}/shares"
_ONE = _ALL + "/{share_id}"
ROUTES = (
    Route("GET", _ALL, f"{_RULE}:index", index, when=Since.SHARES),
    Route("POST", _ALL, f"{_RULE}:create", attach, body=_ATTACH, when=Since.SHARES),
    Route("GET", _ONE, f"{_RULE}:show", one, when=Since.SHARES),
    Route("DELETE", _ONE, f"{_RULE}:delete", one, when=Since.SHARES),
)
