"""What a host's capabilities and node devices tell of its parts: NUMA cells, and devices for guests. Pure.

Source of the elements: libvirt's "Driver capabilities XML format" and "Node devices XML format".
"""

from collections.abc import Collection, Iterable
from xml.etree import ElementTree as ET

from kilonova.core.guest_cells import cpu_set
from kilonova.core.pinning import Core, Device, HostCell

_SMALL_PAGE = 4
"""KiB of a page that no pool holds."""
_PASSED_THROUGH = "vfio-pci"
"""The driver that a PCI device has when it is set apart for guests."""


def host_cells(capabilities: str, apart: Collection[int]) -> tuple[HostCell, ...]:
    """Return the cells of a host of which the CPUs ``apart`` are kept for servers that want their own."""
    topology = ET.fromstring(capabilities).find("host/topology/cells")  # noqa: S314 - libvirt's own
    return tuple(_cell(one, frozenset(apart)) for one in topology or ())


def _cell(cell: ET.Element, apart: frozenset[int]) -> HostCell:
    cores: dict[frozenset[int], None] = {}
    for cpu in cell.iterfind("cpus/cpu"):
        number = cpu.get("id", "")
        cores[cpu_set(cpu.get("siblings") or number)] = None
    pages = {
        int(page.get("size", 0)): int(page.text or 0)
        for page in cell.iterfind("pages")
        if int(page.get("size", 0)) > _SMALL_PAGE
    }
    # Pages of a pool are no memory for others.
    memory = int(cell.findtext("memory") or 0) - sum(size * n for size, n in pages.items())
    return HostCell(
        number=int(cell.get("id", 0)),
        shared=frozenset[int]().union(*cores) - apart,
        cores=tuple(Core(cpus=core & apart, whole=core <= apart) for core in cores if core & apart),
        threads_per_core=max(map(len, cores), default=1),
        memory_mb=max(0, memory) >> 10,
        pages={size: n for size, n in pages.items() if n},
    )


def devices_for_guests(listed: Iterable[str]) -> tuple[Device, ...]:
    """Return the devices that their operator set apart for guests, by binding them to VFIO's driver.

    Their alias is the vendor's and the product's number, such as ``10de_1db4``.
    """
    return tuple(filter(None, map(_device, listed)))


def mediated(listed: Iterable[str]) -> dict[str, str]:
    """Return the name that libvirt has for each mediated device, by its UUID."""
    found = {}
    for text in listed:
        device = ET.fromstring(text)  # noqa: S314 - libvirt's own
        uuid = device.findtext("capability[@type='mdev']/uuid")
        name = device.findtext("name")
        if uuid and name:
            found[uuid] = name
    return found


def _device(text: str) -> Device | None:
    device = ET.fromstring(text)  # noqa: S314 - libvirt's own
    if device.findtext("driver/name") != _PASSED_THROUGH:
        return None
    is_at = device.find("capability")
    vendor, product = device.find("capability/vendor"), device.find("capability/product")
    if is_at is None or vendor is None or product is None:
        return None
    domain, bus, slot, function = (
        int(is_at.findtext(name) or 0) for name in ("domain", "bus", "slot", "function")
    )
    near = is_at.find("numa")
    return Device(
        address=f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}",
        alias="_".join(part.get("id", "").removeprefix("0x") for part in (vendor, product)),
        numa_cell=None if near is None else int(near.get("node", 0)),
    )
