"""Diagnostics of a server: what its hypervisor measured, from 2.48 in one form for all hypervisors."""

from itertools import zip_longest
from typing import Any

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.servers.tasks import ask_host, refused
from kilonova.core.diagnostics import Diagnostics, DiskFigures, NicFigures
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState
from kilonova.rpc.messages import Measure

_KIB = 1024


def show(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/diagnostics``: asks the host, which tells how it saw the guest last."""
    located = find_server(asked, server_id)
    instance = located.instance
    if instance.power_state != PowerState.RUNNING:
        state = f"power state {instance.power_state.name.lower()}"
        raise refused(instance, "get_diagnostics", state)
    message = Measure(instance_uuid=instance.uuid)
    found = ask_host(asked, located, "get_diagnostics", message, Diagnostics)
    return Answer(
        _whole(instance, found) if asked.version in Since.SAME_DIAGNOSTICS else _old(found)
    )


def _whole(instance: Instance, found: Diagnostics) -> dict[str, Any]:
    memory = {"maximum": found.memory_maximum, "used": found.memory_used}
    return {
        "state": found.state,
        "driver": found.driver,
        "hypervisor": found.hypervisor,
        "hypervisor_os": found.hypervisor_os,
        "uptime": found.uptime,
        "config_drive": instance.wishes.config_drive,
        "num_cpus": len(found.cpu_times),
        "num_nics": len(found.nics),
        "num_disks": len(found.disks),
        "memory_details": memory,
        "cpu_details": [
            {"id": number, "time": time, "utilisation": percent}
            for number, (time, percent) in enumerate(
                zip_longest(found.cpu_times, found.cpu_percents)
            )
        ],
        "nic_details": [_nic(nic) for nic in found.nics],
        "disk_details": [_disk(disk) for disk in found.disks],
    }


def _nic(nic: NicFigures) -> dict[str, Any]:
    return {
        "mac_address": nic.mac_address,
        "rx_octets": nic.rx_octets,
        "rx_packets": nic.rx_packets,
        "rx_errors": nic.rx_errors,
        "rx_drop": nic.rx_drop,
        "rx_rate": None,
        "tx_octets": nic.tx_octets,
        "tx_packets": nic.tx_packets,
        "tx_errors": nic.tx_errors,
        "tx_drop": nic.tx_drop,
        "tx_rate": None,
    }


def _disk(disk: DiskFigures) -> dict[str, Any]:
    return {
        "read_bytes": disk.read_bytes,
        "read_requests": disk.read_requests,
        "write_bytes": disk.write_bytes,
        "write_requests": disk.write_requests,
        "errors_count": disk.errors_count,
    }


def _old(found: Diagnostics) -> dict[str, int]:
    """Return the figures under the names that they had for a libvirt host: memory in KiB."""
    view: dict[str, int | None] = {
        f"cpu{number}_time": time for number, time in enumerate(found.cpu_times)
    }
    if found.memory_maximum is not None:
        view["memory"] = found.memory_maximum * _KIB
    if found.memory_used is not None:
        view["memory-actual"] = found.memory_used * _KIB
    for disk in found.disks:
        view |= {
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_write_req": disk.write_requests,
            f"{disk.name}_errors": disk.errors_count,
        }
    for nic in found.nics:
        view |= {
            f"{nic.name}_rx": nic.rx_octets,
            f"{nic.name}_rx_packets": nic.rx_packets,
            f"{nic.name}_rx_errors": nic.rx_errors,
            f"{nic.name}_rx_drop": nic.rx_drop,
            f"{nic.name}_tx": nic.tx_octets,
            f"{nic.name}_tx_packets": nic.tx_packets,
            f"{nic.name}_tx_errors": nic.tx_errors,
            f"{nic.name}_tx_drop": nic.tx_drop,
        }
    return {name: -1 if value is None else value for name, value in view.items()}


ROUTES = (
    Route("GET", "/servers/{server_id}/diagnostics", "os_compute_api:os-server-diagnostics", show),
)
