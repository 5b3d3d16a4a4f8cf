"""A hypervisor that only pretends: for trying kilonova at any size, and for tests of what goes wrong.

Its script (see doc/fake-driver.md) says which steps are slow or fail. Its guests live in this process, and
end with it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from io import BytesIO

from oslo_config import cfg

from kilonova.compute.addresses import AddressBook, range_of
from kilonova.compute.driver import DiskCopy, Guest, Watcher
from kilonova.compute.fake_guests import FakeGuest, FakeMoves
from kilonova.compute.fake_shares import FakeShares
from kilonova.compute.fake_volumes import FakeVolumes
from kilonova.compute.inventory import (
    Capacity,
    count_properties,
    inventory,
    provider_uuid,
    set_apart,
)
from kilonova.compute.machine import booted_at
from kilonova.compute.script import FakeHosts, Script, StepName
from kilonova.core.console import ConsoleAddress
from kilonova.core.devices import held_by, numa_left, pci_left
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.errors import BuildFailed, NotFound, WrongState
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid, NodeName
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.share import MEMORY_FILE, VIRTIO_FS
from kilonova.core.states import PowerState
from kilonova.core.tagged_devices import SERIAL, Placed

_PORTS = {
    "novnc": 5900,
    "xvpvnc": 5901,
    "spice-html5": 5902,
    "spice-direct": 5903,
    "serial": 10000,
    "webmks": 5904,
}


_USUAL = FakeHosts()


class FakeDriver(FakeMoves, FakeVolumes, FakeShares):
    """One host of the fake kind. Hosts share the script, which counts what it played, and nothing else."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        host: HostName,
        script: Script,
        plays: FakeHosts = _USUAL,
    ) -> None:
        self._host = host
        self._spawn_seconds = plays.spawn_seconds
        self._script = script
        self._parts = script.parts(host)
        self._capacity = Capacity(
            vcpus=plays.vcpus,
            memory_mb=self._parts.memory_mb or plays.memory_mb,
            disk_gb=plays.disk_gb,
            pcpus=len(set_apart(conf, plays.vcpus)),
        )
        self._inventory = inventory(conf, self._capacity)
        self._lock = threading.Lock()
        self._guests: dict[InstanceUuid, FakeGuest] = {}
        self._used = {"VCPU": 0, "PCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
        self._here: set[str] = set()
        self._mounts: dict[str, str] = {}
        self._watcher: Watcher | None = None
        self._booted_at = booted_at()
        plugs = conf.network.provider == "libvirt"
        self._book = AddressBook(range_of(conf.network.fixed_range)) if plugs else None
        self._ports: dict[InstanceUuid, tuple[Nic, ...]] | None = (
            {} if conf.network.provider == "neutron" else None
        )
        """The ports that guests are plugged into, if there is a network service."""

    def nodes(self) -> tuple[NodeReport, ...]:
        """One node, named as its host."""
        self._script.play("nodes", self._host)
        node, parts = NodeName(self._host), self._parts
        with self._lock:
            used = dict(self._used)
            servers = [guest.instance for guest in self._guests.values()]
            running = sum(guest.power == PowerState.RUNNING for guest in self._guests.values())
        report = NodeReport(
            node=node,
            provider_uuid=provider_uuid(self._host, node),
            hypervisor_type="fake",
            hypervisor_version=parts.hypervisor_version,
            host_ip=parts.host_ip,
            vcpus=self._capacity.vcpus,
            memory_mb=self._capacity.memory_mb,
            disk_gb=self._capacity.disk_gb,
            vcpus_used=used["VCPU"] + used["PCPU"],
            memory_mb_used=used["MEMORY_MB"],
            disk_gb_used=used["DISK_GB"],
            running_vms=running,
            servers=len(servers),
            image_properties=count_properties(server.image for server in servers),
            metrics=parts.metrics,
            pci=reduce(pci_left, servers, parts.pci),
            numa=reduce(numa_left, servers, parts.numa),
            inventory=self._inventory,
            traits=("COMPUTE_NODE", MEMORY_FILE, VIRTIO_FS, *parts.traits),
            capabilities={"hypervisor_type": "fake", "cpu_arch": "x86_64"} | parts.capabilities,
            supported=parts.supported or (("x86_64", "fake", "hvm"),),
            booted_at=self._booted_at,
        )
        return (report,)

    def prepare_networks(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Driver``. A fake card is an address in a book."""
        self._script.play("networks", self._host, instance.name)
        if self._ports is not None:
            self._ports[instance.uuid] = instance.nics
            return instance.nics
        if self._book is None or instance.wishes.networks == "none":
            return ()
        return (self._book.take(instance.uuid, instance.nics),)

    def prepare_disks(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._script.play("disks", self._host, instance.name)

    def attach_interface(self, instance: Instance, nic: Nic) -> None:
        """See ``Driver``."""
        self._guest(instance.uuid)
        self._script.play("attach-interface", self._host, instance.name)
        if self._ports is not None:
            others = [one for one in self._cards(instance.uuid) if one.port_id != nic.port_id]
            self._ports[instance.uuid] = (*others, nic)

    def detach_interface(self, uuid: InstanceUuid, port_id: str) -> None:
        """See ``Driver``."""
        self._script.play("detach-interface", self._host, self._guest(uuid).instance.name)
        if self._ports is not None:
            left = (one for one in self._cards(uuid) if one.port_id != port_id)
            self._ports[uuid] = tuple(left)

    def spawn(self, instance: Instance, until: Callable[[], None] | None = None) -> None:
        """See ``Driver``."""
        self._script.play("spawn", self._host, instance.name)
        if self._spawn_seconds:
            time.sleep(self._spawn_seconds)
        with self._lock:
            if instance.uuid in self._guests:
                raise BuildFailed(f"There is a guest {instance.uuid} already.")
            guest = self._guests[instance.uuid] = FakeGuest(instance)
            self._count(instance, 1)
        if until is not None:
            guest.power = PowerState.PAUSED
            until()
            guest.power = PowerState.RUNNING
        self._power_off_later(instance)

    def _power_off_later(self, instance: Instance) -> None:
        """Let the guest end by itself, if the script says so."""
        for step in self._script.take("power-off", self._host, instance.name):
            timer = threading.Timer(step.seconds, self._power_off, (instance.uuid,))
            timer.daemon = True
            timer.start()

    def _power_off(self, uuid: InstanceUuid) -> None:
        guest = self._guests.get(uuid)
        if guest is not None:
            guest.power = PowerState.SHUTDOWN
            self._tell(uuid, guest.power)

    def _tell(self, uuid: InstanceUuid, power: PowerState) -> None:
        if self._watcher is not None:
            self._watcher.power_changed(uuid, power)

    def _count(self, instance: Instance, sign: int) -> None:
        for name, amount in held_by(instance).items():
            self._used[name] += sign * amount

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        guest = self._guests.get(uuid)
        if guest is None:
            self._unplug(uuid)
            return
        self._script.play("destroy", self._host, guest.instance.name)
        with self._lock:
            if self._guests.pop(uuid, None) is not None:
                self._count(guest.instance, -1)
        self._unplug(uuid)
        self._tell(uuid, PowerState.SHUTDOWN)

    def _cards(self, uuid: InstanceUuid) -> tuple[Nic, ...]:
        if self._ports is not None:
            return self._ports.get(uuid, ())
        return self._book.cards(uuid) if self._book else ()

    def _unplug(self, uuid: InstanceUuid) -> None:
        if self._book is not None:
            self._book.give_back(uuid)
        if self._ports is not None:
            self._ports.pop(uuid, None)

    def stop(self, uuid: InstanceUuid, clean_seconds: float, hurry: Callable[[], bool]) -> None:
        """See ``Driver``. A fake guest obeys at once."""
        guest = self._guest(uuid)
        self._script.play("stop", self._host, guest.instance.name)
        guest.power = PowerState.SHUTDOWN
        self._tell(uuid, guest.power)

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._script.play("start", self._host, guest.instance.name)
        if guest.power != PowerState.RUNNING:
            guest.start()
            self._tell(uuid, guest.power)

    def reboot(self, instance: Instance) -> None:
        """See ``Driver``."""
        guest = self._guest(instance.uuid)
        self._script.play("reboot", self._host, instance.name)
        guest.shares = instance.shares
        guest.start(" after a hard reboot")
        self._tell(instance.uuid, guest.power)

    def pause(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._become(uuid, "pause", PowerState.PAUSED)

    def unpause(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._become(uuid, "unpause", PowerState.RUNNING)

    def suspend(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._become(uuid, "suspend", PowerState.SUSPENDED)

    def resume(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._become(uuid, "resume", PowerState.RUNNING)

    def fetch_image(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._script.play("image", self._host, instance.name)

    def cache_image(self, image: Image) -> None:
        """See ``Driver``."""
        self._script.play("cache-image", self._host, image.image_id)

    def rescue(self, instance: Instance, image: Image) -> None:
        """See ``Driver``."""
        guest = self._guest(instance.uuid)
        self._script.play("rescue", self._host, instance.name)
        guest.start(f" in rescue from {image.image_id}")
        self._tell(instance.uuid, guest.power)

    def unrescue(self, instance: Instance) -> None:
        """See ``Driver``."""
        guest = self._guest(instance.uuid)
        self._script.play("unrescue", self._host, instance.name)
        guest.start(" after a rescue")
        self._tell(instance.uuid, guest.power)

    @contextmanager
    def snapshot(self, instance: Instance) -> Iterator[DiskCopy]:
        """See ``Driver``. The disk of a fake guest is what its console said."""
        guest = self._guest(instance.uuid)
        self._script.play("snapshot", self._host, instance.name)
        yield DiskCopy(BytesIO("\n".join(guest.console).encode()), "raw")

    def set_password(self, instance: Instance, password: str) -> None:
        """See ``Driver``."""
        guest = self._guest(instance.uuid)
        self._script.play("password", self._host, instance.name)
        guest.console.append("the password was set")

    def crash_dump(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._script.play("crash-dump", self._host, guest.instance.name)
        guest.console.append("NMI: dumping memory")

    def diagnostics(self, uuid: InstanceUuid) -> Diagnostics:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._script.play("diagnostics", self._host, guest.instance.name)
        return self._measured(guest)

    def samples(self) -> Mapping[InstanceUuid, Diagnostics]:
        """See ``Driver``."""
        self._script.play("samples", self._host)
        with self._lock:
            guests = dict(self._guests)
        return {uuid: self._measured(guest) for uuid, guest in guests.items()}

    def _measured(self, guest: FakeGuest) -> Diagnostics:
        return guest.measured(self._script.uses(self._host, guest.instance.name))

    def console(self, uuid: InstanceUuid, kind: str) -> ConsoleAddress:
        """See ``Driver``. Nobody listens at the ports of a fake guest."""
        guest = self._guest(uuid)
        self._script.play("console", self._host, guest.instance.name)
        if guest.power != PowerState.RUNNING:
            raise WrongState(f"Instance {uuid} does not run, so it has no console.")
        path = str(uuid) if kind == "webmks" else None
        return ConsoleAddress(host="127.0.0.1", port=_PORTS[kind], path=path)

    def _become(self, uuid: InstanceUuid, step: StepName, power: PowerState) -> None:
        guest = self._guest(uuid)
        self._script.play(step, self._host, guest.instance.name)
        if guest.power != power:
            guest.power = power
            self._tell(uuid, power)

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._script.play("console", self._host, guest.instance.name)
        chosen = guest.console
        if lines is not None:
            chosen = chosen[max(0, len(chosen) - lines) :]
        return "".join(f"{line}\n" for line in chosen)

    def devices(self, uuid: InstanceUuid) -> tuple[Placed, ...]:
        """See ``Driver``. They are in a row."""
        cards = [nic.mac.lower() for nic in self._cards(uuid)]
        disks = [key[:SERIAL] for key in (uuid, *self._guest(uuid).volumes)]
        return tuple(
            Placed(key=key, bus="pci", address=f"0000:00:{slot:02x}.0")
            for slot, key in enumerate(cards + disks, 2)
        )

    def guests(self) -> Mapping[InstanceUuid, Guest]:
        """See ``Driver``."""
        self._script.play("guests", self._host)
        with self._lock:
            return {
                uuid: Guest(guest.power, guest.instance.epoch, self._cards(uuid))
                for uuid, guest in self._guests.items()
            }

    def watch(self, watcher: Watcher) -> None:
        """See ``Driver``."""
        self._watcher = watcher

    def close(self) -> None:
        """Nothing is open."""
        self._watcher = None

    def _guest(self, uuid: InstanceUuid) -> FakeGuest:
        guest = self._guests.get(uuid)
        if guest is None:
            raise NotFound(f"There is no guest {uuid} on this host.")
        return guest
