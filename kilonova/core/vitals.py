"""How servers are: what is made of two looks at a guest, and of those at all guests of a host."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from kilonova.core.diagnostics import Diagnostics, DiskFigures, DiskRole
from kilonova.core.host import NodeReport
from kilonova.core.ids import InstanceUuid

_MIB = 1 << 20
_OVERHEAD_MB = 256
"""MiB that a hypervisor takes for a guest beside the guest's memory."""
_OVERHEAD_DISK = 1 / 16
"""What the format of a disk's file takes beside what the guest wrote, as part of the disk."""


class Allowance(StrEnum):
    """Of what a server may take no more than it was given."""

    MEMORY = "memory"
    DISK = "disk"


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One look at a guest, at a time (UTC without a zone) and at ``clock`` seconds of a steady clock."""

    at: datetime
    clock: float
    figures: Diagnostics


class CpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a server's CPUs are: percent, of all of them together. None is what is not known."""

    total: float
    user: float | None = None
    system: float | None = None
    wait: float | None = None


class Share(msgspec.Struct, frozen=True):
    """How much is used of how much, in MiB."""

    used: int
    size: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a server. None is what is not known.

    ``uptime`` is the seconds that its guest has run; ``load`` the guest's own over 1, 5 and 15 minutes; the
    bytes were counted since it started. ``above`` is of what it takes more than its allowance.
    """

    uptime: int | None = None
    load: tuple[float, float, float] | None = None
    cpu: CpuUse | None = None
    memory: Share | None = None
    swap: Share | None = None
    system_disk: Share | None = None
    ephemeral_disk: Share | None = None
    persistent_disk: Share | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    above: tuple[Allowance, ...] = ()


class Vitals(Figures, frozen=True, kw_only=True, omit_defaults=True):
    """How a server was at ``at`` (UTC without a zone). ``state`` is its guest's power in lower case."""

    instance_uuid: InstanceUuid
    at: datetime
    state: str


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs (a tenth of one at the least), MiB of memory and GiB of disk."""

    cpus: float = 0.0
    memory_mb: int = 0
    disk_gb: int = 0


class HostVitals(msgspec.Struct, frozen=True, kw_only=True):
    """How a host's servers are, and what they take of what is reserved for them."""

    at: datetime
    used: Amounts
    reserved: Amounts
    servers: tuple[Vitals, ...] = ()


def vitals(uuid: InstanceUuid, first: Sample, last: Sample, uptime: int | None) -> Vitals:
    """Return how a server is by its last sample, and by an earlier one of the same run (or the same).

    ``uptime`` counts where the hypervisor tells none.
    """
    now = last.figures
    used = now.memory_resident if now.memory_in_guest is None else now.memory_in_guest
    size = now.memory_used or now.memory_maximum
    return Vitals(
        instance_uuid=uuid,
        at=last.at,
        state=now.state,
        uptime=uptime if now.uptime is None else now.uptime,
        load=now.load,
        cpu=_cpu_use(first, last),
        memory=None if used is None or size is None else Share(used, size),
        swap=None if now.swap is None else Share(*now.swap),
        system_disk=_disk_share(now.disks, DiskRole.SYSTEM),
        ephemeral_disk=_disk_share(now.disks, DiskRole.EPHEMERAL),
        persistent_disk=_disk_share(now.disks, DiskRole.PERSISTENT),
        read_bytes=_sum(disk.read_bytes for disk in now.disks),
        written_bytes=_sum(disk.write_bytes for disk in now.disks),
        received_bytes=_sum(nic.rx_octets for nic in now.nics),
        sent_bytes=_sum(nic.tx_octets for nic in now.nics),
        above=above(now),
    )


def diagnosed(first: Sample, last: Sample, uptime: int | None) -> Diagnostics:
    """Return the last figures with how busy each CPU was since an earlier sample of the same run."""
    now = last.figures
    return msgspec.structs.replace(
        now,
        uptime=uptime if now.uptime is None else now.uptime,
        cpu_percents=_cpu_percents(first, last),
    )


def is_same_run(before: Diagnostics, now: Diagnostics) -> bool:
    """Whether a guest was on all the while: it is on, was before, and its CPUs' counter did not fall."""
    if before.state not in _ON or now.state not in _ON:
        return False
    earlier, later = before.cpu_time, now.cpu_time
    return earlier is None or later is None or earlier.total <= later.total


_ON = ("running", "paused")


def _cpu_use(first: Sample, last: Sample) -> CpuUse | None:
    before, now = first.figures.cpu_time, last.figures.cpu_time
    cpus, elapsed = len(last.figures.cpu_times), last.clock - first.clock
    if before is None or now is None or not cpus or elapsed <= 0:
        return None
    whole = elapsed * 1e9 * cpus

    def percent(earlier: int | None, later: int | None) -> float | None:
        if earlier is None or later is None:
            return None
        return round(max(0.0, 100 * (later - earlier) / whole), 1)

    return CpuUse(
        total=percent(before.total, now.total) or 0.0,
        user=percent(before.user, now.user),
        system=percent(before.system, now.system),
        wait=percent(before.wait, now.wait),
    )


def _cpu_percents(first: Sample, last: Sample) -> tuple[int, ...]:
    before, now = first.figures.cpu_times, last.figures.cpu_times
    elapsed = last.clock - first.clock
    if elapsed <= 0 or len(before) != len(now):
        return ()
    return tuple(
        min(100, max(0, round((later - earlier) / elapsed / 1e7)))
        for earlier, later in zip(before, now, strict=True)
    )


def _disk_share(disks: Sequence[DiskFigures], role: DiskRole) -> Share | None:
    mine = [disk for disk in disks if disk.role == role]
    used = _sum(disk.allocation for disk in mine)
    size = _sum(disk.capacity for disk in mine)
    return None if used is None or size is None else Share(used // _MIB, size // _MIB)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def above(now: Diagnostics) -> tuple[Allowance, ...]:
    """Return of what a guest takes more of its host than it was given, beyond what running it costs."""
    found = []
    resident, most = now.memory_resident, now.memory_maximum
    if resident is not None and most is not None and resident > most + _OVERHEAD_MB:
        found.append(Allowance.MEMORY)
    if any(_is_too_large(disk) for disk in now.disks):
        found.append(Allowance.DISK)
    return tuple(found)


_OWN = (DiskRole.SYSTEM, DiskRole.EPHEMERAL)
"""Disks that are the host's."""


def _is_too_large(disk: DiskFigures) -> bool:
    if disk.role not in _OWN or disk.allocation is None or disk.capacity is None:
        return False
    return disk.allocation > disk.capacity * (1 + _OVERHEAD_DISK)


def host_vitals(
    at: datetime, servers: Sequence[tuple[Vitals, Diagnostics]], nodes: Iterable[NodeReport]
) -> HostVitals:
    """Return what a host's servers take together, beside what its nodes reserve for them."""
    kept = tuple(nodes)
    busy = (
        one.cpu.total / 100 * len(figures.cpu_times)
        for one, figures in servers
        if one.cpu is not None
    )
    disks = (disk for _, figures in servers for disk in figures.disks if disk.role in _OWN)
    return HostVitals(
        at=at,
        used=Amounts(
            cpus=round(sum(busy), 1),
            memory_mb=sum(figures.memory_resident or 0 for _, figures in servers),
            disk_gb=sum(disk.allocation or 0 for disk in disks) >> 30,
        ),
        reserved=Amounts(
            cpus=float(sum(node.vcpus_used for node in kept)),
            memory_mb=sum(node.memory_mb_used for node in kept),
            disk_gb=sum(node.disk_gb_used for node in kept),
        ),
        servers=tuple(one for one, _ in servers),
    )
