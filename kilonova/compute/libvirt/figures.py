"""What libvirt measured of one domain, in one call."""

from collections.abc import Mapping
from typing import Any

import libvirt

from kilonova.compute.libvirt.domains import POWER
from kilonova.core.diagnostics import Diagnostics, DiskFigures, NicFigures
from kilonova.core.states import PowerState

_WANTED = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
_KIB = 1024


def diagnostics(domain: Any, hypervisor: str) -> Diagnostics:
    """Return what a domain's statistics say (virConnectGetAllDomainStats names them)."""
    ((_, found),) = domain.connect().domainListGetStats([domain], _WANTED)
    power = POWER.get(found.get("state.state"), PowerState.NOSTATE)
    return Diagnostics(
        state=power.name.lower(),
        driver="libvirt",
        hypervisor=hypervisor,
        cpu_times=tuple(
            found.get(f"vcpu.{n}.time", 0) for n in range(found.get("vcpu.current", 0))
        ),
        memory_maximum=_mib(found, "balloon.maximum"),
        memory_used=_mib(found, "balloon.current"),
        nics=tuple(_nic(found, f"net.{n}.") for n in range(found.get("net.count", 0))),
        disks=tuple(_disk(found, f"block.{n}.") for n in range(found.get("block.count", 0))),
    )


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
    )
