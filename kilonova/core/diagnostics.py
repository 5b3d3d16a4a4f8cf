"""What a hypervisor measured of one guest."""

from enum import StrEnum

import msgspec


class NicFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What went through a network card since the guest started; ``name`` is the host's name of it."""

    name: str
    mac_address: str | None = None
    rx_octets: int | None = None
    rx_packets: int | None = None
    rx_errors: int | None = None
    rx_drop: int | None = None
    tx_octets: int | None = None
    tx_packets: int | None = None
    tx_errors: int | None = None
    tx_drop: int | None = None


class DiskRole(StrEnum):
    """What a disk is to its server: its own root disk, its own further ones, or a volume."""

    SYSTEM = "system"
    EPHEMERAL = "ephemeral"
    PERSISTENT = "persistent"


class DiskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What went through a disk since the guest started; ``name`` is its target, as vda.

    It is ``capacity`` bytes large and takes ``allocation`` bytes of the host. ``role`` is None for what
    counts as no disk of the server, such as its config drive.
    """

    name: str
    read_bytes: int | None = None
    read_requests: int | None = None
    write_bytes: int | None = None
    write_requests: int | None = None
    errors_count: int | None = None
    role: DiskRole | None = None
    capacity: int | None = None
    allocation: int | None = None


class CpuTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of the host's CPUs that a guest took since it started.

    ``wait`` is the time that its CPUs stood still for the host's input and output.
    """

    total: int
    user: int | None = None
    system: int | None = None
    wait: int | None = None


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a guest that runs. None is what the hypervisor does not tell.

    ``cpu_times`` are the nanoseconds that each CPU ran, ``cpu_percents`` how busy each was lately;
    ``cpu_time`` is that of all of them. Memory is in MiB: the guest may have ``memory_maximum``, has
    ``memory_used`` of it (its balloon leaves it that), takes ``memory_resident`` of the host, and says
    itself that it uses ``memory_in_guest``. ``swap`` is MiB: used, and there. ``uptime`` is in seconds.
    """

    state: str
    driver: str
    hypervisor: str
    hypervisor_os: str = "linux"
    uptime: int | None = None
    cpu_times: tuple[int, ...] = ()
    memory_maximum: int | None = None
    memory_used: int | None = None
    nics: tuple[NicFigures, ...] = ()
    disks: tuple[DiskFigures, ...] = ()
    cpu_percents: tuple[int, ...] = ()
    cpu_time: CpuTimes | None = None
    memory_resident: int | None = None
    memory_in_guest: int | None = None
    swap: tuple[int, int] | None = None
    load: tuple[float, float, float] | None = None
