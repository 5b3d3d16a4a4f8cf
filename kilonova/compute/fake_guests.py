"""Fake guests, and what becomes of them when their servers move."""

import threading
import time
from abc import ABC, abstractmethod

from kilonova.compute.moving import Voyage
from kilonova.compute.script import Script, error_of
from kilonova.core.errors import MoveCancelled
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration, Progress
from kilonova.core.states import PowerState, VmState


class FakeGuest:
    """A guest and its console."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.power = PowerState.RUNNING
        self.console = [f"fake guest {instance.name} {instance.uuid}", self._up("")]

    def _up(self, how: str) -> str:
        return f"BOOT-OK {self.instance.hostname}{how}"

    def start(self, how: str = "") -> None:
        self.power = PowerState.RUNNING
        self.console.append(self._up(how))


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

    def prepare_move(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``."""
        self._script.play("prepare-move", self._host, instance.name)

    def send(self, instance: Instance, migration: Migration) -> None:
        """See ``Moving``. What a fake guest consists of needs no sending."""
        self._guest(instance.uuid)
        self._script.play("send", self._host, instance.name)

    def receive(self, instance: Instance, migration: Migration, *, power_on: bool) -> None:
        """See ``Moving``."""
        self._script.play("receive", self._host, instance.name)
        self._become_guest_of(instance, " after a move", power_on=power_on)

    def restore(self, instance: Instance, migration: Migration, *, power_on: bool) -> None:
        """See ``Moving``."""
        self._guest(instance.uuid)
        self._script.play("restore", self._host, instance.name)
        self._become_guest_of(instance, " where it was", power_on=power_on)

    def _become_guest_of(self, instance: Instance, how: str, *, power_on: bool) -> None:
        """Have the guest of a server in its present size and epoch."""
        with self._lock:
            before = self._guests.get(instance.uuid)
            runs = before is not None and before.power == PowerState.RUNNING
            if before is not None:
                self._count(before.instance, -1)
            guest = before or FakeGuest(instance)
            guest.instance = instance
            self._guests[instance.uuid] = guest
            self._count(instance, 1)
        if power_on and not runs:
            guest.start(how)
        elif not power_on:
            guest.power = PowerState.SHUTDOWN
        self._tell(instance.uuid, guest.power)

    def forget(self, uuid: InstanceUuid) -> None:
        """See ``Moving``. Nothing is kept."""
        guest = self._guests.get(uuid)
        if guest is not None:
            self._script.play("forget", self._host, guest.instance.name)

    def live_migrate(self, instance: Instance, migration: Migration, voyage: Voyage) -> None:
        """See ``Moving``. It takes as long as the script says, or until it is forced."""
        if instance.uuid not in self._guests:
            return
        for step in self._script.take("live-migrate", self._host, instance.name):
            _sail(instance, step.seconds, voyage)
            if step.error:
                raise error_of(step)
        with self._lock:
            if self._guests.pop(instance.uuid, None) is not None:
                self._count(instance, -1)

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
