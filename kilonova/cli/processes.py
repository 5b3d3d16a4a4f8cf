"""CPU time of a deployment's processes, from /proc: it holds on machines where wall-clock time does not."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")

_NAMES = (
    ("kilonova-api", "api"),
    ("kilonova-placement", "placement"),
    ("kilonova.cli.placement", "placement"),
    ("kilonova-conductor", "conductor"),
    ("kilonova-scheduler", "scheduler"),
    ("kilonova-compute", "compute"),
    ("kilonova-consoleproxy", "consoles"),
    ("kilonova up", "kilonova up"),
    ("nova-api", "nova-api"),
    ("nova-conductor", "nova-conductor"),
    ("nova-scheduler", "nova-scheduler"),
    ("nova-compute", "nova-compute"),
    ("placement-api", "nova-placement"),
    ("mariadbd", "mariadb"),
    ("mysqld", "mariadb"),
    ("postgres", "postgresql"),
    ("beam.smp", "rabbitmq"),
)
"""What stands in a command line -> what the process is shown as."""


class Usage:
    """CPU seconds by process at one moment.

    ``only`` leaves out processes unless one of its texts stands in their command line or in an ancestor's:
    some servers change the titles of their workers.
    """

    def __init__(self, only: Collection[str] = ()) -> None:
        found = [_read(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        processes = {process.pid: process for process in found if process}
        self._by_pid = {
            process.pid: (name, process.seconds)
            for process in processes.values()
            if (name := _shown(process)) and (not only or _belongs(process, processes, only))
        }

    def since(self, before: "Usage") -> dict[str, float]:
        """Return what each kind of process used since ``before``; what ended meanwhile is left out."""
        spent: defaultdict[str, float] = defaultdict(float)
        for pid, (name, seconds) in self._by_pid.items():
            spent[name] += seconds - before._by_pid.get(pid, (name, 0.0))[1]
        return dict(spent)


class _Process(NamedTuple):
    pid: int
    parent: int
    command: str
    seconds: float


def _read(entry: Path) -> _Process | None:
    try:
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    seconds = (int(fields[11]) + int(fields[12])) / _TICKS
    return _Process(int(entry.name), int(fields[1]), command, seconds)


def _shown(process: _Process) -> str | None:
    if " bench " in process.command:
        return None
    return next((shown for part, shown in _NAMES if part in process.command), None)


def _belongs(process: _Process, all_: Mapping[int, _Process], only: Collection[str]) -> bool:
    at: _Process | None = process
    while at is not None:
        if any(text in at.command for text in only):
            return True
        at = all_.get(at.parent)
    return False
