"""Fake guests, and what becomes of them when their servers move."""

import threading
import time
from abc import ABC, abstractmethod

from kilonova.compute.moving import Until, Voyage
from kilonova.compute.script import Script, Uses, error_of
from kilonova.core.diagnostics import CpuTimes, Diagnostics, DiskFigures, DiskRole
from kilonova.core.errors import MoveCancelled
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Berth, Migration, Progress
from kilonova.core.states import PowerState, VmState


class FakeGuest:
    """A guest, its console, and what it takes of its host."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.power = PowerState.RUNNING
        has = instance.flavor
        self.console = [
            f"fake guest {instance.name} {instance.uuid}",
            f"{has.vcpus} VCPUs, {has.memory_mb} MiB",
            self._up(""),
        ]
        self._started = time.monotonic()
        self.volumes = {volume.volume_id: volume for volume in instance.volumes}
        self.shares = instance.shares

    def _up(self, how: str) -> str:
        return f"BOOT-OK {self.instance.hostname}{how}"

    def start(self, how: str = "") -> None:
        self.power = PowerState.RUNNING
        self.console.append(self._up(how))
        self._started = time.monotonic()

    def measured(self, uses: Uses) -> Diagnostics:
        """Return what a guest like this may have used by now.

        Clients know no fake hypervisor: it says that it is what it plays.
        """
        if self.power != PowerState.RUNNING:
            return Diagnostics(state=self.power.name.lower(), driver="libvirt", hypervisor="fake")
        has, up = self.instance.flavor, time.monotonic() - self._started
        each = int(up * uses.cpu * 1e9)
        total = each * has.vcpus
        moved, size = int(up * uses.disk * 1e6), has.root_gb << 30
        disk = DiskFigures(
            name="vda",
            read_bytes=moved,
            read_requests=moved >> 12,
            write_bytes=moved,
            write_requests=moved >> 12,
            errors_count=0,
            role=DiskRole.SYSTEM,
            capacity=size,
            allocation=int(size * uses.disk),
        )
        return Diagnostics(
            state="running",
            driver="libvirt",
            hypervisor="fake",
            uptime=int(up),
            cpu_times=(each,) * has.vcpus,
            cpu_time=CpuTimes(total=total, user=total * 3 // 4, system=total // 4, wait=0),
            memory_maximum=has.memory_mb,
            memory_used=has.memory_mb,
            memory_resident=int(has.memory_mb * uses.memory),
            load=(uses.cpu * has.vcpus,) * 3,
            disks=(disk,),
        )


class FakeMoves(ABC):
    """The part of a fake host that moves guests."""

    _host: HostName
    _script: Script
    _lock: threading.Lock
    _guests: dict[InstanceUuid, FakeGuest]

    @abstractmethod
    def _guest(self, uuid: InstanceUuid) -> FakeGuest: ...

    @abstractmethod
    def _count(self, instance: Instance, sign: int) -> None: ...

    @abstractmethod
    def _tell(self, uuid: InstanceUuid, power: PowerState) -> None: ...

    def prepare_move(self, instance: Instance, migration: Migration) -> Berth | None:
        """See ``Moving``. Nothing is sent, so there is no berth."""
        self._script.play("prepare-move", self._host, instance.name)
        return None

    def recover_disks(self, instance: Instance) -> None:
        """See ``Moving``."""
        self._script.play("disks", self._host, instance.name)

    def send(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``. What a fake guest consists of needs no sending."""
        self._guest(instance.uuid)
        self._script.play("send", self._host, instance.name)

    def receive(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        self._script.play("receive", self._host, instance.name)
        self._become_guest_of(instance, " after a move", power_on=power_on, until=until)

    def restore(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``Moving``."""
        self._guest(instance.uuid)
        self._script.play("restore", self._host, instance.name)
        self._become_guest_of(instance, " where it was", power_on=power_on, until=until)

    def _become_guest_of(
        self, instance: Instance, how: str, *, power_on: bool, until: Until
    ) -> None:
        """Have the guest of a server in its present size and epoch."""
        with self._lock:
            before = self._guests.get(instance.uuid)
            runs = before is not None and before.power == PowerState.RUNNING
            if before is not None:
                self._count(before.instance, -1)
            guest = before or FakeGuest(instance)
            guest.instance = instance
            guest.volumes = {volume.volume_id: volume for volume in instance.volumes}
            self._guests[instance.uuid] = guest
            self._count(instance, 1)
        if power_on and not runs:
            if until is not None:
                guest.power = PowerState.PAUSED
                until()
            guest.start(how)
        elif not power_on:
            guest.power = PowerState.SHUTDOWN
        self._tell(instance.uuid, guest.power)

    def forget(self, uuid: InstanceUuid) -> None:
        """See ``Moving``. Nothing is kept."""
        guest = self._guests.get(uuid)
        if guest is not None:
            self._script.play("forget", self._host, guest.instance.name)

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> Progress:
        """See ``Moving``. It takes as long as the script says, or until it is forced."""
        total = instance.flavor.memory_mb << 20
        moved = Progress(memory_total=total, memory_processed=total)
        if instance.uuid not in self._guests:
            return moved
        for step in self._script.take("live-migrate", self._host, instance.name):
            _sail(instance, step.seconds, voyage)
            if step.error:
                raise error_of(step)
        with self._lock:
            if self._guests.pop(instance.uuid, None) is not None:
                self._count(instance, -1)
        return moved

    def arrive(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``. The guest comes to be here, as the hosts of one process share nothing."""
        self._script.play("arrive", self._host, instance.name)
        with self._lock:
            if instance.uuid not in self._guests:
                guest = self._guests[instance.uuid] = FakeGuest(instance)
                if migration.vm_state == VmState.PAUSED:
                    guest.power = PowerState.PAUSED
                self._count(instance, 1)


def _sail(instance: Instance, seconds: float, voyage: Voyage) -> None:
    """Be on the way for so long, and tell how far.

    Raises:
        MoveCancelled: it was aborted.
    """
    total = instance.flavor.memory_mb << 20
    began = time.monotonic()
    while (gone := time.monotonic() - began) < seconds and not voyage.forced:
        if voyage.aborted:
            raise MoveCancelled("The migration was aborted.")
        done = int(total * gone / seconds)
        voyage.progress(
            Progress(memory_total=total, memory_processed=done, memory_remaining=total - done)
        )
        time.sleep(0.05)
