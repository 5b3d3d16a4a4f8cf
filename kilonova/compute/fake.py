"""A hypervisor that only pretends: for trying kilonova at any size, and for tests of what goes wrong.

Its script (see doc/fake-driver.md) says which steps are slow or fail.
"""

import threading
import time
import uuid as uuids
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from oslo_config import cfg

from kilonova.compute.driver import Changed
from kilonova.compute.inventory import Capacity, inventory
from kilonova.compute.machine import booted_at
from kilonova.core import flavor
from kilonova.core.errors import BuildAborted, BuildFailed, Invalid, NotFound
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid, NodeName, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState

_NAMESPACE = uuids.UUID("5a0c2f6e-37b3-5d0b-9d5c-0f2f7c8b6a11")


class Step(msgspec.Struct, kw_only=True):
    """One line of a script: what happens to servers named so, at one step, the first ``times`` times.

    ``step`` is networks, disks, spawn, stop, start, reboot or destroy; ``server`` a part of the name;
    ``host`` the host's name, or empty for every host; ``seconds`` a delay; ``error`` what it fails with;
    ``abort`` that no other host should try.
    """

    step: str
    server: str = ""
    host: str = ""
    times: int = 1_000_000_000
    seconds: float = 0.0
    error: str = ""
    abort: bool = False


def read_script(path: str | None) -> list[Step]:
    """Return the steps of a script file, none without one.

    Raises:
        Invalid: the file cannot be read, or is not a list of steps.
    """
    if not path:
        return []
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=list[Step])
    except (OSError, msgspec.DecodeError) as error:
        raise Invalid(f"[fake] script: {path}: {error}") from error


class _Guest:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.power = PowerState.RUNNING
        self.console = [
            f"fake guest {instance.name} {instance.uuid}",
            f"BOOT-OK {instance.hostname}",
        ]


class FakeDriver:
    """One host of the fake kind."""

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, script: Sequence[Step] = ()) -> None:
        self._host = host
        self._spawn_seconds = conf.fake.spawn_seconds
        self._script = list(script)
        self._capacity = Capacity(
            vcpus=conf.fake.vcpus, memory_mb=conf.fake.memory_mb, disk_gb=conf.fake.disk_gb
        )
        self._inventory = inventory(conf, self._capacity)
        self._lock = threading.Lock()
        self._guests: dict[InstanceUuid, _Guest] = {}

    def nodes(self) -> tuple[NodeReport, ...]:
        """One node, named as its host."""
        used = {"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
        with self._lock:
            for guest in self._guests.values():
                for name, amount in flavor.resources(guest.instance.flavor).items():
                    used[name] += amount
            running = len(self._guests)
        report = NodeReport(
            node=NodeName(self._host),
            provider_uuid=ProviderUuid(str(uuids.uuid5(_NAMESPACE, self._host))),
            hypervisor_type="fake",
            hypervisor_version=1,
            host_ip="127.0.0.1",
            vcpus=self._capacity.vcpus,
            memory_mb=self._capacity.memory_mb,
            disk_gb=self._capacity.disk_gb,
            vcpus_used=used["VCPU"],
            memory_mb_used=used["MEMORY_MB"],
            disk_gb_used=used["DISK_GB"],
            running_vms=running,
            inventory=self._inventory,
            traits=("COMPUTE_NODE",),
            capabilities={"hypervisor_type": "fake", "cpu_arch": "x86_64"},
            supported=(("x86_64", "fake", "hvm"),),
            booted_at=booted_at(),
        )
        return (report,)

    def prepare_networks(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._play("networks", instance)

    def prepare_disks(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._play("disks", instance)

    def spawn(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._play("spawn", instance)
        if self._spawn_seconds:
            time.sleep(self._spawn_seconds)
        with self._lock:
            self._guests[instance.uuid] = _Guest(instance)

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        with self._lock:
            guest = self._guests.get(uuid)
        if guest is not None:
            self._play("destroy", guest.instance)
        with self._lock:
            self._guests.pop(uuid, None)

    def stop(self, uuid: InstanceUuid, clean_seconds: float) -> None:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._play("stop", guest.instance)
        guest.power = PowerState.SHUTDOWN

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        guest = self._guest(uuid)
        self._play("start", guest.instance)
        guest.power = PowerState.RUNNING

    def reboot(self, instance: Instance, *, hard: bool) -> None:
        """See ``Driver``."""
        guest = self._guest(instance.uuid)
        self._play("reboot", instance)
        guest.power = PowerState.RUNNING
        guest.console.append(
            f"BOOT-OK {instance.hostname} after a {'hard' if hard else 'soft'} reboot"
        )

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """See ``Driver``."""
        console = self._guest(uuid).console
        chosen = console if lines is None else console[max(0, len(console) - lines) :]
        return "".join(f"{line}\n" for line in chosen)

    def guests(self) -> Mapping[InstanceUuid, PowerState]:
        """See ``Driver``."""
        with self._lock:
            return {uuid: guest.power for uuid, guest in self._guests.items()}

    def watch(self, changed: Changed) -> None:
        """Fake guests never change by themselves."""

    def close(self) -> None:
        """Nothing is open."""

    def _guest(self, uuid: InstanceUuid) -> _Guest:
        with self._lock:
            guest = self._guests.get(uuid)
        if guest is None:
            raise NotFound(f"There is no guest {uuid} on {self._host}.")
        return guest

    def _play(self, name: str, instance: Instance) -> None:
        for step in self._script:
            if step.step != name or step.server not in instance.name:
                continue
            if step.host not in ("", self._host):
                continue
            with self._lock:
                if step.times <= 0:
                    continue
                step.times -= 1
            time.sleep(step.seconds)
            if step.error:
                raise (BuildAborted if step.abort else BuildFailed)(step.error)
