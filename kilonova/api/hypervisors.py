"""Hypervisors: ``/os-hypervisors``. Their ids are the providers' UUIDs, and numbers below 2.53."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from kilonova.api import parameters
from kilonova.api.compute_services import fleet_of, is_up
from kilonova.api.microversions import Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import BOOLEAN, HOST, PAGE, TEXT, values
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views import hosts as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, NotFound, NotSupported
from kilonova.db.hosts import NodeQuery, StoredNode

_RULE = "os_compute_api:os-hypervisors"

_WITH_SERVERS = {"with_servers": values(BOOLEAN, once=True)}
_NEW_LIST = _WITH_SERVERS | {
    "limit": PAGE["limit"] | {"maxItems": 1},
    "marker": values(TEXT, once=True),
    "hypervisor_hostname_pattern": values(HOST, once=True),
}
_LIST_QUERY = parameters.queries(
    {Since.HYPERVISOR_PAGES: PAGE, Since.UUIDS_OF_HOSTS: _NEW_LIST}, strict=Since.UUIDS_OF_HOSTS
)
_SHOW_QUERY = parameters.queries({Since.UUIDS_OF_HOSTS: _WITH_SERVERS}, strict=Since.UUIDS_OF_HOSTS)


def list_brief(asked: Asked) -> Answer:
    """Answer the hypervisors without details."""
    return _list(asked, "/os-hypervisors", detail=False)


def list_detailed(asked: Asked) -> Answer:
    """Answer the hypervisors in detail."""
    return _list(asked, "/os-hypervisors/detail", detail=True)


def _list(asked: Asked, path: str, *, detail: bool) -> Answer:
    pattern = (
        asked.one("hypervisor_hostname_pattern") if asked.version in Since.UUIDS_OF_HOSTS else None
    )
    if pattern is not None:
        if "limit" in asked.query or "marker" in asked.query:
            raise Invalid(
                "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not "
                "supported."
            )
        return Answer({"hypervisors": _shown(asked, _named_like(asked, pattern), detail=detail)})
    if asked.version not in Since.HYPERVISOR_PAGES:
        return Answer({"hypervisors": _shown(asked, fleet_of(asked).nodes(), detail=detail)})
    limit, marker = page(asked)
    after = None if marker is None else _marked(asked, marker)
    nodes = fleet_of(asked).nodes(NodeQuery(after=after, limit=limit))
    shown = _shown(asked, nodes, detail=detail)
    body: dict[str, Any] = {"hypervisors": shown}
    if links := next_links(asked, path, limit, [view["id"] for view in shown]):
        body["hypervisors_links"] = links
    return Answer(body)


def _shown(asked: Asked, nodes: Sequence[StoredNode], *, detail: bool) -> list[dict[str, Any]]:
    view = views.hypervisor_detail if detail else views.hypervisor
    shown = [view(_seen(asked, node), asked.version) for node in nodes]
    if asked.version in Since.UUIDS_OF_HOSTS and parameters.is_true(asked.one("with_servers")):
        return _with_servers(asked, nodes, shown)
    return shown


def _seen(asked: Asked, node: StoredNode) -> views.SeenNode:
    return views.SeenNode(node=node, up=is_up(asked, node.service), now=utcnow())


def _with_servers(
    asked: Asked, nodes: Sequence[StoredNode], shown: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    servers = fleet_of(asked).servers_on([node.host for node in nodes])
    return [
        views.with_servers(view, servers.get(node.host, ()), asked.version)
        for node, view in zip(nodes, shown, strict=True)
    ]


def _named_like(asked: Asked, part: str) -> list[StoredNode]:
    nodes = fleet_of(asked).nodes(NodeQuery(name_part=part))
    if not nodes:
        raise NotFound(f"No hypervisor matching '{part}' could be found.")
    return nodes


def _marked(asked: Asked, marker: str) -> str:
    try:
        return _found(asked, marker).report.provider_uuid
    except NotFound as error:
        raise Invalid(f"marker [{marker}] not found") from error


def _found(asked: Asked, name: str) -> StoredNode:
    """Return the hypervisor that an id means at the request's microversion."""
    missing = NotFound(f"Hypervisor with ID '{name}' could not be found.")
    if asked.version in Since.UUIDS_OF_HOSTS:
        try:
            wanted = NodeQuery(provider_uuid=str(UUID(name)))
        except ValueError as error:
            raise Invalid(f"Invalid uuid {name}") from error
    else:
        number = parameters.number_of(name)
        if number is None:
            raise missing
        wanted = NodeQuery(number=number)
    nodes = fleet_of(asked).nodes(wanted)
    if not nodes:
        raise missing
    return nodes[0]


def show(asked: Asked, hypervisor_id: str) -> Answer:
    """Answer one hypervisor."""
    nodes = [_found(asked, hypervisor_id)]
    return Answer({"hypervisor": _shown(asked, nodes, detail=True)[0]})


def uptime(asked: Asked, hypervisor_id: str) -> Answer:
    """Answer how long a host has been up (up to 2.87; it is in the details from then on)."""
    seen = _seen(asked, _found(asked, hypervisor_id))
    if not seen.up:
        raise Invalid(f"Compute service of {seen.node.host} is unavailable at this time.")
    known = views.uptime(seen.node.report, seen.now)
    if known is None:
        raise NotSupported("The hypervisor's driver does not know its uptime.")
    return Answer({"hypervisor": views.hypervisor(seen, asked.version) | {"uptime": known}})


def statistics(asked: Asked) -> Answer:
    """Answer the sums over the hypervisors of enabled services (up to 2.87)."""
    nodes = [node for node in fleet_of(asked).nodes() if node.service.enabled]
    return Answer(views.statistics(node.report for node in nodes))


def search(asked: Asked, hypervisor_id: str) -> Answer:
    """Answer the hypervisors whose name has a part (up to 2.52)."""
    return Answer({"hypervisors": _shown(asked, _named_like(asked, hypervisor_id), detail=False)})


def servers(asked: Asked, hypervisor_id: str) -> Answer:
    """Answer the same hypervisors with their servers (up to 2.52)."""
    nodes = _named_like(asked, hypervisor_id)
    shown = _shown(asked, nodes, detail=False)
    return Answer({"hypervisors": _with_servers(asked, nodes, shown)})


_ONE = "/os-hypervisors/{hypervisor_id}"

ROUTES = (
    Route("GET", "/os-hypervisors", f"{_RULE}:list", list_brief, query=_LIST_QUERY),
    Route(
        "GET", "/os-hypervisors/detail", f"{_RULE}:list-detail", list_detailed, query=_LIST_QUERY
    ),
    Route(
        "GET",
        "/os-hypervisors/statistics",
        f"{_RULE}:statistics",
        statistics,
        when=Since.HYPERVISOR_UPTIME.before,
    ),
    Route("GET", _ONE, f"{_RULE}:show", show, query=_SHOW_QUERY),
    Route("GET", _ONE + "/uptime", f"{_RULE}:uptime", uptime, when=Since.HYPERVISOR_UPTIME.before),
    Route("GET", _ONE + "/search", f"{_RULE}:search", search, when=Since.UUIDS_OF_HOSTS.before),
    Route("GET", _ONE + "/servers", f"{_RULE}:servers", servers, when=Since.UUIDS_OF_HOSTS.before),
)
