"""What a hypervisor measured of one guest."""

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


class DiskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What went through a disk since the guest started; ``name`` is its target, as vda."""

    name: str
    read_bytes: int | None = None
    read_requests: int | None = None
    write_bytes: int | None = None
    write_requests: int | None = None
    errors_count: int | None = None


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a guest that runs. None is what the hypervisor does not tell.

    ``cpu_times`` are the nanoseconds that each CPU ran; memory is in MiB; ``uptime`` in seconds.
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
