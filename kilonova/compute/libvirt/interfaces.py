"""Network cards that a domain gets or loses while it is there."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from kilonova.compute.libvirt.cards import Cards
from kilonova.compute.libvirt.domain_xml import interface_xml
from kilonova.compute.libvirt.elements.place import Place
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Nic

_LETS_GO = 20.0
"""Seconds that a guest gets to let go of a card."""
_AGAIN = 5.0
"""Seconds between two requests: a guest that is still booting does not hear the first."""
_LOOKS = 0.2


class Interfaces(ABC):
    """The part of the driver that plugs cards in and out."""

    _cards: Cards
    _virt_type: str

    @abstractmethod
    def _on(self, uuid: InstanceUuid, work: Callable[[Any], None]) -> None: ...

    def attach_interface(self, instance: Instance, nic: Nic) -> None:
        """See ``Driver``. Noted first: whatever is made of the guest from now on has it."""
        self._on(instance.uuid, lambda domain: None)
        self._cards.add(instance.uuid, nic)
        place = Place(virt_type=self._virt_type, arch="", console_log="")
        xml = interface_xml(instance, nic, place)
        try:
            self._on(instance.uuid, lambda domain: attach(domain, nic.mac, xml))
        except BuildFailed:
            self._cards.remove(instance.uuid, nic.port_id)
            raise

    def detach_interface(self, uuid: InstanceUuid, port_id: str) -> None:
        """See ``Driver``."""
        for nic in self._cards.of(uuid):
            if nic.port_id == port_id:
                self._on(uuid, lambda domain, mac=nic.mac: detach(domain, mac))  # type: ignore[misc]
                self._cards.remove(uuid, port_id)


def attach(domain: Any, mac: str, xml: str) -> None:
    """Give a domain a card, for good and, if it runs, now; where it has it already, that is enough."""
    if _find(domain, mac, live=False) is None:
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if domain.isActive() and _find(domain, mac, live=True) is None:
        try:
            domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError:
            domain.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            raise


def detach(domain: Any, mac: str) -> None:
    """Take a card away, for good and, if it runs, now.

    Raises:
        BuildFailed: the guest does not let go of it.
    """
    kept = _find(domain, mac, live=False)
    if kept is not None:
        domain.detachDeviceFlags(kept, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    deadline = time.monotonic() + _LETS_GO
    again = 0.0
    while domain.isActive() and (there := _find(domain, mac, live=True)) is not None:
        now = time.monotonic()
        if now > deadline:
            raise BuildFailed(f"The guest does not let go of its card {mac}.")
        if now >= again:
            again = now + _AGAIN
            _ask(domain, there)
        time.sleep(_LOOKS)


def _ask(domain: Any, xml: str) -> None:
    try:
        domain.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        # It is letting go of it, or has done so in between.
        if error.get_error_code() not in (
            libvirt.VIR_ERR_DEVICE_MISSING,
            libvirt.VIR_ERR_OPERATION_FAILED,
            libvirt.VIR_ERR_INTERNAL_ERROR,
        ):
            raise


def _find(domain: Any, mac: str, *, live: bool) -> str | None:
    """Return the XML of a card, or None if the domain has none with this MAC address."""
    flags = 0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE
    # libvirt wrote it, out of what is escaped.
    for card in ET.fromstring(domain.XMLDesc(flags)).iter("interface"):  # noqa: S314
        found = card.find("mac")
        if found is not None and found.get("address") == mac:
            return ET.tostring(card, encoding="unicode")
    return None
