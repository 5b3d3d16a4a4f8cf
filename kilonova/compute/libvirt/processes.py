"""For how long guests have run: as long as their QEMU's processes, whoever looked since."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from kilonova.core.ids import InstanceUuid

_PROCESSES = Path("/proc")
_GUEST = re.compile(rb"\0-name\0guest=([^,\0]+)")
_STARTED = 19
"""Which word behind the name of a process says when it started, in ticks after the machine."""
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def guest_of(command: bytes) -> str | None:
    """Return whose guest's process this is, of what stands in its ``cmdline``. Pure."""
    found = _GUEST.search(command)
    return found[1].decode(errors="replace") if found and b"qemu" in command[:64] else None


def started_at(stat: str) -> float:
    """Return how many seconds after the machine a process started, of what stands in its ``stat``. Pure."""
    return int(stat.rpartition(")")[2].split()[_STARTED]) * _TICK


class Uptimes:
    """When the guests of a host were started: each is looked for once in its life."""

    def __init__(self) -> None:
        self._known: dict[InstanceUuid, tuple[int, float | None]] = {}

    def of(self, running: Mapping[InstanceUuid, tuple[int, str]]) -> dict[InstanceUuid, int]:
        """Return for how many whole seconds guests have run, of which libvirt's number and name are given;
        those are left out of which the machine shows no process."""
        known = self._known
        new = [name for uuid, (n, name) in running.items() if known.get(uuid, (None,))[0] != n]
        found = _started(new) if new else {}
        self._known = {
            uuid: (n, found.get(name)) if name in new else known[uuid]
            for uuid, (n, name) in running.items()
        }
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return {
            uuid: max(0, int(now - began))
            for uuid, (_, began) in self._known.items()
            if began is not None
        }


def _started(names: Iterable[str]) -> dict[str, float]:
    """Return when the processes of guests started; the last of those that are called alike."""
    wanted, found = frozenset(names), dict[str, float]()
    for process in _PROCESSES.glob("[0-9]*"):
        try:
            guest = guest_of((process / "cmdline").read_bytes())
            if guest in wanted and guest is not None:
                began = started_at((process / "stat").read_text())
                found[guest] = max(began, found.get(guest, began))
        except (OSError, ValueError, IndexError):
            # It has ended.
            continue
    return found
