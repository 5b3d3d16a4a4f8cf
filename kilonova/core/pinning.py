"""Which of a host's CPUs, NUMA cells, pages and devices a server gets for itself. Pure.

Whether it fits, and in which cells, is the answer that the scheduler's filter goes by (``numa.fit``); here
are the very CPUs and devices. What is counted of a host is made of what is here, so the two agree.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kilonova.core import numa
from kilonova.core.asked import Asked
from kilonova.core.devices import pci_wanted, vgpus_wanted
from kilonova.core.guest_cells import CellsOfGuest, cells_of
from kilonova.core.numa import Wanting
from kilonova.core.scheduling import NumaCell, PciPool


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs of one core that are kept for servers of their own and free; ``whole`` if it is all of them."""

    cpus: frozenset[int]
    whole: bool


class HostCell(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA cell of a host, with the CPUs that servers share, and what is free of the rest."""

    number: int
    shared: frozenset[int] = frozenset()
    cores: tuple[Core, ...] = ()
    threads_per_core: int = 1
    memory_mb: int = 0
    pages: dict[int, int] = {}


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI device for servers; ``address`` is as ``0000:3b:00.0``."""

    address: str
    alias: str
    numa_cell: int | None = None


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What servers can get of a host for themselves, all of it or what is free."""

    cells: tuple[HostCell, ...] = ()
    devices: tuple[Device, ...] = ()
    vgpus: tuple[str, ...] = ()
    """The UUIDs of mediated devices."""

    @property
    def shared(self) -> frozenset[int]:
        """The CPUs that servers share."""
        return frozenset[int]().union(*(cell.shared for cell in self.cells))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a server wants of a host for itself: cells, how many devices of each alias, how many VGPUs."""

    cells: CellsOfGuest | None = None
    devices: dict[str, int] = {}
    vgpus: int = 0

    @property
    def has_devices(self) -> bool:
        """Whether it is bound to devices of its host."""
        return bool(self.devices or self.vgpus)


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """What a server has of its host for itself.

    ``cpus`` are the host CPUs of VCPUs that are pinned; ``emulator`` is the CPU that QEMU's own threads
    have for themselves, if any; ``idle`` are CPUs that nobody uses beside them. ``cells`` are the host's
    cells that the guest's are in, ``memory_mb`` what each of the guest's takes, and ``pages`` the KiB of
    their pages where those are huge. ``devices`` are addresses, ``vgpus`` UUIDs.
    """

    cpus: dict[int, int] = {}
    emulator: int | None = None
    idle: frozenset[int] = frozenset()
    cells: dict[int, int] = {}
    memory_mb: dict[int, int] = {}
    pages: dict[int, int] = {}
    devices: tuple[str, ...] = ()
    vgpus: tuple[str, ...] = ()

    @property
    def taken(self) -> frozenset[int]:
        """The host CPUs that nobody else may use."""
        own = frozenset() if self.emulator is None else frozenset({self.emulator})
        return self.idle | own | frozenset(self.cpus.values())


def wanted(server: Wanting) -> Wanted:
    """Return what a server wants for itself.

    Raises:
        Malformed: it asks for what cannot be.
    """
    asked = Asked(server.flavor, server.image)
    cells = cells_of(asked, server.flavor.vcpus, server.flavor.memory_mb)
    return Wanted(cells=cells, devices=pci_wanted(server.flavor), vgpus=vgpus_wanted(server.flavor))


def counted(cells: Iterable[HostCell]) -> tuple[NumaCell, ...]:
    """Return how much there is in each cell, as a host reports it."""
    return tuple(
        NumaCell(
            number=cell.number,
            cpus=len(cell.shared),
            whole_cores=sum(core.whole for core in cell.cores),
            threads_per_core=cell.threads_per_core,
            single_cpus=sum(len(core.cpus) for core in cell.cores if not core.whole),
            memory_mb=cell.memory_mb,
            pages=cell.pages,
        )
        for cell in cells
    )


def pooled(devices: Iterable[Device]) -> tuple[PciPool, ...]:
    """Return how many devices there are of each alias near each cell, as a host reports it."""
    found = Counter((device.alias, device.numa_cell) for device in devices)
    return tuple(
        PciPool(alias=alias, free=count, numa_cell=near)
        for (alias, near), count in sorted(found.items(), key=str)
    )


def left(parts: Parts, taken: Iterable[Assigned]) -> Parts:
    """Return what servers leave of a host's parts."""
    servers = tuple(taken)
    cpus = frozenset[int]().union(*(one.taken for one in servers))
    memory: Counter[int] = Counter()
    pages: Counter[tuple[int, int]] = Counter()
    for one in servers:
        for guest, host in one.cells.items():
            size = one.pages.get(guest)
            if size is None:
                memory[host] += one.memory_mb[guest]
            else:
                pages[host, size] += one.memory_mb[guest] * 1024 // size
    used = {part for one in servers for part in (*one.devices, *one.vgpus)}
    return Parts(
        cells=tuple(_less(cell, cpus, memory, pages) for cell in parts.cells),
        devices=tuple(device for device in parts.devices if device.address not in used),
        vgpus=tuple(uuid for uuid in parts.vgpus if uuid not in used),
    )


def _less(
    cell: HostCell,
    cpus: frozenset[int],
    memory: Mapping[int, int],
    pages: Mapping[tuple[int, int], int],
) -> HostCell:
    cores = (Core(cpus=c.cpus - cpus, whole=c.whole and not c.cpus & cpus) for c in cell.cores)
    number = cell.number
    return msgspec.structs.replace(
        cell,
        cores=tuple(core for core in cores if core.cpus),
        memory_mb=max(0, cell.memory_mb - memory.get(number, 0)),
        pages={size: max(0, n - pages.get((number, size), 0)) for size, n in cell.pages.items()},
    )


def assign(server: Wanting, free: Parts) -> Assigned | str:
    """Return what a server gets of what is free, or why it does not fit.

    Raises:
        Malformed: it asks for what cannot be.
    """
    asked = wanted(server)
    devices = _devices(asked.devices, free.devices)
    if isinstance(devices, str):
        return devices
    if asked.vgpus > len(free.vgpus):
        return f"needs {asked.vgpus} VGPUs, host has {len(free.vgpus)} free"
    given = Assigned(devices=devices, vgpus=free.vgpus[: asked.vgpus])
    topology = numa.wanted(server)
    if asked.cells is None or topology is None:
        return given
    fit = numa.fit(topology, counted(free.cells))
    if fit is None:
        return numa.shortfall(topology, counted(free.cells)).sentence
    return _pinned(asked.cells, fit, free.cells, given)


def _pinned(
    guest: CellsOfGuest, fit: numa.Fit, cells: Sequence[HostCell], given: Assigned
) -> Assigned:
    hosts = {cell.number: cell for cell in cells}
    cpus: dict[int, int] = {}
    idle: frozenset[int] = frozenset()
    emulator = None
    for number, (cell, host) in enumerate(zip(guest.cells, fit.hosts, strict=True)):
        own = sorted(cell.cpus & guest.pinned)
        extra = int(number == 0 and guest.emulator == "isolate")
        picked, spared = _pick(hosts[host], len(own) + extra, guest.threads)
        cpus |= zip(own, picked, strict=False)
        emulator = picked[-1] if extra else emulator
        idle |= spared
    return msgspec.structs.replace(
        given,
        cpus=cpus,
        emulator=emulator,
        idle=idle,
        cells=dict(enumerate(fit.hosts)),
        memory_mb={number: cell.memory_mb for number, cell in enumerate(guest.cells)},
        pages={number: size for number, size in enumerate(fit.pages) if size is not None},
    )


def _pick(cell: HostCell, count: int, threads: str) -> tuple[list[int], frozenset[int]]:
    """Return so many CPUs of a cell that has them, and those beside them that stay idle.

    Which come first is what ``numa.fit`` counts with.
    """
    whole = sorted(sorted(core.cpus) for core in cell.cores if core.whole)
    if threads == "isolate":
        cores = whole[:count]
        return [core[0] for core in cores], frozenset(cpu for core in cores for cpu in core[1:])
    single = sorted(cpu for core in cell.cores if not core.whole for cpu in core.cpus)
    in_order = [] if threads == "require" else single
    in_order += [cpu for core in whole for cpu in core]
    return in_order[:count], frozenset()


def _devices(wanted_: Mapping[str, int], free: Sequence[Device]) -> tuple[str, ...] | str:
    """Return the addresses of devices, or why there are too few."""
    found: list[str] = []
    for alias, count in sorted(wanted_.items()):
        fitting = sorted(device.address for device in free if device.alias == alias)
        if len(fitting) < count:
            return f"needs {count} devices {alias}, host has {len(fitting)} free"
        found += fitting[:count]
    return tuple(found)
