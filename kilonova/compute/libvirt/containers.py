"""The driver of libvirt's containers (LXC): what it does otherwise than with virtual machines.

What a container cannot do is refused with a sentence that says so.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

import libvirt
import msgspec
from oslo_config import cfg

from kilonova.compute.driver import DiskCopy
from kilonova.compute.libvirt import domains
from kilonova.compute.libvirt.container_consoles import ContainerConsoles
from kilonova.compute.libvirt.container_disks import ContainerDisks
from kilonova.compute.libvirt.container_xml import container_xml
from kilonova.compute.libvirt.driver import LibvirtDriver
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.moving import Until, Voyage
from kilonova.core.asked import Malformed
from kilonova.core.console import ConsoleAddress
from kilonova.core.diagnostics import CpuTimes, Diagnostics, DiskFigures, DiskRole, NicFigures
from kilonova.core.errors import (
    BuildAborted,
    BuildFailed,
    HypervisorUnavailable,
    Invalid,
    NotFound,
    NotSupported,
)
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid, uuid_of_domain
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.migration import Berth, Migration, Progress
from kilonova.core.states import PowerState
from kilonova.core.volume import Volume
from kilonova.http.images import ImageStore

_SECTOR = 512
_NANOSECONDS = "cpu_time", "user_time", "system_time"


class ContainerDriver(LibvirtDriver):
    """One libvirt whose guests are containers."""

    _disks: ContainerDisks
    _disks_of = ContainerDisks
    _usual_uri = "lxc:///system"

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, images: ImageStore) -> None:
        super().__init__(conf, host, images)
        self._terminals = ContainerConsoles(self._disks.console_log)

    def _node(self, connection: Any) -> NodeReport:
        node = super()._node(connection)
        arch = node.capabilities["cpu_arch"]
        # What takes devices, or CPUs of one's own, is refused here.
        offered = {name: one for name, one in node.inventory.items() if name != "VGPU"}
        supported = ((arch, self._virt_type, "exe"),)
        return msgspec.structs.replace(
            node, inventory=offered, supported=supported, pci=(), numa=()
        )

    def _states(self, connection: Any) -> Iterator[tuple[Any, int]]:
        """See ``LibvirtDriver``. libvirt has no bulk call for containers."""
        for domain in connection.listAllDomains():
            try:
                state = domain.state()[0]
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                continue
            yield domain, state

    def _xml(self, connection: Any, instance: Instance, *, rescue: bool = False) -> str:
        uuid = instance.uuid
        drive = self._disks.config_drive(uuid)
        place = Place(
            virt_type=self._virt_type,
            arch=str(connection.getInfo()[0]),
            console_log=str(self._disks.console_log(uuid)),
            disk=str(self._disks.short_name(uuid)),
            config_drive=str(drive) if drive.exists() else None,
        )
        place = self._cards.place(uuid, place)
        try:
            return container_xml(instance, self._parts.place(connection, instance, place))
        except Malformed as error:
            raise BuildAborted(error.message) from error

    def _follow(self, uuid: InstanceUuid) -> None:
        """Read what a container says, unless it has ended by now."""
        with contextlib.suppress(BuildFailed, NotFound, HypervisorUnavailable):
            self._libvirt.use(
                lambda c: self._terminals.follow(c, c.lookupByUUIDString(uuid), uuid),
            )

    # ---- what they do

    def spawn(self, instance: Instance, until: Callable[[], None] | None = None) -> None:
        """See ``Driver``. It stands still from a moment after its start on, not before."""
        super().spawn(instance)
        self._follow(instance.uuid)
        if until is not None:
            self.pause(instance.uuid)
            until()
            self.unpause(instance.uuid)

    def _remove(self, domain: Any) -> None:
        domains.power_off(domain)
        domain.undefine()

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        super().destroy(uuid)
        self._terminals.forget(uuid)

    def stop(self, uuid: InstanceUuid, clean_seconds: float, hurry: Callable[[], bool]) -> None:
        """See ``Driver``."""
        self._on(uuid, lambda domain: domains.shut_down(domain, clean_seconds, hurry, _ask_to_end))

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        super().start(uuid)
        self._follow(uuid)

    def reboot(self, instance: Instance) -> None:
        """See ``Driver``."""
        super().reboot(instance)
        self._follow(instance.uuid)

    @contextmanager
    def snapshot(self, instance: Instance) -> Iterator[DiskCopy]:
        """See ``Driver``. A container that runs stands still until its disk is copied."""
        uuid = instance.uuid
        with ExitStack() as opened, ExitStack() as still:
            power = domains.POWER.get(self._on(uuid, lambda domain: domain.state()[0]))
            copy = opened.enter_context(self._disks.room_for_copy(uuid))
            if power == PowerState.RUNNING:
                still.callback(self.unpause, uuid)
                self.pause(uuid)
            self._disks.copy(uuid, copy)
            still.close()
            yield DiskCopy(opened.enter_context(copy.open("rb")), "qcow2")

    def diagnostics(self, uuid: InstanceUuid) -> Diagnostics:
        """See ``Driver``."""
        return self._on(uuid, lambda domain: self._measured(domain, uuid))

    def samples(self) -> Mapping[InstanceUuid, Diagnostics]:
        """See ``Driver``. One by one: libvirt has no bulk call for containers. Whose terminal nobody reads,
        since this service or libvirt was away, is read again."""

        def measure(connection: Any) -> dict[InstanceUuid, Diagnostics]:
            found = {}
            for domain in connection.listAllDomains():
                uuid = uuid_of_domain(domain.name())
                if uuid is not None:
                    try:
                        found[uuid] = self._measured(domain, uuid)
                        self._terminals.follow(connection, domain, uuid)
                    except libvirt.libvirtError:
                        # It may have ended in between; or libvirt has, which this says.
                        connection.getVersion()
            return found

        return self._libvirt.use(measure)

    def _measured(self, domain: Any, uuid: InstanceUuid) -> Diagnostics:
        return measured(domain, self._disk_figures(uuid))

    def _disk_figures(self, uuid: InstanceUuid) -> DiskFigures:
        try:
            stat = self._disks.disk(uuid).stat()
        except FileNotFoundError:
            return DiskFigures(name="/", role=DiskRole.SYSTEM)
        return DiskFigures(
            name="/",
            role=DiskRole.SYSTEM,
            capacity=stat.st_size,
            allocation=stat.st_blocks * _SECTOR,
        )

    def close(self) -> None:
        """See ``Driver``."""
        self._terminals.close()
        super().close()

    # ---- what they do not

    def _refuse(self, uuid: InstanceUuid, what: str) -> NoReturn:
        """Raise ``NotSupported``; ``NotFound`` first where there is no such guest."""
        self._on(uuid, lambda domain: None)
        raise NotSupported(f"Containers cannot {what}.")

    def suspend(self, uuid: InstanceUuid) -> None:
        """See ``Driver``. Refused."""
        self._refuse(uuid, "be suspended")

    def resume(self, uuid: InstanceUuid) -> None:
        """See ``Driver``. Refused."""
        self._refuse(uuid, "be suspended")

    def rescue(self, instance: Instance, image: Image) -> None:
        """See ``Driver``. Refused."""
        self._refuse(instance.uuid, "be rescued")

    def unrescue(self, instance: Instance) -> None:
        """See ``Driver``. Refused."""
        self._refuse(instance.uuid, "be rescued")

    def set_password(self, instance: Instance, password: str) -> None:
        """See ``Driver``. Refused."""
        self._refuse(instance.uuid, "be given a password")

    def crash_dump(self, uuid: InstanceUuid) -> None:
        """See ``Driver``. Refused."""
        self._refuse(uuid, "be interrupted")

    def console(self, uuid: InstanceUuid, kind: str) -> ConsoleAddress:
        """See ``Driver``. There is the log alone."""
        self._on(uuid, lambda domain: None)
        raise Invalid(f"Unavailable console type {kind}.")

    def attach_volume(self, instance: Instance, volume: Volume) -> None:
        """See ``Attaching``. Refused."""
        self._refuse(instance.uuid, "have volumes")

    def give_shares(self, instance: Instance) -> None:
        """See ``Sharing``. Refused."""
        self._refuse(instance.uuid, "have shares")

    def prepare_move(self, instance: Instance, migration: Migration) -> Berth | None:
        """See ``Moving``. Only what stays is not refused."""
        if not migration.stays:
            raise NotSupported("Containers cannot move to another host.")
        return super().prepare_move(instance, migration)

    def receive(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        super().receive(instance, migration, power_on=power_on, until=until)
        self._follow(instance.uuid)

    def restore(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        super().restore(instance, migration, power_on=power_on, until=until)
        self._follow(instance.uuid)

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> Progress:
        """See ``Moving``. Refused."""
        raise NotSupported("Containers cannot move to another host.")


def _ask_to_end(domain: Any) -> None:
    """Ask a container's first program to end: by the pipe of System V's init, and by a signal (TERM).

    libvirt does not tell whether there is such a pipe.
    """
    with contextlib.suppress(libvirt.libvirtError):
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_INITCTL)
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_SIGNAL)


def measured(domain: Any, disk: DiskFigures) -> Diagnostics:
    """Return what libvirt says of a container, and what is known of its disk."""
    state, memory, used, _, _ = domain.info()
    power = domains.POWER.get(state, PowerState.NOSTATE)
    maximum, resident = memory >> 10, used >> 10
    told = Diagnostics(
        state=power.name.lower(),
        driver="libvirt",
        hypervisor="lxc",
        memory_maximum=maximum,
        disks=(disk,),
    )
    if power not in (PowerState.RUNNING, PowerState.PAUSED):
        return told
    total, user, system = (domain.getCPUStats(True)[0].get(name) for name in _NANOSECONDS)
    return msgspec.structs.replace(
        told,
        cpu_time=None if total is None else CpuTimes(total=total, user=user, system=system),
        memory_used=resident,
        memory_resident=resident,
        memory_in_guest=resident,
        nics=tuple(_nics(domain)),
    )


def _nics(domain: Any) -> Iterator[NicFigures]:
    # libvirt wrote it, out of what is escaped.
    for target in ET.fromstring(domain.XMLDesc()).iterfind("devices/interface/target"):  # noqa: S314
        name = target.get("dev", "")
        rx_octets, rx_packets, rx_errors, rx_drop, *tx = domain.interfaceStats(name)
        yield NicFigures(
            name=name,
            rx_octets=rx_octets,
            rx_packets=rx_packets,
            rx_errors=rx_errors,
            rx_drop=rx_drop,
            tx_octets=tx[0],
            tx_packets=tx[1],
            tx_errors=tx[2],
            tx_drop=tx[3],
        )
