"""CPU time of a deployment's processes, from /proc: it holds on machines where wall-clock time does not."""

import os
from collections import defaultdict
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


def cpu_seconds() -> dict[str, float]:
    """Return the CPU seconds that each kind of process has used so far, the ended children's included."""
    used: defaultdict[str, float] = defaultdict(float)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = next((shown for part, shown in _NAMES if part in command), None)
        if name is not None and "bench" not in command:
            used[name] += (int(fields[11]) + int(fields[12])) / _TICKS
    return dict(used)
