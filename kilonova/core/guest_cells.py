"""The NUMA cells, pages and pinning that a flavor and an image ask for. Pure.

Keys and their meaning: Compute documentation, "CPU topologies" and "Huge pages".
"""

import re
from collections.abc import Sequence

import msgspec

from kilonova.core.asked import Asked, Malformed, shown

SMALL, LARGE, ANY = "small", "large", "any"
_UNITS = {"": 1, "K": 1, "M": 1024, "G": 1024 * 1024, "T": 1024 * 1024 * 1024}
_SIZE = re.compile(r"([0-9]{1,12})\s*([kKMGT]?)(?:i?B)?")
_MOST_CELLS = 64


class CellOfGuest(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA cell of a guest: its VCPUs by number, and its MiB of memory."""

    cpus: frozenset[int]
    memory_mb: int


class CellsOfGuest(msgspec.Struct, frozen=True, kw_only=True):
    """All NUMA cells of a guest.

    ``pinned`` are the VCPUs that get host CPUs of their own; ``threads`` is ``prefer``, ``isolate`` (a core
    for each of them) or ``require`` (whole cores with siblings). ``page`` is ``small``, ``large``, ``any``
    or a size in KiB. ``emulator`` says where QEMU's own threads run: ``share`` with other servers,
    ``isolate`` on a CPU of their own, or, where nothing is said, on the guest's CPUs.
    """

    cells: tuple[CellOfGuest, ...]
    pinned: frozenset[int]
    threads: str
    page: str
    emulator: str | None = None


def cells_of(asked: Asked, vcpus: int, memory_mb: int) -> CellsOfGuest | None:
    """Return the cells that are asked for, None if any will do.

    Raises:
        Malformed: they contradict each other, or the flavor.
    """
    policy = asked.choice("cpu_policy", ("shared", "dedicated", "mixed")) or "shared"
    threads = asked.choice("cpu_thread_policy", ("prefer", "isolate", "require")) or "prefer"
    emulator = asked.choice("emulator_threads_policy", ("share", "isolate"))
    if emulator == "isolate" and policy == "shared":
        raise Malformed("hw:emulator_threads_policy is isolate without CPUs of the server's own")
    page = asked.get("mem_page_size")
    nodes = asked.number("numa_nodes")
    if nodes is None and page is None and policy == "shared":
        return None
    count = nodes or 1
    if count > _MOST_CELLS:
        raise Malformed(f"hw:numa_nodes is {count}, and at most {_MOST_CELLS} can be had")
    cpus = _cpus_of_cells(asked, vcpus, count)
    memory = _memory_of_cells(asked, memory_mb, count)
    return CellsOfGuest(
        cells=tuple(CellOfGuest(cpus=c, memory_mb=m) for c, m in zip(cpus, memory, strict=True)),
        pinned=_pinned(asked, policy, vcpus),
        threads=threads,
        page=_page(page),
        emulator=emulator,
    )


def cpu_set(text: str) -> frozenset[int]:
    """Return the numbers that a list such as ``0-3,^2,7`` names.

    Raises:
        Malformed: it is none.
    """
    named: set[int] = set()
    without: set[int] = set()
    for part in text.split(","):
        word = part.strip()
        found = re.fullmatch(r"\^?([0-9]{1,5})(?:-([0-9]{1,5}))?", word)
        if found is None:
            raise Malformed(f"{shown(text)} is no list of CPUs")
        numbers = range(int(found[1]), int(found[2] or found[1]) + 1)
        (without if word.startswith("^") else named).update(numbers)
    return frozenset(named - without)


def _pinned(asked: Asked, policy: str, vcpus: int) -> frozenset[int]:
    if policy == "dedicated":
        return frozenset(range(vcpus))
    if policy == "mixed":
        mask = asked.get("cpu_dedicated_mask")
        if mask is None:
            raise Malformed("hw:cpu_policy is mixed without hw:cpu_dedicated_mask")
        # A mask that begins with an exception names all the others.
        named = cpu_set(f"0-{vcpus - 1},{mask}" if mask.startswith("^") else mask)
        if not named <= frozenset(range(vcpus)):
            raise Malformed(f"hw:cpu_dedicated_mask names more than the {vcpus} VCPUs")
        return named
    return frozenset()


def _cpus_of_cells(asked: Asked, vcpus: int, count: int) -> Sequence[frozenset[int]]:
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


def _memory_of_cells(asked: Asked, memory_mb: int, count: int) -> Sequence[int]:
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
    if text is None or text in (SMALL, LARGE, ANY):
        return text or SMALL
    size = _SIZE.fullmatch(text.strip())
    if size is None or not int(size[1]):
        raise Malformed(f"hw:mem_page_size is {shown(text)}")
    return str(int(size[1]) * _UNITS[size[2].upper()])
