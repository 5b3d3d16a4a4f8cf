"""Hypervisors, services and availability zones as the API shows them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kilonova.api.views.moments import precise
from kilonova.core.host import NodeReport, Service
from kilonova.core.ids import HostName
from kilonova.db.hosted import Hosted
from kilonova.db.hosts import StoredNode

Version = tuple[int, int]
INTERNAL_ZONE = "internal"
"""The zone of services that are no compute hosts."""

_FIGURES = (
    "vcpus",
    "vcpus_used",
    "memory_mb",
    "memory_mb_used",
    "free_ram_mb",
    "local_gb",
    "local_gb_used",
    "free_disk_gb",
    "disk_available_least",
    "current_workload",
    "running_vms",
)


def service(known: Service, zone: str, version: Version, *, up: bool) -> dict[str, Any]:
    """Return a service (2.11: forced_down; 2.53: its UUID as id)."""
    view = {
        "id": _id_of(known, version),
        "binary": known.binary,
        "host": known.host,
        "zone": zone,
        "status": _status(known),
        "state": _state(up),
        "updated_at": precise(known.last_seen),
        "disabled_reason": known.disabled_reason,
    }
    if version >= (2, 11):
        view["forced_down"] = known.forced_down
    return view


def unknown_service(binary: str, host: HostName) -> dict[str, Any]:
    """Return what is known of a service whose cell does not answer (2.69)."""
    return {"binary": binary, "host": host, "status": "UNKNOWN"}


def _id_of(known: Service, version: Version) -> str | int:
    return known.uuid if version >= (2, 53) else known.id


def _status(known: Service) -> str:
    return "enabled" if known.enabled else "disabled"


def _state(up: bool) -> str:
    return "up" if up else "down"


def hypervisor(node: StoredNode, version: Version, *, up: bool) -> dict[str, Any]:
    """Return a hypervisor of a list without details (2.53: the provider's UUID as id)."""
    return {
        "id": node.report.provider_uuid if version >= (2, 53) else node.number,
        "hypervisor_hostname": node.report.node,
        "state": _state(up),
        "status": _status(node.service),
    }


def hypervisor_detail(
    node: StoredNode, version: Version, now: datetime, *, up: bool
) -> dict[str, Any]:
    """Return a whole hypervisor.

    2.28: cpu_info is an object; 2.88: what Placement knows better is gone, and the uptime comes.
    """
    report = node.report
    view = hypervisor(node, version, up=up) | {
        "hypervisor_type": report.hypervisor_type,
        "hypervisor_version": report.hypervisor_version,
        "host_ip": report.host_ip,
        "service": {
            "id": _id_of(node.service, version),
            "host": node.host,
            "disabled_reason": node.service.disabled_reason,
        },
    }
    if version >= (2, 88):
        return view | {"uptime": uptime(report, now) if up else None}
    info = report.cpu_info
    view["cpu_info"] = msgspec.json.decode(info or "{}") if version >= (2, 28) else info
    return view | _figures(report)


def _figures(report: NodeReport) -> dict[str, int]:
    free_disk = report.disk_gb - report.disk_gb_used
    return {
        "vcpus": report.vcpus,
        "vcpus_used": report.vcpus_used,
        "memory_mb": report.memory_mb,
        "memory_mb_used": report.memory_mb_used,
        "free_ram_mb": report.memory_mb - report.memory_mb_used,
        "local_gb": report.disk_gb,
        "local_gb_used": report.disk_gb_used,
        "free_disk_gb": free_disk,
        "disk_available_least": free_disk,
        "current_workload": 0,
        "running_vms": report.running_vms,
    }


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
    total = {"count": 0}
    for report in reports:
        total["count"] += 1
        for name, figure in _figures(report).items():
            total[name] = total.get(name, 0) + figure
    return {"hypervisor_statistics": dict.fromkeys(_FIGURES, 0) | total}


def with_servers(
    view: Mapping[str, Any], hosted: Sequence[Hosted], version: Version
) -> dict[str, Any]:
    """Return a hypervisor's view with its servers (2.75: also when there are none)."""
    servers = [{"uuid": server.uuid, "name": server.name} for server in hosted]
    return {**view, "servers": servers} if servers or version >= (2, 75) else dict(view)


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """A service with the zone it is in, and whether it is alive."""

    service: Service
    zone: str
    up: bool


def zones(states: Iterable[ServiceState], *, detail: bool) -> dict[str, Any]:
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
