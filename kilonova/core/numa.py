"""NUMA: what a flavor and an image ask of a host's NUMA cells, and how a server fits into them. Pure.

Keys and their meaning: Compute documentation, "CPU topologies" and "Huge pages".
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from kilonova.core import guest_cells
from kilonova.core.asked import Asked, Malformed
from kilonova.core.flavor import Flavor
from kilonova.core.image import Image
from kilonova.core.scheduling import NumaCell

__all__ = [
    "Fit",
    "GuestCell",
    "Malformed",
    "Shortfall",
    "Topology",
    "asks",
    "fit",
    "shortfall",
    "wanted",
]


class Wanting(Protocol):
    """A server, or a request for one."""

    @property
    def flavor(self) -> Flavor:
        """Its size."""

    @property
    def image(self) -> Image | None:
        """What it starts as."""


class GuestCell(msgspec.Struct, frozen=True, kw_only=True):
    """What a server wants of one NUMA cell: CPUs that are shared, CPUs of its own, MiB of memory."""

    shared: int
    pinned: int
    memory_mb: int


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """The NUMA cells that a server wants, each in a host cell of its own.

    ``threads`` is ``prefer``, ``isolate`` (a core for each CPU) or ``require`` (whole cores with siblings).
    ``page`` is ``small``, ``large``, ``any`` or a size in KiB. ``emulator`` of the pinned CPUs of the first
    cell are for QEMU's own threads.
    """

    cells: tuple[GuestCell, ...]
    emulator: int = 0
    threads: str = "prefer"
    page: str = guest_cells.SMALL


def wanted(server: Wanting) -> Topology | None:
    """Return the topology that a server asks for, None if any will do.

    Raises:
        Malformed: with a sentence.
    """
    flavor = server.flavor
    found = guest_cells.cells_of(Asked(flavor, server.image), flavor.vcpus, flavor.memory_mb)
    if found is None:
        return None
    emulator = int(found.emulator == "isolate")
    return Topology(
        cells=tuple(
            GuestCell(
                shared=len(cell.cpus - found.pinned),
                pinned=len(cell.cpus & found.pinned) + (0 if number else emulator),
                memory_mb=cell.memory_mb,
            )
            for number, cell in enumerate(found.cells)
        ),
        emulator=emulator,
        threads=found.threads,
        page=found.page,
    )


def asks(server: Wanting) -> bool:
    """Whether a server asks for a topology, well or badly."""
    try:
        return wanted(server) is not None
    except Malformed:
        return True


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a server fits into a host: what it leaves of the host's cells; the numbers of those that its own
    are in, in their order; and the KiB of the pages of each, None for small ones."""

    left: tuple[NumaCell, ...]
    hosts: tuple[int, ...]
    pages: tuple[int | None, ...]


class Shortfall(msgspec.Struct, frozen=True):
    """Why a server does not fit, and by how many cells or CPUs at least."""

    sentence: str
    short_by: int


class _Placed(msgspec.Struct, frozen=True):
    left: NumaCell
    page: int | None


def fit(topology: Topology, cells: Sequence[NumaCell]) -> Fit | None:
    """Return how the server fits, each guest cell in a host's cell of its own; None if it does not."""
    placed = _place(topology, list(topology.cells), list(cells))
    if placed is None:
        return None
    changed = {one.left.number: one.left for one in placed}
    return Fit(
        left=tuple(changed.get(cell.number, cell) for cell in cells),
        hosts=tuple(one.left.number for one in placed),
        pages=tuple(one.page for one in placed),
    )


def shortfall(topology: Topology, cells: Sequence[NumaCell]) -> Shortfall:
    """Return why the server does not fit into these cells."""
    most = max(topology.cells, key=lambda cell: (cell.pinned, cell.memory_mb))
    pinnable = max((c.whole_cores * c.threads_per_core + c.single_cpus for c in cells), default=0)
    return Shortfall(
        f"needs {len(topology.cells)} NUMA cells, one with {most.pinned} pinned CPUs and "
        f"{most.memory_mb} MiB in {topology.page} pages; host has {len(cells)} cells, at "
        f"most {pinnable} CPUs to pin in one",
        max(0, len(topology.cells) - len(cells), most.pinned - pinnable),
    )


def _place(
    topology: Topology, guests: list[GuestCell], free: list[NumaCell]
) -> list[_Placed] | None:
    if not guests:
        return []
    for index, cell in enumerate(free):
        placed = _less(topology, guests[0], cell)
        if placed is None:
            continue
        others = _place(topology, guests[1:], free[:index] + free[index + 1 :])
        if others is not None:
            return [placed, *others]
    return None


def _less(topology: Topology, guest: GuestCell, cell: NumaCell) -> _Placed | None:
    """Return a host's cell with a guest's cell in it, None if that does not fit."""
    if guest.shared > cell.cpus:
        return None
    cores = _cores(topology.threads, guest.pinned, cell)
    if cores is None:
        return None
    pinned = msgspec.structs.replace(cell, whole_cores=cores[0], single_cpus=cores[1])
    for size in _page_sizes(topology.page, cell):
        if size is None:
            memory = cell.memory_mb - guest.memory_mb
            if memory >= 0:
                return _Placed(msgspec.structs.replace(pinned, memory_mb=memory), None)
            continue
        count, rest = divmod(guest.memory_mb * 1024, size)
        if not rest and count <= cell.pages.get(size, 0):
            pages = cell.pages | {size: cell.pages[size] - count}
            return _Placed(msgspec.structs.replace(pinned, pages=pages), size)
    return None


def _page_sizes(page: str, cell: NumaCell) -> Iterator[int | None]:
    """Yield the sizes in KiB to try, largest first; None is the small pages that are no pool."""
    if page.isdecimal():
        # The usual page of the machine is not counted in pages.
        yield None if int(page) == 4 else int(page)
        return
    if page in (guest_cells.LARGE, guest_cells.ANY):
        yield from sorted(cell.pages, reverse=True)
    if page in (guest_cells.SMALL, guest_cells.ANY):
        yield None


def _cores(threads: str, pinned: int, cell: NumaCell) -> tuple[int, int] | None:
    """Return the whole cores and the single CPUs that pinning leaves, None if there are too few."""
    siblings = cell.threads_per_core
    if threads == "isolate":
        return (cell.whole_cores - pinned, cell.single_cpus) if pinned <= cell.whole_cores else None
    if threads == "require" and pinned and siblings < 2:
        return None
    single = 0 if threads == "require" else min(pinned, cell.single_cpus)
    cores = -(-(pinned - single) // siblings)
    if cores > cell.whole_cores:
        return None
    spare = cores * siblings - (pinned - single)
    return cell.whole_cores - cores, cell.single_cpus - single + spare
