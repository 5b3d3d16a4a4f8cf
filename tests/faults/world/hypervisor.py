"""The hypervisors of a world: fake ones that outlive their hosts' services, and lose their power."""

import random
from collections.abc import Callable
from typing import Protocol

from oslo_config import cfg

from kilonova.compute.fake import FakeDriver
from kilonova.compute.moving import Until
from kilonova.compute.script import Script, Step
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration
from kilonova.core.states import PowerState


class Watching(Protocol):
    """Who judges what becomes of guests, and lets services die on the way."""

    conf: cfg.ConfigOpts

    def crash(self, where: str) -> None:
        """Kill whoever is at a point where it may die, if chance wants it."""

    def judge_spawn(self, host: str, instance: Instance) -> None:
        """Note what is wrong about a guest that has just been built."""

    def judge_guest(self, instance: Instance) -> None:
        """Note if a guest that has just come to run is not the only one."""


class Hypervisor(FakeDriver):
    """A fake hypervisor that outlives its host's service, and notes whatever should never be."""

    def __init__(self, world: Watching, host: HostName, script: Script) -> None:
        super().__init__(world.conf, host, script)
        self._world = world

    def spawn(self, instance: Instance, until: Callable[[], None] | None = None) -> None:
        """See ``Driver``."""
        self._world.crash("before a spawn")
        super().spawn(instance, until)
        self._world.judge_spawn(self._host, instance)
        self._world.crash("after a spawn")

    def running(self, name: str) -> set[InstanceUuid]:
        """Return the servers of that name whose guests run."""
        guests = (one for one in self._guests.values() if one.power == PowerState.RUNNING)
        return {one.instance.uuid for one in guests if one.instance.name == name}

    def power_off(self) -> None:
        """End every guest, without a word to anybody."""
        for guest in self._guests.values():
            guest.power = PowerState.SHUTDOWN

    def arrive(self, instance: Instance, migration: Migration) -> None:
        """See ``MovingDriver``."""
        super().arrive(instance, migration)
        self._world.judge_guest(instance)
        self._world.crash("after a guest has arrived")

    def send(self, instance: Instance, migration: Migration) -> None:
        """See ``MovingDriver``."""
        self._world.crash("before a guest is sent")
        super().send(instance, migration)

    def receive(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``MovingDriver``."""
        self._world.crash("before a guest is received")
        super().receive(instance, migration, power_on=power_on, until=until)
        self._world.judge_guest(instance)
        self._world.crash("after a guest is received")

    def restore(
        self, instance: Instance, migration: Migration, *, power_on: bool, until: Until = None
    ) -> None:
        """See ``MovingDriver``."""
        self._world.crash("before a guest is restored")
        super().restore(instance, migration, power_on=power_on, until=until)
        self._world.judge_guest(instance)

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        super().start(uuid)
        self._world.judge_guest(self._guest(uuid).instance)
        self._world.crash("after a start")

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._world.crash("before a destroy")
        super().destroy(uuid)
        self._world.crash("after a destroy")


def mishaps(chance: random.Random) -> list[Step]:
    """Return what goes wrong on hosts by itself."""
    return [
        Step(step="spawn", times=chance.randint(0, 2), seconds=1.0, error="out of luck"),
        Step(step="disks", times=chance.randint(0, 1), error="no disk", unavailable=True),
        Step(step="spawn", times=chance.randint(0, 2), seconds=chance.uniform(1, 60)),
        Step(step="destroy", times=chance.randint(0, 4), error="busy", unavailable=True),
        Step(step="power-off", times=chance.randint(0, 2), seconds=chance.uniform(1, 30)),
    ]
