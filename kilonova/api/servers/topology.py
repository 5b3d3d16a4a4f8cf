"""The NUMA topology of servers (from 2.78). No server is given one here, so each has no nodes."""

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked, Route


def show(asked: Asked, server_id: str) -> Answer:
    """Answer a server's NUMA nodes and the size of its memory pages."""
    find_server(asked, server_id)
    return Answer({"nodes": [], "pagesize_kb": None})


ROUTES = (
    Route(
        "GET",
        "/servers/{server_id}/topology",
        "compute:server:topology:index",
        show,
        when=Since.TOPOLOGY,
    ),
)
