"""A guest's network cards."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.hardware import Hardware
from kilonova.core.instance import Nic, Plug


def add_nics(devices: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add the guest's cards, in their order."""
    for nic in place.nics:
        add_nic(devices, nic, place, hardware)


def add_nic(devices: ET.Element, nic: Nic, place: Place, hardware: Hardware) -> ET.Element:
    """Add one card: plugged in as the network service says, or into the host's own network."""
    card = add(devices, "interface", {"type": "network"})
    add(card, "mac", {"address": nic.mac})
    if nic.plug is None:
        add(card, "source", {"network": place.network})
    else:
        add_plug(card, nic, nic.plug)
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
    return card


_KINDS = {"tap": "ethernet"}
_PORT_MTU = 1500
"""What libvirt gives a card of which nothing is said."""


def bridge_of(nic: Nic, plug: Plug) -> str:
    """Return the bridge of the host that a card is plugged into; empty for one that needs none.

    Where a firewall of iptables' is between the two, a card of a switch has a bridge of its own, as os-vif
    and Neutron's agent call it.
    """
    if plug.kind == "tap":
        return ""
    if plug.kind == "ovs":
        return f"qbr{nic.port_id[:11]}" if plug.hybrid else switch_of(plug)
    return plug.bridge or f"brq{nic.network_id[:11]}"


def switch_of(plug: Plug) -> str:
    """Return the switch of Open vSwitch's that a port is on."""
    return plug.bridge or "br-int"


def add_plug(card: ET.Element, nic: Nic, plug: Plug) -> None:
    """Say what a card's other end is. An agent of the network service finds it by the device's name, or
    by the port's id on a switch of Open vSwitch's."""
    card.set("type", _KINDS.get(plug.kind, "bridge"))
    bridge = bridge_of(nic, plug)
    if bridge:
        add(card, "source", {"bridge": bridge})
    if plug.kind == "ovs" and not plug.hybrid:
        port = add(card, "virtualport", {"type": "openvswitch"})
        add(port, "parameters", {"interfaceid": nic.port_id})
    add(card, "target", {"dev": plug.device})
    if nic.mtu != _PORT_MTU:
        add(card, "mtu", {"size": str(nic.mtu)})


def _rate(bandwidth: ET.Element, direction: str, limits: Mapping[str, int]) -> None:
    if limits:
        add(bandwidth, direction, {name: str(number) for name, number in limits.items()})
