"""The script of fake hosts: how many there are, what each has, and which steps are slow or fail.

See doc/fake-driver.md.
"""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import msgspec.yaml

from kilonova.core.errors import (
    BuildAborted,
    BuildFailed,
    HypervisorUnavailable,
    Invalid,
    KilonovaError,
)
from kilonova.core.ids import HostName
from kilonova.core.scheduling import NumaCell, PciPool

StepName = Literal[
    "nodes", "networks", "disks", "spawn", "destroy", "stop", "start", "reboot", "pause", "unpause",
    "suspend", "resume", "image", "rescue", "unrescue", "snapshot", "password", "crash-dump", "diagnostics",
    "prepare-move", "send", "receive", "restore", "forget", "live-migrate", "arrive",
    "attach-interface", "detach-interface",
    "connect-volume", "disconnect-volume", "attach-volume", "detach-volume", "swap-volume", "extend-volume",
    "snapshot-volume", "mount-share", "unmount-share", "give-shares",
    "console", "cache-image", "guests", "samples", "power-off", "report", "uses",
]  # fmt: skip


class Parts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host has beyond CPUs, memory and disk; what is left out is as on every fake host."""

    numa: tuple[NumaCell, ...] = ()
    pci: tuple[PciPool, ...] = ()
    metrics: dict[str, float] = {}
    traits: tuple[str, ...] = ()
    capabilities: dict[str, str] = {}
    supported: tuple[tuple[str, str, str], ...] = ()
    hypervisor_version: int = 1
    host_ip: str = "127.0.0.1"
    memory_mb: int | None = None


Part = Annotated[float, msgspec.Meta(ge=0)]


class Uses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a guest takes of what it was given: parts of 1. Above 1 it is more than its allowance."""

    cpu: Part = 0.05
    memory: Part = 0.25
    disk: Part = 0.1


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens at one step: to servers whose name contains ``server``, on ``host`` (empty: on any).

    It happens the first ``times`` times (None: always), whichever hosts they are on. It takes ``seconds``
    and, with ``error``, fails with that message: ``abort`` says that no other host should try,
    ``unavailable`` that the hypervisor does not answer. ``report`` is what the step of that name tells of
    a host, ``uses`` what that of servers.
    """

    step: StepName
    server: str = ""
    host: str = ""
    times: int | None = None
    seconds: float = 0.0
    error: str = ""
    abort: bool = False
    unavailable: bool = False
    report: Parts = Parts()
    uses: Uses = Uses()


Count = Annotated[int, msgspec.Meta(ge=1)]


class FakeHosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process plays: hosts, all alike, on which a guest takes ``spawn_seconds`` to start."""

    hosts: Count = 1
    vcpus: Count = 64
    memory_mb: Count = 262144
    disk_gb: Count = 4096
    spawn_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    steps: tuple[Step, ...] = ()

    @classmethod
    def read(cls, path: str | None) -> "FakeHosts":
        """Return what a YAML file says, the defaults without a path.

        Raises:
            Invalid: the file cannot be read, or says something else.
        """
        if not path:
            return cls()
        try:
            said = msgspec.yaml.decode(Path(path).read_bytes())
            # Through JSON, so that the keys of a mapping may be numbers or numbers as text.
            return msgspec.json.decode(msgspec.json.encode(said), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise Invalid(f"[fake] script: {path}: {error}") from error


class Script:
    """Steps, and how often each was played. All hosts of a process share one."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self._steps = tuple(steps)
        self._played = [0] * len(self._steps)
        self._lock = threading.Lock()

    def parts(self, host: HostName) -> Parts:
        """Return what a host is said to have: by the first step that says so."""
        told = (s.report for s in self._steps if s.step == "report" and s.host in ("", host))
        return next(told, Parts())

    def uses(self, host: HostName, server: str) -> Uses:
        """Return what a server is said to use: by the first step that says so."""
        told = (
            s.uses
            for s in self._steps
            if s.step == "uses" and s.server in server and s.host in ("", host)
        )
        return next(told, Uses())

    def take(self, name: StepName, host: HostName, server: str = "") -> tuple[Step, ...]:
        """Return the steps that apply now, counting each as played."""
        if not self._steps:
            return ()
        taken = []
        with self._lock:
            for index, step in enumerate(self._steps):
                if step.step != name or step.server not in server or step.host not in ("", host):
                    continue
                if step.times is None or self._played[index] < step.times:
                    self._played[index] += 1
                    taken.append(step)
        return tuple(taken)

    def play(self, name: StepName, host: HostName, server: str = "") -> None:
        """Be as slow as the steps that apply say, and fail as the first of them that fails.

        Raises:
            BuildFailed, BuildAborted, HypervisorUnavailable: as the script says.
        """
        for step in self.take(name, host, server):
            time.sleep(step.seconds)
            if step.error:
                raise error_of(step)


def error_of(step: Step) -> KilonovaError:
    """Return what a step fails with."""
    if step.unavailable:
        return HypervisorUnavailable(step.error)
    return (BuildAborted if step.abort else BuildFailed)(step.error)
