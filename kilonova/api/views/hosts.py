"""Hypervisors, services and availability zones as the API shows them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kilonova.api.microversions import Since, Version
from kilonova.api.views.fields import Field, shown
from kilonova.api.views.moments import precise
from kilonova.core.host import NodeReport, Service
from kilonova.core.ids import HostName
from kilonova.db.hosted import Hosted
from kilonova.db.hosts import StoredNode

INTERNAL_ZONE = "internal"
"""The zone of services that are no compute hosts."""

_FIGURES: Mapping[str, Callable[[NodeReport], int]] = {
    "vcpus": lambda report: report.vcpus,
    "vcpus_used": lambda report: report.vcpus_used,
    "memory_mb": lambda report: report.memory_mb,
    "memory_mb_used": lambda report: report.memory_mb_used,
    "free_ram_mb": lambda report: report.memory_mb - report.memory_mb_used,
    "local_gb": lambda report: report.disk_gb,
    "local_gb_used": lambda report: report.disk_gb_used,
    "free_disk_gb": lambda report: report.disk_gb - report.disk_gb_used,
    "disk_available_least": lambda report: report.disk_gb - report.disk_gb_used,
    "current_workload": lambda _: 0,
    "running_vms": lambda report: report.running_vms,
}
"""What hypervisors showed of their use before Placement was asked for it (up to 2.87)."""


class SeenService(msgspec.Struct, frozen=True, kw_only=True):
    """A service with the zone it is in, and whether it is alive."""

    service: Service
    zone: str
    up: bool


_SERVICE: tuple[Field[SeenService], ...] = (
    Field("id", lambda seen: seen.service.id, when=Since.UUIDS_OF_HOSTS.before),
    Field("id", lambda seen: seen.service.uuid, when=Since.UUIDS_OF_HOSTS),
    Field("binary", lambda seen: seen.service.binary),
    Field("host", lambda seen: seen.service.host),
    Field("zone", lambda seen: seen.zone),
    Field("status", lambda seen: _status(seen.service)),
    Field("state", lambda seen: _state(seen.up)),
    Field("updated_at", lambda seen: precise(seen.service.last_seen)),
    Field("disabled_reason", lambda seen: seen.service.disabled_reason),
    Field("forced_down", lambda seen: seen.service.forced_down, when=Since.FORCED_DOWN),
)


def service(seen: SeenService, version: Version) -> dict[str, Any]:
    """Return a service."""
    return shown(_SERVICE, seen, version)


def unknown_service(binary: str, host: HostName) -> dict[str, Any]:
    """Return what is known of a service whose cell does not answer (2.69)."""
    return {"binary": binary, "host": host, "status": "UNKNOWN"}


def _status(known: Service) -> str:
    return "enabled" if known.enabled else "disabled"


def _state(up: bool) -> str:
    return "up" if up else "down"


class SeenNode(msgspec.Struct, frozen=True, kw_only=True):
    """A hypervisor at a moment, and whether it is alive."""

    node: StoredNode
    up: bool
    now: datetime


_HYPERVISOR: tuple[Field[SeenNode], ...] = (
    Field("id", lambda seen: seen.node.number, when=Since.UUIDS_OF_HOSTS.before),
    Field("id", lambda seen: seen.node.report.provider_uuid, when=Since.UUIDS_OF_HOSTS),
    Field("hypervisor_hostname", lambda seen: seen.node.report.node),
    Field("state", lambda seen: _state(seen.up)),
    Field("status", lambda seen: _status(seen.node.service)),
)
_OF_ITS_SERVICE: tuple[Field[Service], ...] = (
    Field("id", lambda service: service.id, when=Since.UUIDS_OF_HOSTS.before),
    Field("id", lambda service: service.uuid, when=Since.UUIDS_OF_HOSTS),
    Field("host", lambda service: service.host),
    Field("disabled_reason", lambda service: service.disabled_reason),
)


def _of_report(figure: Callable[[NodeReport], int]) -> Callable[[SeenNode], int]:
    return lambda seen: figure(seen.node.report)


_DETAILED: tuple[Field[SeenNode], ...] = (
    *_HYPERVISOR,
    Field("hypervisor_type", lambda seen: seen.node.report.hypervisor_type),
    Field("hypervisor_version", lambda seen: seen.node.report.hypervisor_version),
    Field("host_ip", lambda seen: seen.node.report.host_ip),
    # What Placement knows better is gone, and the uptime comes, with 2.88.
    Field("cpu_info", lambda seen: seen.node.report.cpu_info, when=Since.CPU_INFO_OBJECT.before),
    Field(
        "cpu_info",
        lambda seen: msgspec.json.decode(seen.node.report.cpu_info or "{}"),
        when=Since.CPU_INFO_OBJECT & Since.HYPERVISOR_UPTIME.before,
    ),
    *(
        Field(name, _of_report(of), when=Since.HYPERVISOR_UPTIME.before)
        for name, of in _FIGURES.items()
    ),
    Field(
        "uptime",
        lambda seen: uptime(seen.node.report, seen.now) if seen.up else None,
        when=Since.HYPERVISOR_UPTIME,
    ),
)


def hypervisor(seen: SeenNode, version: Version) -> dict[str, Any]:
    """Return a hypervisor of a list without details."""
    return shown(_HYPERVISOR, seen, version)


def hypervisor_detail(seen: SeenNode, version: Version) -> dict[str, Any]:
    """Return a whole hypervisor."""
    of_its_service = shown(_OF_ITS_SERVICE, seen.node.service, version)
    return shown(_DETAILED, seen, version) | {"service": of_its_service}


def uptime(report: NodeReport, now: datetime) -> str | None:
    """Return how long a host has been running, such as ``up 3 days, 4:05``, or None if unknown."""
    if report.booted_at is None:
        return None
    minutes = max(0, int((now - report.booted_at).total_seconds())) // 60
    days, minutes = divmod(minutes, 24 * 60)
    clock = f"{minutes // 60}:{minutes % 60:02}"
    return f"up {days} day{'' if days == 1 else 's'}, {clock}" if days else f"up {clock}"


def statistics(reports: Iterable[NodeReport]) -> dict[str, Any]:
    """Return the sums over all hypervisors (up to 2.87)."""
    counted = tuple(reports)
    sums = {name: sum(map(of, counted)) for name, of in _FIGURES.items()}
    return {"hypervisor_statistics": {"count": len(counted)} | sums}


def with_servers(
    view: Mapping[str, Any], hosted: Sequence[Hosted], version: Version
) -> dict[str, Any]:
    """Return a hypervisor's view with its servers (2.75: also when there are none)."""
    servers = [{"uuid": server.uuid, "name": server.name} for server in hosted]
    return (
        {**view, "servers": servers}
        if servers or version in Since.SERVERS_ALWAYS_SHOWN
        else dict(view)
    )


def zones(states: Iterable[SeenService], *, detail: bool) -> dict[str, Any]:
    """Return the availability zones: those with an enabled host are available.

    With ``detail`` an available zone shows its enabled hosts and their services; without, the zone of
    what is no compute host is left out.
    """
    hosts: dict[str, dict[str, dict[str, Any]]] = {}
    for state in states:
        if state.zone == INTERNAL_ZONE and not detail:
            continue
        in_zone = hosts.setdefault(state.zone, {})
        if state.service.enabled:
            in_zone.setdefault(state.service.host, {})[state.service.binary] = {
                "active": True,
                "available": state.up,
                "updated_at": precise(state.service.last_seen),
            }
    return {
        "availabilityZoneInfo": [
            {
                "zoneName": zone,
                "zoneState": {"available": bool(hosts[zone])},
                "hosts": hosts[zone] if detail and hosts[zone] else None,
            }
            for zone in sorted(hosts, key=lambda name: (not hosts[name], name))
        ]
    }
