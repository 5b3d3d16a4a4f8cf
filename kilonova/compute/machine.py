"""What the machine says of itself, whatever hypervisor runs on it."""

from datetime import UTC, datetime
from pathlib import Path

_STEP = 0.05
"""Metrics are told in steps of this size: a report that changes with every breath would be sent and
stored each time."""


def booted_at() -> datetime | None:
    """Return when this machine started (UTC without a zone), or None where the kernel does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    seconds = next((line.split()[1] for line in lines if line.startswith("btime ")), None)
    return (
        None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None)
    )


class Load:
    """How busy the machine is, as metrics: parts of 1 that are in use."""

    def __init__(self) -> None:
        self._before = (0, 0)
        self._cpu = 0.0

    def metrics(self) -> dict[str, float]:
        """Return ``cpu.percent`` since the last call and ``memory.percent``, where the kernel says so."""
        try:
            stat = Path("/proc/stat").read_text()
            memory = Path("/proc/meminfo").read_text()
        except OSError:
            return {}
        now = cpu_times(stat)
        before, self._before = self._before, now
        busy, every = now[0] - before[0], now[1] - before[1]
        if every > 0:
            self._cpu = _stepped(busy / every)
        return {"cpu.percent": self._cpu, "memory.percent": _stepped(memory_used(memory))}


def cpu_times(stat: str) -> tuple[int, int]:
    """Return the ticks that the CPUs were busy, and all ticks, of the text of /proc/stat."""
    user, nice, system, idle, waiting, *others = map(int, stat.splitlines()[0].split()[1:9])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waiting


def memory_used(meminfo: str) -> float:
    """Return the part of the memory that is in use, of the text of /proc/meminfo."""
    sizes = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in meminfo.splitlines())
        if rest.split()
    }
    total = sizes.get("MemTotal", 0)
    return 1 - sizes.get("MemAvailable", total) / total if total else 0.0


def _stepped(part: float) -> float:
    return round(round(part / _STEP) * _STEP, 2)
