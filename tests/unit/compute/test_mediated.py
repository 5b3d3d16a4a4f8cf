"""Mediated devices: which are for guests, and when each is there."""

from pathlib import Path
from typing import Any

import libvirt
import testtools

from kilonova.compute.libvirt.mediated import MediatedDevices
from kilonova.compute.libvirt.topology import mediated

FIRST = "0f2b5c1e-8d3a-4b6e-9c1d-2e7f5a4b3c6d"
SECOND = "7d1c4a52-3b0e-4f9d-8a66-51c2e0b9f7a1"
LISTED = tuple(
    Path(__file__).parent.joinpath("capabilities", name).read_text(encoding="utf-8")
    for name in ("mdev-1.xml", "mdev-2.xml")
)


class Node:
    """A node device as libvirt's Python binding shows it; no machine of the tests has a mediated one."""

    def __init__(self, xml: str, *, defined: bool = True, busy: bool = False) -> None:
        self._xml, self._defined, self._busy = xml, defined, busy
        self.active = False

    def XMLDesc(self) -> str:
        return self._xml

    def isPersistent(self) -> bool:
        return self._defined

    def isActive(self) -> bool:
        return self.active

    def create(self) -> None:
        self.active = True

    def destroy(self) -> None:
        if self._busy:
            raise libvirt.libvirtError("in use")
        self.active = False


class Host:
    """A connection that knows node devices."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def listAllDevices(self, _flags: int) -> list[Node]:
        return list(self._nodes)

    def nodeDeviceLookupByName(self, name: str) -> Any:
        (found,) = [node for node in self._nodes if f"<name>{name}</name>" in node.XMLDesc()]
        return found


class MediatedTest(testtools.TestCase):
    """Devices that are defined, and guests that have them."""

    def test_they_are_known_by_their_uuids(self) -> None:
        names = {
            FIRST: "mdev_0f2b5c1e_8d3a_4b6e_9c1d_2e7f5a4b3c6d_0000_06_00_0",
            SECOND: "mdev_7d1c4a52_3b0e_4f9d_8a66_51c2e0b9f7a1_0000_07_00_4",
        }
        other = "<device><name>pci_0</name><capability type='pci'/></device>"
        self.assertEqual(names, mediated([*LISTED, other]))

    def test_only_what_is_defined_is_for_guests(self) -> None:
        host = Host(Node(LISTED[0]), Node(LISTED[1], defined=False))
        self.assertEqual((FIRST,), MediatedDevices().all(host))

    def test_a_device_is_there_as_long_as_somebody_has_it(self) -> None:
        first, second = nodes = Node(LISTED[0]), Node(LISTED[1])
        devices, host = MediatedDevices(), Host(*nodes)
        for taken, expected in (
            ({FIRST}, (True, False)),
            ({FIRST, SECOND}, (True, True)),
            ({SECOND}, (False, True)),
            (set(), (False, False)),
        ):
            for _ in range(2):
                devices.tend(host, taken)
            self.assertEqual(expected, (first.active, second.active))

    def test_a_device_that_is_in_use_after_all_stays(self) -> None:
        node = Node(LISTED[0], busy=True)
        node.create()
        MediatedDevices().tend(Host(node), set())
        self.assertTrue(node.active)
