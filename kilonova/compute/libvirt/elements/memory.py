"""A guest's memory: how much, in which pages, and near which of the host's processors."""

from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add, reach
from kilonova.core.flavor import Flavor
from kilonova.core.guest_cells import ANY, LARGE, SMALL
from kilonova.core.hardware import Hardware

_USUAL_PAGE = "4"


def add_memory(domain: ET.Element, flavor: Flavor) -> None:
    """Add the amount."""
    add(domain, "memory", {"unit": "MiB"}, str(flavor.memory_mb))


def add_backing(domain: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add the pages: those that the host picked, or else those that are asked for."""
    picked = {} if place.pins is None else place.pins.pages
    page = SMALL if hardware.cells is None else hardware.cells.page
    if picked:
        pages = add(reach(domain, "memoryBacking"), "hugepages")
        for size in sorted(set(picked.values())):
            cells = ",".join(str(cell) for cell in sorted(picked) if picked[cell] == size)
            add(pages, "page", {"size": str(size), "unit": "KiB", "nodeset": cells})
    elif page == LARGE:
        add(reach(domain, "memoryBacking"), "hugepages")
    elif page not in (SMALL, ANY, _USUAL_PAGE):
        pages = add(reach(domain, "memoryBacking"), "hugepages")
        add(pages, "page", {"size": page, "unit": "KiB"})
    if hardware.locked_memory:
        add(reach(domain, "memoryBacking"), "locked")


def add_placement(domain: ET.Element, place: Place) -> None:
    """Add which of the host's NUMA cells a guest's memory is in, where the host picked them."""
    if place.pins is None or not place.pins.cells:
        return
    tuning = add(domain, "numatune")
    hosts = ",".join(str(cell) for cell in sorted(set(place.pins.cells.values())))
    add(tuning, "memory", {"mode": "strict", "nodeset": hosts})
    for guest, host in sorted(place.pins.cells.items()):
        what = {"cellid": str(guest), "mode": "strict", "nodeset": str(host)}
        add(tuning, "memnode", what)
