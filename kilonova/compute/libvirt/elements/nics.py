"""A guest's network cards."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.hardware import Hardware


def add_nics(devices: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add a card for each of the guest's fixed addresses, in their order."""
    for nic in place.nics:
        card = add(devices, "interface", {"type": "network"})
        add(card, "mac", {"address": nic.mac})
        add(card, "source", {"network": place.network})
        add(card, "model", {"type": hardware.nic_model})
        if hardware.nic_queues > 1:
            add(card, "driver", {"name": "vhost", "queues": str(hardware.nic_queues)})
        if place.nic_filter is not None:
            honest = add(card, "filterref", {"filter": place.nic_filter})
            add(honest, "parameter", {"name": "IP", "value": nic.address})
        if hardware.limits.inbound or hardware.limits.outbound:
            bandwidth = add(card, "bandwidth")
            _rate(bandwidth, "inbound", hardware.limits.inbound)
            _rate(bandwidth, "outbound", hardware.limits.outbound)


def _rate(bandwidth: ET.Element, direction: str, limits: Mapping[str, int]) -> None:
    if limits:
        add(bandwidth, direction, {name: str(number) for name, number in limits.items()})
