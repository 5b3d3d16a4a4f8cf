"""What a host's capabilities and node devices tell of its parts: NUMA cells and PCI devices. Pure.

Source of the elements: libvirt's "Driver capabilities XML format" and "Node devices XML format".
"""

from collections import Counter
from collections.abc import Collection, Iterable
from xml.etree import ElementTree as ET

from kilonova.core.guest_cells import cpu_set
from kilonova.core.scheduling import NumaCell, PciPool

_SMALL_PAGE = 4
"""KiB of a page that no pool holds."""
_PASSED_THROUGH = "vfio-pci"
"""The driver that a PCI device has when it is set apart for guests."""


def numa_cells(capabilities: str, apart: Collection[int]) -> tuple[NumaCell, ...]:
    """Return the cells of a host of which the CPUs ``apart`` are kept for servers that want their own."""
    topology = ET.fromstring(capabilities).find("host/topology/cells")  # noqa: S314 - libvirt's own
    return tuple(_cell(one, frozenset(apart)) for one in topology or ())


def _cell(cell: ET.Element, apart: frozenset[int]) -> NumaCell:
    cores: dict[frozenset[int], None] = {}
    for cpu in cell.iterfind("cpus/cpu"):
        number = cpu.get("id", "")
        cores[cpu_set(cpu.get("siblings") or number)] = None
    cpus = frozenset[int]().union(*cores)
    whole = [core for core in cores if core <= apart]
    pages = {
        int(page.get("size", 0)): int(page.text or 0)
        for page in cell.iterfind("pages")
        if int(page.get("size", 0)) > _SMALL_PAGE
    }
    # Pages of a pool are no memory for others.
    memory = int(cell.findtext("memory") or 0) - sum(size * n for size, n in pages.items())
    return NumaCell(
        number=int(cell.get("id", 0)),
        cpus=len(cpus - apart),
        whole_cores=len(whole),
        threads_per_core=max(map(len, cores), default=1),
        single_cpus=len((cpus & apart).difference(*whole)),
        memory_mb=max(0, memory) >> 10,
        pages={size: n for size, n in pages.items() if n},
    )


def pci_pools(devices: Iterable[str]) -> tuple[PciPool, ...]:
    """Return the devices that their operator set apart for guests, by binding them to VFIO's driver.

    Their alias is the vendor's and the product's number, such as ``10de_1db4``.
    """
    found: Counter[tuple[str, int | None]] = Counter()
    for text in devices:
        device = ET.fromstring(text)  # noqa: S314 - libvirt's own
        if device.findtext("driver/name") != _PASSED_THROUGH:
            continue
        vendor, product = device.find("capability/vendor"), device.find("capability/product")
        if vendor is None or product is None:
            continue
        alias = "_".join(part.get("id", "").removeprefix("0x") for part in (vendor, product))
        near = device.find("capability/numa")
        found[alias, None if near is None else int(near.get("node", 0))] += 1
    return tuple(
        PciPool(alias=alias, free=count, numa_cell=near)
        for (alias, near), count in sorted(found.items(), key=str)
    )
