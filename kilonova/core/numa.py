"""NUMA: what a flavor and an image ask of a host's NUMA cells, and how a server fits into them. Pure.

Keys and their meaning: Compute documentation, "CPU topologies" and "Huge pages".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from kilonova.core.flavor import Flavor
from kilonova.core.image import Image
from kilonova.core.scheduling import NumaCell

_SMALL, _LARGE, _ANY = "small", "large", "any"
_UNITS = {"": 1, "KB": 1, "MB": 1024, "GB": 1024 * 1024}
_SIZE = re.compile(r"(\d+)\s*(KB|MB|GB|)")


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
    page: str = _SMALL


class Malformed(ValueError):
    """The flavor or the image asks for something that cannot be."""


def wanted(server: Wanting) -> Topology | None:
    """Return the topology that a server asks for, None if any will do.

    Raises:
        Malformed: with a sentence.
    """
    asked = _Asked(server)
    policy = asked.get("cpu_policy") or "shared"
    page = asked.get("mem_page_size")
    nodes = asked.number("numa_nodes")
    if nodes is None and page is None and policy == "shared":
        return None
    count = nodes or 1
    cpus = _cpus_of_cells(asked, server.flavor.vcpus, count)
    memory = _memory_of_cells(asked, server.flavor.memory_mb, count)
    own = _pinned(asked, policy, server.flavor.vcpus)
    return Topology(
        cells=tuple(
            GuestCell(shared=len(c - own), pinned=len(c & own), memory_mb=m)
            for c, m in zip(cpus, memory, strict=True)
        ),
        threads=asked.get("cpu_thread_policy") or "prefer",
        page=_page(page),
    )


def asks(server: Wanting) -> bool:
    """Whether a server asks for a topology, well or badly."""
    try:
        return wanted(server) is not None
    except Malformed:
        return True


class _Asked:
    """The ``hw:`` extra specs of a flavor, and where it says nothing the ``hw_`` properties of an image."""

    def __init__(self, server: Wanting) -> None:
        self._flavor: Mapping[str, str] = server.flavor.extra_specs
        self._image: Mapping[str, str] = server.image.properties if server.image else {}

    def get(self, name: str) -> str | None:
        return self._flavor.get(f"hw:{name}") or self._image.get(f"hw_{name}")

    def number(self, name: str) -> int | None:
        text = self.get(name)
        if text is None:
            return None
        if not text.isdecimal() or int(text) < 1:
            raise Malformed(f"hw:{name} is {text[:50]}")
        return int(text)


def cpu_set(text: str) -> frozenset[int]:
    """Return the numbers that a list such as ``0-3,^2,7`` names.

    Raises:
        Malformed: it is none.
    """
    named: set[int] = set()
    without: set[int] = set()
    for part in text.split(","):
        word = part.strip()
        first, dash, last = word.removeprefix("^").partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise Malformed(f"{text[:50]} is no list of CPUs")
        numbers = range(int(first), int(last if dash else first) + 1)
        (without if word.startswith("^") else named).update(numbers)
    return frozenset(named - without)


def _pinned(asked: _Asked, policy: str, vcpus: int) -> frozenset[int]:
    if policy == "dedicated":
        return frozenset(range(vcpus))
    if policy == "mixed":
        mask = asked.get("cpu_dedicated_mask")
        if mask is None:
            raise Malformed("hw:cpu_policy is mixed without hw:cpu_dedicated_mask")
        # A mask that begins with an exception names all the others.
        return cpu_set(f"0-{vcpus - 1},{mask}" if mask.startswith("^") else mask)
    if policy == "shared":
        return frozenset()
    raise Malformed(f"hw:cpu_policy is {policy}")


def _cpus_of_cells(asked: _Asked, vcpus: int, count: int) -> Sequence[frozenset[int]]:
    named = [asked.get(f"numa_cpus.{n}") for n in range(count)]
    if not any(named):
        if vcpus % count:
            raise Malformed(f"{vcpus} VCPUs cannot be split over {count} NUMA cells")
        each = vcpus // count
        return [frozenset(range(n * each, (n + 1) * each)) for n in range(count)]
    cells = [cpu_set(text or "") for text in named]
    if sorted(cpu for cell in cells for cpu in cell) != list(range(vcpus)):
        raise Malformed("hw:numa_cpus do not name each VCPU once")
    return cells


def _memory_of_cells(asked: _Asked, memory_mb: int, count: int) -> Sequence[int]:
    named = [asked.number(f"numa_mem.{n}") for n in range(count)]
    if not any(named):
        if memory_mb % count:
            raise Malformed(f"{memory_mb} MiB cannot be split over {count} NUMA cells")
        return [memory_mb // count] * count
    cells = [amount or 0 for amount in named]
    if sum(cells) != memory_mb:
        raise Malformed("hw:numa_mem do not add up to the memory")
    return cells


def _page(text: str | None) -> str:
    if text is None or text in (_SMALL, _LARGE, _ANY):
        return text or _SMALL
    size = _SIZE.fullmatch(text.strip())
    if size is None:
        raise Malformed(f"hw:mem_page_size is {text[:50]}")
    return str(int(size[1]) * _UNITS[size[2]])


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
    if page in (_LARGE, _ANY):
        yield from sorted(cell.pages, reverse=True)
    if page in (_SMALL, _ANY):
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
