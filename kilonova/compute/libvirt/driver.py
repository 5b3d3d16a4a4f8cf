"""The driver of libvirt: QEMU, KVM, and libvirt's own test hypervisor."""

import logging
import shutil
import time
import uuid as uuids
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import libvirt
from oslo_config import cfg

from kilonova.compute.driver import Changed
from kilonova.compute.inventory import Capacity, inventory
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.disks import Disks
from kilonova.compute.libvirt.domain_xml import Place, domain_xml
from kilonova.compute.machine import booted_at
from kilonova.core import flavor
from kilonova.core.errors import NotFound
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid, NodeName, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)

_NAMESPACE = uuids.UUID("e3e7c6b2-6a43-5d5e-8f6e-5a3f9b1f2c77")
_PREFIX = "instance-"
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)
"""Not NVRAM: our guests have none, and libvirt's test driver refuses the flag."""
_LOOKS = 0.2
"""Seconds between two looks at whether a guest has shut down."""


class LibvirtDriver:
    """One libvirt. Domains are defined, so that they outlive a restart of the host."""

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, images: ImageStore) -> None:
        self._conf = conf
        self._host = host
        self._virt_type: str = conf.libvirt.virt_type
        self._root = Path(conf.instances_path).absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._disks = Disks(self._root, images)
        self._libvirt = Connection(conf.libvirt.connection_uri)
        self._guests_flavors: dict[InstanceUuid, Mapping[str, int]] = {}

    @property
    def _is_test(self) -> bool:
        return self._virt_type == "test"

    def nodes(self) -> tuple[NodeReport, ...]:
        """One node, named as its host."""
        return (self._libvirt.use(self._node),)

    def _node(self, connection: Any) -> NodeReport:
        info = connection.getInfo()
        capacity = Capacity(
            vcpus=int(info[2]),
            memory_mb=_memory_mb(connection, int(info[1])),
            disk_gb=shutil.disk_usage(self._root).total >> 30,
        )
        kind = connection.getType().lower()
        arch = str(info[0])
        states = self._states(connection)
        used = {"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
        for uuid in states:
            for name, amount in self._guests_flavors.get(uuid, {}).items():
                used[name] += amount
        return NodeReport(
            node=NodeName(self._host),
            provider_uuid=ProviderUuid(str(uuids.uuid5(_NAMESPACE, self._host))),
            hypervisor_type=connection.getType(),
            hypervisor_version=connection.getVersion(),
            host_ip=self._conf.my_ip,
            vcpus=capacity.vcpus,
            memory_mb=capacity.memory_mb,
            disk_gb=capacity.disk_gb,
            vcpus_used=used["VCPU"],
            memory_mb_used=used["MEMORY_MB"],
            disk_gb_used=used["DISK_GB"],
            running_vms=sum(power == PowerState.RUNNING for power in states.values()),
            inventory=inventory(self._conf, capacity),
            traits=("COMPUTE_NODE",),
            capabilities={"hypervisor_type": kind, "cpu_arch": arch},
            supported=((arch, kind, "hvm"), (arch, self._virt_type, "hvm")),
            booted_at=booted_at(),
        )

    def prepare_networks(self, instance: Instance) -> None:
        """Nothing to do: guests have no card, as there is no default network that ``auto`` could mean."""

    def prepare_disks(self, instance: Instance) -> None:
        """See ``Driver``."""
        if not self._is_test:
            self._disks.prepare(instance)

    def spawn(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._disks.directory(instance.uuid).mkdir(parents=True, exist_ok=True)
        xml = self._libvirt.use(lambda connection: self._xml(connection, instance))
        self._libvirt.use(lambda connection: connection.defineXML(xml).create())
        self._guests_flavors[instance.uuid] = flavor.resources(instance.flavor)

    def _xml(self, connection: Any, instance: Instance) -> str:
        drive = self._disks.config_drive(instance.uuid)
        place = Place(
            virt_type=self._virt_type,
            arch="i686" if self._is_test else str(connection.getInfo()[0]),
            console_log=str(self._disks.console_log(instance.uuid)),
            disk=None if self._is_test else str(self._disks.disk(instance.uuid)),
            config_drive=str(drive) if drive.exists() else None,
        )
        return domain_xml(instance, place)

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        try:
            self._libvirt.use(lambda connection: _remove(_domain(connection, uuid)))
        except NotFound:
            LOG.debug("%s has no domain", uuid)
        self._disks.remove(uuid)
        self._guests_flavors.pop(uuid, None)

    def stop(self, uuid: InstanceUuid, clean_seconds: float) -> None:
        """See ``Driver``."""
        self._libvirt.use(lambda connection: _shut_down(_domain(connection, uuid), clean_seconds))

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._libvirt.use(lambda connection: _power_on(_domain(connection, uuid)))

    def reboot(self, instance: Instance, *, hard: bool) -> None:
        """See ``Driver``. A guest that does not shut down when it is asked is rebooted hard."""

        def restart(connection: Any) -> None:
            domain = _domain(connection, instance.uuid)
            if hard:
                _power_off(domain)
                domain = connection.defineXML(self._xml(connection, instance))
            else:
                _shut_down(domain, 60.0)
            _power_on(domain)

        self._libvirt.use(restart)

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """See ``Driver``."""
        self._libvirt.use(lambda connection: _domain(connection, uuid))
        path = self._disks.console_log(uuid)
        if not path.exists():
            return ""
        text = path.read_text(errors="replace")
        return (
            text
            if lines is None
            else "".join(text.splitlines(keepends=True)[-lines:] if lines else [])
        )

    def guests(self) -> Mapping[InstanceUuid, PowerState]:
        """See ``Driver``."""
        return self._libvirt.use(self._states)

    def _states(self, connection: Any) -> dict[InstanceUuid, PowerState]:
        found = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
        return {
            uuid: _POWER.get(values["state.state"], PowerState.NOSTATE)
            for domain, values in found
            if (uuid := _uuid_of(domain)) is not None
        }

    def watch(self, changed: Changed) -> None:
        """See ``Driver``."""

        def on_event(domain: Any) -> None:
            uuid = _uuid_of(domain)
            if uuid is None:
                return
            try:
                power = _POWER.get(domain.state()[0], PowerState.NOSTATE)
            except libvirt.libvirtError:
                return
            changed(uuid, power)

        self._libvirt.watch(on_event)

    def close(self) -> None:
        """See ``Driver``."""
        self._libvirt.close()


def _memory_mb(connection: Any, reported: int) -> int:
    """Return the host's memory: ``getInfo`` is wrong on some machines, the memory statistics are not."""
    try:
        return (
            int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) >> 10
        )
    except libvirt.libvirtError:
        return reported


def _uuid_of(domain: Any) -> InstanceUuid | None:
    name = domain.name()
    return InstanceUuid(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None


def _domain(connection: Any, uuid: InstanceUuid) -> Any:
    return connection.lookupByName(_PREFIX + uuid)


def _remove(domain: Any) -> None:
    _power_off(domain)
    domain.undefineFlags(_UNDEFINE)


def _power_on(domain: Any) -> None:
    if not domain.isActive():
        domain.create()


def _power_off(domain: Any) -> None:
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError:
            # It may have ended by itself in between.
            if domain.isActive():
                raise


def _shut_down(domain: Any, clean_seconds: float) -> None:
    """Ask, wait, and force. A guest that is still booting does not hear the first time."""
    deadline = time.monotonic() + clean_seconds
    asked = 0.0
    while domain.isActive() and time.monotonic() < deadline:
        if time.monotonic() - asked > 5:
            domain.shutdown()
            asked = time.monotonic()
        time.sleep(_LOOKS)
    _power_off(domain)
