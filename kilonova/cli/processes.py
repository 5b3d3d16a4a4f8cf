"""CPU time of a deployment's processes, from /proc: it holds on machines where wall-clock time does not."""

import os
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

_NAMES = (
    ("kilonova-api", "api"),
    ("kilonova-placement", "placement"),
    ("kilonova-conductor", "conductor"),
    ("kilonova-scheduler", "scheduler"),
    ("kilonova-compute", "compute"),
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
    """CPU seconds by process at one moment. ``only`` leaves out command lines that contain none of it."""

    def __init__(self, only: Collection[str] = ()) -> None:
        self._by_pid: dict[str, tuple[str, float]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (found := _read(entry, only)):
                self._by_pid[entry.name] = found

    def since(self, before: "Usage") -> dict[str, float]:
        """Return what each kind of process used since ``before``; what came or went between is left out."""
        spent: defaultdict[str, float] = defaultdict(float)
        for pid, (name, seconds) in self._by_pid.items():
            if pid in before._by_pid:
                spent[name] += seconds - before._by_pid[pid][1]
        return dict(spent)


def _read(entry: Path, only: Collection[str]) -> tuple[str, float] | None:
    try:
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    name = next((shown for part, shown in _NAMES if part in command), None)
    if name is None or " bench " in command or (only and not any(x in command for x in only)):
        return None
    return name, (int(fields[11]) + int(fields[12])) / _TICKS
