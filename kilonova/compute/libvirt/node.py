"""What libvirt says of its host, and the node that this host reports to its cell."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import libvirt
from oslo_config import cfg

from kilonova.compute.inventory import Capacity, inventory, provider_uuid, set_apart
from kilonova.compute.libvirt import traits
from kilonova.compute.libvirt.domain_xml import Record
from kilonova.compute.libvirt.elements.cpu import EMULATED
from kilonova.compute.libvirt.elements.place import X86
from kilonova.compute.machine import Load, booted_at
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, NodeName
from kilonova.core.pinning import Parts, counted, pooled
from kilonova.core.states import PowerState

LOG = logging.getLogger(__name__)


class Machine:
    """A host as one compute node, named like it; its guests' disks are below ``disks``."""

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, disks: Path) -> None:
        self._conf = conf
        self._host = host
        self._disks = disks
        self._load = Load()
        # What libvirt can do changes with the daemon, and so with the connection.
        self._traits: tuple[Any, tuple[str, ...]] = (None, ())

    def report(
        self,
        connection: Any,
        guests: Iterable[tuple[PowerState, Record]],
        free: Parts,
        vgpus: int,
    ) -> NodeReport:
        """Return what the node has, with the power and the record of each guest, and what none has; of
        mediated devices, how many there are.

        Raises:
            libvirt.libvirtError: libvirt does not say.
        """
        info = connection.getInfo()
        apart = set_apart(self._conf, int(info[2]))
        capacity = Capacity(
            vcpus=int(info[2]),
            pcpus=len(apart),
            memory_mb=memory_mb(connection, int(info[1])),
            disk_gb=shutil.disk_usage(self._disks).total >> 30,
            vgpus=vgpus,
        )
        kind = connection.getType().lower()
        arch = str(info[0])
        used = {"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
        servers = running = 0
        for power, record in guests:
            servers += 1
            running += power == PowerState.RUNNING
            for name in used:
                used[name] += record.resources.get(name, 0)
        node = NodeName(self._host)
        return NodeReport(
            node=node,
            provider_uuid=provider_uuid(self._host, node),
            hypervisor_type=connection.getType(),
            hypervisor_version=connection.getVersion(),
            host_ip=self._conf.my_ip,
            vcpus=capacity.vcpus,
            memory_mb=capacity.memory_mb,
            disk_gb=capacity.disk_gb,
            vcpus_used=used["VCPU"],
            memory_mb_used=used["MEMORY_MB"],
            disk_gb_used=used["DISK_GB"],
            running_vms=running,
            inventory=inventory(self._conf, capacity),
            traits=self._traits_of(connection, arch),
            capabilities={"hypervisor_type": kind, "cpu_arch": arch},
            supported=((arch, kind, "hvm"), (arch, self._conf.libvirt.virt_type, "hvm")),
            booted_at=booted_at(),
            servers=servers,
            metrics=self._load.metrics(),
            pci=pooled(free.devices),
            numa=counted(free.cells),
        )

    def _traits_of(self, connection: Any, arch: str) -> tuple[str, ...]:
        virt_type = self._conf.libvirt.virt_type
        if virt_type not in ("kvm", "qemu"):
            return traits.ANY
        if self._traits[0] is not connection:
            machines = (None, "q35") if arch in X86 else (None,)
            told = [
                connection.getDomainCapabilities(None, arch, machine, virt_type)
                for machine in machines
            ]
            cpu = _processor(connection, arch, virt_type, told[0])
            self._traits = (connection, traits.traits_of(told, cpu))
        return self._traits[1]


def _processor(connection: Any, arch: str, virt_type: str, capabilities: str) -> str | None:
    """Return the processor that guests get, with all of its features, None where libvirt does not say."""
    if virt_type == "kvm":
        model = traits.host_model(capabilities)
    else:
        model = f"<cpu><model>{EMULATED}</model></cpu>" if arch in X86 else None
    if model is None:
        return None
    every = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    try:
        return str(connection.baselineHypervisorCPU(None, arch, None, virt_type, [model], every))
    except libvirt.libvirtError as error:
        LOG.warning("The features of this host's processors are not known: %s", error)
        return None


def memory_mb(connection: Any, reported: int) -> int:
    """Return the host's memory: ``getInfo`` is wrong on some machines, the memory statistics are not."""
    try:
        return (
            int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) >> 10
        )
    except libvirt.libvirtError:
        return reported


def pci_devices(connection: Any) -> list[Any]:
    """Return the node devices that are on a PCI bus, none where libvirt was built without them."""
    try:
        found: list[Any] = connection.listAllDevices(
            libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
        return []
    return found
