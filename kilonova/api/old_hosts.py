"""``/os-hosts``, up to 2.42: hosts as they were told of before there were services and hypervisors."""

from collections.abc import Iterable
from typing import Any

from kilonova.api import parameters
from kilonova.api.compute_services import change_compute, fleet_of, zone_of
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import TEXT, Schema, closed, values
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.core.errors import NotFound, NotSupported
from kilonova.core.flavor import Flavor
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.db import aggregates, hosts, instances
from kilonova.db.cells import cell_of_host
from kilonova.db.hosts import NodeQuery

_RULE = "os_compute_api:os-hosts"
_LAST = Since.NO_HOSTS.before

_SWITCH: Schema = {
    "enum": [form(word) for word in ("enable", "disable") for form in (str, str.title, str.upper)]
}
_UPDATE = Schemas(
    {ALWAYS: closed({"status": _SWITCH, "maintenance_mode": _SWITCH}, minProperties=1)}
)
_QUERY = parameters.queries(
    {ALWAYS: {"zone": values(TEXT), "service": values(TEXT)}}, strict=Since.STRICT_LISTS
)


def list_hosts(asked: Asked) -> Answer:
    """Answer what runs on which host; of one zone, or of one service."""
    found, _ = fleet_of(asked).services()
    zones = aggregates.zones_of_hosts(asked.services.api_db)
    wanted, kind = asked.one("zone"), asked.one("service")
    shown = [(service, zone_of(asked, service, zones)) for service in found]
    return Answer(
        {
            "hosts": [
                {"host_name": service.host, "service": service.topic, "zone": zone}
                for service, zone in shown
                if wanted in (None, "", zone) and kind in (None, service.topic)
            ]
        }
    )


def show(asked: Asked, host: str) -> Answer:
    """Answer what a host has, what is used of it, and what each project's servers were promised."""
    cell = cell_of_host(asked.services.api_db, HostName(host))
    if cell is None:
        raise _missing(host)
    cell_db = asked.services.cells.database(cell)
    nodes = [node.report for node in hosts.list_nodes(cell_db, NodeQuery(host=HostName(host)))]
    if not nodes:
        raise _missing(host)
    servers = instances.of_host(cell_db, HostName(host))
    rows = [
        (
            "(total)",
            sum(node.vcpus for node in nodes),
            sum(node.memory_mb for node in nodes),
            sum(node.disk_gb for node in nodes),
        ),
        (
            "(used_now)",
            sum(node.vcpus_used for node in nodes),
            sum(node.memory_mb_used for node in nodes),
            sum(node.disk_gb_used for node in nodes),
        ),
        ("(used_max)", *_promised(servers)),
    ]
    for project in sorted({server.project_id for server in servers}):
        rows.append((project, *_promised(s for s in servers if s.project_id == project)))
    return Answer({"host": [{"resource": _resource(host, *row)} for row in rows]})


def _promised(servers: Iterable[Instance]) -> tuple[int, int, int]:
    """Return the VCPUs, the MiB of memory and the GiB of disk that servers were promised."""
    flavors: list[Flavor] = [server.flavor for server in servers]
    return (
        sum(flavor.vcpus for flavor in flavors),
        sum(flavor.memory_mb for flavor in flavors),
        sum(flavor.root_gb + flavor.ephemeral_gb for flavor in flavors),
    )


def _resource(host: str, project: str, cpu: int, memory_mb: int, disk_gb: int) -> dict[str, Any]:
    return {
        "host": host,
        "project": project,
        "cpu": cpu,
        "memory_mb": memory_mb,
        "disk_gb": disk_gb,
    }


def _missing(host: str) -> NotFound:
    return NotFound(f"Compute host {host} could not be found.")


def _check(asked: Asked, host: str) -> None:
    if cell_of_host(asked.services.api_db, HostName(host)) is None:
        raise _missing(host)


def update(asked: Asked, host: str) -> Answer:
    """Enable or disable the compute service of a host. There is no maintenance mode."""
    _check(asked, host)
    if "maintenance_mode" in asked.body:
        raise NotSupported("Hosts have no maintenance mode here.")
    enabled = asked.body["status"].lower() == "enable"
    change = {"enabled": enabled, "disabled_reason": None}
    change_compute(asked, host, change)
    return Answer({"host": host, "status": "enabled" if enabled else "disabled"})


def power(asked: Asked, host: str) -> Answer:
    """Start, shut down or reboot a host: nothing here can.

    Raises:
        NotSupported: always, for a host that there is.
    """
    _check(asked, host)
    raise NotSupported("The power of hosts is not in kilonova's hands.")


_ONE = "/os-hosts/{host}"

ROUTES = (
    Route("GET", "/os-hosts", f"{_RULE}:list", list_hosts, query=_QUERY, when=_LAST),
    Route("GET", _ONE, f"{_RULE}:show", show, when=_LAST),
    Route("PUT", _ONE, f"{_RULE}:update", update, body=_UPDATE, when=_LAST),
    Route("GET", _ONE + "/startup", f"{_RULE}:start", power, when=_LAST),
    Route("GET", _ONE + "/shutdown", f"{_RULE}:shutdown", power, when=_LAST),
    Route("GET", _ONE + "/reboot", f"{_RULE}:reboot", power, when=_LAST),
)
