"""What libvirt measured of a domain."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import libvirt
import msgspec

from kilonova.compute.libvirt.agent import Told
from kilonova.compute.libvirt.disks import NO_DISKS, ROOT_DISK
from kilonova.compute.libvirt.domains import POWER
from kilonova.core.diagnostics import CpuTimes, Diagnostics, DiskFigures, DiskRole, NicFigures
from kilonova.core.states import PowerState

WANTED = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
"""The groups of statistics that figures are made of."""
_KIB = 1024


def figures(found: Mapping[str, Any], hypervisor: str) -> Diagnostics:
    """Return what a domain's statistics say (virConnectGetAllDomainStats names them)."""
    power = POWER.get(found.get("state.state"), PowerState.NOSTATE)
    cpus = range(found.get("vcpu.current", 0))
    return Diagnostics(
        state=power.name.lower(),
        driver="libvirt",
        hypervisor=hypervisor,
        cpu_times=tuple(found.get(f"vcpu.{n}.time", 0) for n in cpus),
        cpu_time=_cpu_time(found, cpus),
        memory_maximum=_mib(found, "balloon.maximum"),
        memory_used=_mib(found, "balloon.current"),
        memory_resident=_mib(found, "balloon.rss"),
        memory_in_guest=_in_guest(found),
        nics=tuple(_nic(found, f"net.{n}.") for n in range(found.get("net.count", 0))),
        disks=tuple(_disk(found, f"block.{n}.") for n in range(found.get("block.count", 0))),
    )


def with_told(measured: Diagnostics, told: Told | None) -> Diagnostics:
    """Return figures with what the agent in the guest told beside."""
    if told is None:
        return measured
    return msgspec.structs.replace(measured, load=told.load, swap=told.swap)


def _cpu_time(found: Mapping[str, Any], cpus: Iterable[int]) -> CpuTimes | None:
    if "cpu.time" not in found:
        return None
    waits = [found[name] for n in cpus if (name := f"vcpu.{n}.wait") in found]
    return CpuTimes(
        total=found["cpu.time"],
        user=found.get("cpu.user"),
        system=found.get("cpu.system"),
        wait=sum(waits) if waits else None,
    )


def _in_guest(found: Mapping[str, Any]) -> int | None:
    """Return what the guest's balloon driver says that it uses, if it says so."""
    available = found.get("balloon.available")
    free = found.get("balloon.usable", found.get("balloon.unused"))
    return None if available is None or free is None else (available - free) // _KIB


def _mib(found: Mapping[str, Any], name: str) -> int | None:
    kib = found.get(name)
    return None if kib is None else int(kib) // _KIB


def _nic(found: Mapping[str, Any], at: str) -> NicFigures:
    return NicFigures(
        name=found.get(f"{at}name", ""),
        rx_octets=found.get(f"{at}rx.bytes"),
        rx_packets=found.get(f"{at}rx.pkts"),
        rx_errors=found.get(f"{at}rx.errs"),
        rx_drop=found.get(f"{at}rx.drop"),
        tx_octets=found.get(f"{at}tx.bytes"),
        tx_packets=found.get(f"{at}tx.pkts"),
        tx_errors=found.get(f"{at}tx.errs"),
        tx_drop=found.get(f"{at}tx.drop"),
    )


def _disk(found: Mapping[str, Any], at: str) -> DiskFigures:
    return DiskFigures(
        name=found.get(f"{at}name", ""),
        read_bytes=found.get(f"{at}rd.bytes"),
        read_requests=found.get(f"{at}rd.reqs"),
        write_bytes=found.get(f"{at}wr.bytes"),
        write_requests=found.get(f"{at}wr.reqs"),
        errors_count=found.get(f"{at}errors"),
        role=_role(found.get(f"{at}path", "")),
        capacity=found.get(f"{at}capacity"),
        # What its file takes; a block device's allocation is as far as it was written.
        allocation=found.get(f"{at}physical", found.get(f"{at}allocation")),
    )


def _role(path: str) -> DiskRole | None:
    file = PurePath(path)
    if not file.name or file.name in NO_DISKS or file.stem == "swap":
        return None
    if file.name == ROOT_DISK:
        return DiskRole.SYSTEM
    return DiskRole.EPHEMERAL if file.stem.startswith("ephemeral") else DiskRole.PERSISTENT
