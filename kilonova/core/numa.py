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

__all__ = ["GuestCell", "Malformed", "Topology", "asks", "place", "wanted"]


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
    ``page`` is ``small``, ``large``, ``any`` or a size in KiB.
    """

    cells: tuple[GuestCell, ...]
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
    return Topology(
        cells=tuple(
            GuestCell(
                shared=len(cell.cpus - found.pinned),
                pinned=len(cell.cpus & found.pinned),
                memory_mb=cell.memory_mb,
            )
            for cell in found.cells
        ),
        threads=found.threads,
        page=found.page,
    )


def asks(server: Wanting) -> bool:
    """Whether a server asks for a topology, well or badly."""
    try:
        return wanted(server) is not None
    except Malformed:
        return True


def place(topology: Topology, cells: Sequence[NumaCell]) -> tuple[NumaCell, ...] | None:
    """Return the host's cells with the server in them, each guest cell in one of its own; None if it
    does not fit."""
    placed = _place(topology, list(topology.cells), list(cells))
    if placed is None:
        return None
    return tuple(placed.get(cell.number, cell) for cell in cells)


def _place(
    topology: Topology, guests: list[GuestCell], free: list[NumaCell]
) -> dict[int, NumaCell] | None:
    if not guests:
        return {}
    for index, cell in enumerate(free):
        left = _less(topology, guests[0], cell)
        if left is None:
            continue
        others = _place(topology, guests[1:], free[:index] + free[index + 1 :])
        if others is not None:
            return others | {cell.number: left}
    return None


def _less(topology: Topology, guest: GuestCell, cell: NumaCell) -> NumaCell | None:
    """Return a host's cell with a guest's cell in it, None if that does not fit."""
    if guest.shared > cell.cpus:
        return None
    cores = _cores(topology.threads, guest.pinned, cell)
    if cores is None:
        return None
    whole, single = cores
    for size in _page_sizes(topology.page, cell):
        if size is None:
            if guest.memory_mb <= cell.memory_mb:
                return msgspec.structs.replace(
                    cell,
                    whole_cores=whole,
                    single_cpus=single,
                    memory_mb=cell.memory_mb - guest.memory_mb,
                )
            continue
        count, rest = divmod(guest.memory_mb * 1024, size)
        if not rest and count <= cell.pages.get(size, 0):
            pages = cell.pages | {size: cell.pages[size] - count}
            return msgspec.structs.replace(cell, whole_cores=whole, single_cpus=single, pages=pages)
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
