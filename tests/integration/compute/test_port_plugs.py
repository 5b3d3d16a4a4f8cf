"""Guests plugged into ports on a real host: its bridges, and real switches of Open vSwitch's."""

import json
from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.compute.libvirt.driver import LibvirtDriver
from kilonova.core.errors import BuildFailed
from kilonova.core.instance import Instance, Nic, Plug
from tests.functional.compute.driver_contract import never
from tests.integration import services
from tests.integration.compute.networked import NetworkedWorld, in_network
from tests.integration.services.process import CommandFailed

NETWORK = "8b0a9c5e-0e0c-4f0e-9a53-5d0a4d9e6c11"
SWITCH = Plug(kind="ovs", bridge="br-int", datapath="netdev")


class PortsWorld(NetworkedWorld):
    """QEMU, on a host whose guests are plugged into ports."""

    name = "ports"

    def new_driver(self) -> LibvirtDriver:
        """See ``LibvirtWorld``."""
        self._file.write_text(f"{self.options}[network]\nprovider = neutron\n")
        return super(NetworkedWorld, self).new_driver()

    def links(self) -> set[str]:
        """Return the host's links beside loopback and what belongs to its switches themselves."""
        listed = json.loads(self.inside("ip", "-json", "link"))
        own = {"lo", "ovs-netdev", "br-int"}
        return {link["ifname"] for link in listed} - own


class InNetwork:
    """A driver whose methods, but for what fetches images, are called in a network."""

    def __init__(self, driver: LibvirtDriver, network: Path) -> None:
        self._driver = driver
        self._network = network

    def __getattr__(self, name: str) -> Any:
        """Return a method."""
        method = getattr(self._driver, name)
        if name == "prepare_disks":
            return method

        def called(*arguments: Any) -> Any:
            with in_network(self._network):
                return method(*arguments)

        return called


class PortPlugsTest(testtools.TestCase):
    """One host. Its guests hear nothing, and obey only force."""

    def setUp(self) -> None:
        super().setUp()
        self.at = PortsWorld()
        self.addCleanup(self.at.close)
        self.switch = services.open_vswitch(self.at.name)
        self.driver = self.inside(self.at.driver)

    def inside(self, driver: LibvirtDriver) -> Any:
        """Return a driver that works in the host's network, as its service does; images come from here."""
        return InNetwork(driver, self.at.networked.network)

    def card(self, number: int, plug: Plug, **changed: Any) -> Nic:
        """Return the card of a port."""
        port = f"{number:08x}-7a7e-4b0e-8c7a-0f6f5f1c2d3e"
        plain = Nic(
            network="net", network_id=NETWORK, mac=f"fa:16:3e:00:00:{number:02x}",
            address=f"192.0.2.{number}", prefix=24, gateway="", dns="", port_id=port,
            plug=msgspec.structs.replace(plug, device=f"tap{port[:11]}"),
        )  # fmt: skip
        return msgspec.structs.replace(plain, **changed)

    def spawned(self, *nics: Nic) -> Instance:
        """Make a guest with cards."""
        server = msgspec.structs.replace(self.at.deaf("vm"), nics=nics)
        self.addCleanup(self.driver.destroy, server.uuid)
        self.assertEqual(nics, self.driver.prepare_networks(server))
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        return server

    def on_bridge(self, bridge: str) -> set[str]:
        """Return the links that a bridge connects."""
        listed = json.loads(self.at.inside("ip", "-json", "link", "show", "master", bridge))
        return {link["ifname"] for link in listed}

    def test_a_network_that_is_new_here_gets_its_bridge_with_its_mtu_and_no_address(self) -> None:
        nic = self.card(1, Plug(kind="bridge"), mtu=1400)
        self.spawned(nic)
        bridge = f"brq{NETWORK[:11]}"
        self.assertEqual({nic.plug.device}, self.on_bridge(bridge))
        (link,) = json.loads(self.at.inside("ip", "-json", "address", "show", bridge))
        self.assertEqual((1400, []), (link["mtu"], link["addr_info"]))
        self.addCleanup(self.at.inside, "ip", "link", "del", bridge)
        # Where it is already, it is used as it is.
        self.driver.prepare_networks(msgspec.structs.replace(self.at.deaf("other"), nics=(nic,)))

    def test_a_port_of_a_switch_is_there_while_its_guest_runs(self) -> None:
        nic = self.card(2, SWITCH)
        server = self.spawned(nic)
        self.assertEqual({nic.plug.device: nic.port_id}, self.switch.ports())
        self.assertEqual(
            "netdev", self.switch.vsctl("get", "Bridge", "br-int", "datapath_type")[:-1]
        )
        self.driver.stop(server.uuid, 0, never)
        self.assertEqual({}, self.switch.ports())
        self.driver.start(server.uuid)
        self.assertEqual({nic.plug.device: nic.port_id}, self.switch.ports())
        self.driver.destroy(server.uuid)
        self.assertEqual(({}, set()), (self.switch.ports(), self.at.links()))

    def hybrid(self, number: int) -> Nic:
        """Return a card behind a firewall of iptables'."""
        return self.card(number, msgspec.structs.replace(SWITCH, hybrid=True))

    def parts(self, nic: Nic) -> set[str]:
        """Return the links of such a card while its guest runs."""
        return {nic.plug.device} | {f"{kind}{nic.port_id[:11]}" for kind in ("qbr", "qvb", "qvo")}

    def test_a_card_behind_a_firewall_of_iptables_has_a_bridge_of_its_own_that_goes_with_it(
        self,
    ) -> None:
        nic = self.hybrid(3)
        server = self.spawned(nic)
        self.assertEqual(self.parts(nic), self.at.links())
        ours = {nic.plug.device, f"qvb{nic.port_id[:11]}"}
        self.assertEqual(ours, self.on_bridge(f"qbr{nic.port_id[:11]}"))
        self.assertEqual({f"qvo{nic.port_id[:11]}": nic.port_id}, self.switch.ports())
        more = self.hybrid(4)
        self.driver.attach_interface(server, more)
        self.assertEqual(self.parts(nic) | self.parts(more), self.at.links())
        self.assertEqual(2, len(self.driver.guests()[server.uuid].nics))
        self.driver.stop(server.uuid, 0, never)
        self.driver.detach_interface(server.uuid, more.port_id)
        self.assertEqual(self.parts(nic) - {nic.plug.device}, self.at.links())
        self.driver.destroy(server.uuid)
        self.assertEqual(({}, set()), (self.switch.ports(), self.at.links()))

    def test_a_host_that_was_switched_off_connects_its_guests_anew(self) -> None:
        nic = self.hybrid(5)
        server = self.spawned(nic)
        for begin in (
            lambda: self.driver.start(server.uuid),
            lambda: self.driver.reboot(server),
        ):
            self.driver.stop(server.uuid, 0, never)
            for kind in ("qbr", "qvb"):
                self.at.inside("ip", "link", "del", f"{kind}{nic.port_id[:11]}")
            begin()
            self.assertEqual(self.parts(nic), self.at.links())

    def test_a_card_that_cannot_be_attached_leaves_nothing(self) -> None:
        server = self.spawned()
        bad = self.hybrid(6)
        bad = msgspec.structs.replace(
            bad, plug=msgspec.structs.replace(bad.plug, device="a-name-of-more-than-15")
        )
        self.assertRaises(BuildFailed, self.driver.attach_interface, server, bad)
        unknown = self.card(7, Plug(kind="vhostuser"))
        error = self.assertRaises(BuildFailed, self.driver.attach_interface, server, unknown)
        self.assertIn("vhostuser", error.message)
        self.assertEqual(({}, set()), (self.switch.ports(), self.at.links()))
        self.assertEqual((), self.driver.guests()[server.uuid].nics)

    def test_a_guest_that_cannot_be_made_leaves_nothing(self) -> None:
        nic = self.hybrid(8)
        server = msgspec.structs.replace(self.at.deaf("vm"), nics=(nic,))
        (self.at.instances / server.uuid / "console.log").mkdir(parents=True)
        self.driver.prepare_networks(server)
        self.driver.prepare_disks(server)
        self.assertRaises(BuildFailed, self.driver.spawn, server)
        # Whoever finds it is a later run of the service.
        self.driver.close()
        self.at.driver = self.at.new_driver()
        self.driver = self.inside(self.at.driver)
        self.driver.destroy(server.uuid)
        self.assertEqual(({}, set()), (self.switch.ports(), self.at.links()))
        self.assertRaises(CommandFailed, self.at.inside, "ip", "link", "show", nic.plug.device)
