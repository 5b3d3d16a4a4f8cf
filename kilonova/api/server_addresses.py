"""The addresses of servers: ``/servers/{server_id}/ips``. Without a network service none has one."""

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked, Route
from kilonova.core.errors import NotFound


def list_addresses(asked: Asked, server_id: str) -> Answer:
    """Answer a server's addresses by network."""
    find_server(asked, server_id)
    return Answer({"addresses": {}})


def show(asked: Asked, server_id: str, network: str) -> Answer:
    """Answer a server's addresses in one network."""
    find_server(asked, server_id)
    raise NotFound(f"Instance {server_id} is not a member of the network {network}.")


_RULE = "os_compute_api:ips"

ROUTES = (
    Route("GET", "/servers/{server_id}/ips", f"{_RULE}:index", list_addresses),
    Route("GET", "/servers/{server_id}/ips/{network}", f"{_RULE}:show", show),
)
