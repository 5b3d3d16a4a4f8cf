"""The addresses of servers: ``/servers/{server_id}/ips``, as their hosts reported them."""

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views.servers import short_addresses
from kilonova.core.errors import NotFound


def list_addresses(asked: Asked, server_id: str) -> Answer:
    """Answer a server's addresses by network."""
    return Answer({"addresses": short_addresses(find_server(asked, server_id).instance)})


def show(asked: Asked, server_id: str, network: str) -> Answer:
    """Answer a server's addresses in one network."""
    found = short_addresses(find_server(asked, server_id).instance)
    if network not in found:
        raise NotFound(f"Instance {server_id} is not a member of the network {network}.")
    return Answer({network: found[network]})


_RULE = "os_compute_api:ips"

ROUTES = (
    Route("GET", "/servers/{server_id}/ips", f"{_RULE}:index", list_addresses),
    Route("GET", "/servers/{server_id}/ips/{network}", f"{_RULE}:show", show),
)
