"""The XML of the host's network and of the filter that keeps its guests honest. Pure.

Source of the elements: libvirt's "Network XML format" and "Network filters".
"""

import uuid
from xml.etree import ElementTree as ET

from kilonova.compute.addresses import AddressBook, mac_of
from kilonova.compute.libvirt.elements.tree import add
from kilonova.http.metadata.service import ADDRESS

NAME = "kilonova"
BRIDGE = "kilonova0"
FILTER = "kilonova-guest"
_NAMESPACE = uuid.UUID("0f5a2c6e-8c0f-5b8e-8b3a-6f1d5c9a7e42")


def network_xml(book: AddressBook) -> str:
    """Return a network of its own bridge, behind the host's address, whose DHCP knows every guest to come.

    It has the address of the metadata service, too.
    """
    network = ET.Element("network")
    add(network, "name", text=NAME)
    add(network, "uuid", text=str(uuid.uuid5(_NAMESPACE, NAME)))
    add(network, "forward", {"mode": "nat"})
    add(network, "bridge", {"name": BRIDGE, "stp": "off", "delay": "0"})
    prefix = str(book.range.prefixlen)
    ip = add(network, "ip", {"family": "ipv4", "address": str(book.router), "prefix": prefix})
    dhcp = add(ip, "dhcp")
    for address in book.addresses:
        add(dhcp, "host", {"mac": mac_of(address), "ip": str(address)})
    add(network, "ip", {"family": "ipv4", "address": ADDRESS, "prefix": "32"})
    return ET.tostring(network, encoding="unicode")


def serves(xml: str, book: AddressBook) -> bool:
    """Whether a network, by its XML, is of a book's range."""
    ip = ET.fromstring(xml).find("ip")  # noqa: S314 - libvirt wrote it
    expected = (str(book.router), str(book.range.prefixlen))
    return ip is not None and (ip.get("address"), ip.get("prefix")) == expected


_NOT_YET = "0.0.0.0"  # noqa: S104 - who has no address speaks from this
_RULES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    # It speaks from its own card,
    ("drop", "out", "mac", {"match": "no", "srcmacaddr": "$MAC"}),
    # says of no other card and no other address that they are its own, but may ask whether one is free,
    ("drop", "out", "arp", {"match": "no", "arpsrcmacaddr": "$MAC"}),
    ("accept", "out", "arp", {"arpsrcipaddr": _NOT_YET}),
    ("drop", "out", "arp", {"match": "no", "arpsrcipaddr": "$IP"}),
    ("accept", "inout", "arp", {}),
    # asks for its address,
    (
        "accept",
        "out",
        "ip",
        {
            "srcipaddr": _NOT_YET,
            "protocol": "udp",
            "srcportstart": "68",
            "dstportstart": "67",
        },
    ),
    # gives nobody one,
    ("drop", "out", "ip", {"protocol": "udp", "srcportstart": "67"}),
    # and speaks from its own address.
    ("drop", "out", "ip", {"match": "no", "srcipaddr": "$IP"}),
    ("accept", "inout", "ip", {}),
    # Nothing else passes: the network has no other protocol.
    ("drop", "inout", "all", {}),
)
"""(action, direction as the guest sees it, protocol, what it looks like); the first that fits counts."""


def filter_xml() -> str:
    """Return the filter, which takes a card's MAC and its address IP."""
    found = ET.Element("filter", name=FILTER, chain="root")
    add(found, "uuid", text=str(uuid.uuid5(_NAMESPACE, FILTER)))
    for number, (action, direction, protocol, looks) in enumerate(_RULES):
        what = {"action": action, "direction": direction, "priority": str(100 + number)}
        rule = add(found, "rule", what)
        if protocol != "all":
            add(rule, protocol, looks)
    return ET.tostring(found, encoding="unicode")
