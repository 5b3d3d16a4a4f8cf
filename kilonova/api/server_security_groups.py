"""The security groups that a server's ports are in: none, as no network service is configured."""

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked, Route


def index(asked: Asked, server_id: str) -> Answer:
    """Answer a server's security groups."""
    find_server(asked, server_id)
    return Answer({"security_groups": []})


ROUTES = (
    Route(
        "GET",
        "/servers/{server_id}/os-security-groups",
        "os_compute_api:os-security-groups:list",
        index,
    ),
)
