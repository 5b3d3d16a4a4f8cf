"""Where the devices of a guest are, as its domain's XML tells: a pure function.

Source of the elements: libvirt's "Domain XML format", "Device addresses".
"""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from kilonova.core.tagged_devices import SERIAL, Placed


def placed(xml: str) -> tuple[Placed, ...]:
    """Return the cards and the disks of a domain that libvirt has given an address."""
    devices = ET.fromstring(xml).find("devices")  # noqa: S314 - libvirt wrote it
    return () if devices is None else (*_cards(devices), *_disks(devices))


def _cards(devices: ET.Element) -> Iterator[Placed]:
    for card in devices.iterfind("interface"):
        mac, where = card.find("mac"), card.find("address")
        if mac is not None and where is not None and where.get("type") == "pci":
            yield Placed(key=mac.get("address", "").lower(), bus="pci", address=_pci(where))


def _disks(devices: ET.Element) -> Iterator[Placed]:
    for disk in devices.iterfind("disk"):
        target, where = disk.find("target"), disk.find("address")
        serial = disk.findtext("serial") or ""
        if target is None or where is None or not serial:
            continue
        address = _FORMS.get(where.get("type", ""))
        if address is not None:
            bus = target.get("bus", "")
            yield Placed(
                key=serial[:SERIAL],
                bus="pci" if bus == "virtio" else bus,
                address=address(where),
                path=f"/dev/{target.get('dev', '')}",
            )


def _pci(where: ET.Element) -> str:
    domain, bus, slot, function = (
        int(where.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _drive(where: ET.Element) -> str:
    return ":".join(where.get(name, "0") for name in ("controller", "bus", "target", "unit"))


def _usb(where: ET.Element) -> str:
    return ":".join(where.get(name, "0") for name in ("bus", "port"))


_FORMS = {"pci": _pci, "drive": _drive, "usb": _usb}
