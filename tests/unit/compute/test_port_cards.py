"""The XML of cards that are ports, and what is told of them in a guest's metadata."""

from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.domain_xml import domain_xml, interface_xml
from kilonova.compute.libvirt.elements.place import Place
from kilonova.core.instance import FixedAddress, Nic, Plug
from kilonova.http.metadata.openstack import Told, meta_data, network_data
from tests.instances import instance

PLACE = Place(virt_type="qemu", arch="x86_64", console_log="/console.log", disk="/disk.qcow2")
PORT = "3c1f5b52-7a7e-4b0e-8c7a-0f6f5f1c2d3e"
FOUR = FixedAddress(address="192.0.2.7", prefix=24, dns=("192.0.2.53", "192.0.2.54"))
SIX = FixedAddress(address="2001:db8::7", prefix=64, dns=("2001:db8::53",))


def nic(kind: str, bridge: str = "", **changed: object) -> Nic:
    """Return the card of a port that is plugged in so."""
    plain = Nic(
        network="net",
        network_id="8b0a9c5e-0e0c-4f0e-9a53-5d0a4d9e6c11",
        mac="fa:16:3e:00:00:05",
        address="192.0.2.7",
        prefix=24,
        gateway="",
        dns="",
        port_id=PORT,
        fixed=(FOUR, SIX),
        plug=Plug(kind=kind, bridge=bridge, device="tap3c1f5b52-7a"),
    )
    return msgspec.structs.replace(plain, **changed)


def card(of: Nic) -> str:
    """Return the interface of a guest that has one such card."""
    xml = domain_xml(instance(), msgspec.structs.replace(PLACE, nics=(of,)))
    found = ET.fromstring(xml).find("devices/interface")
    assert found is not None
    return ET.canonicalize(ET.tostring(found, encoding="unicode"), strip_text=True)


def said(xml: str) -> str:
    """Return XML as ``card`` does."""
    return ET.canonicalize(xml, strip_text=True)


class PlugsTest(testtools.TestCase):
    """One card of each kind."""

    def test_a_port_on_a_bridge_goes_to_the_bridge_of_its_network_or_to_that_which_is_named(
        self,
    ) -> None:
        for of, bridge in ((nic("bridge"), "brq8b0a9c5e-0e"), (nic("bridge", "br-x"), "br-x")):
            expected = f"""<interface type="bridge"><mac address="fa:16:3e:00:00:05"/>
                <source bridge="{bridge}"/><target dev="tap3c1f5b52-7a"/>
                <model type="virtio"/></interface>"""
            self.assertEqual(said(expected), card(of))

    def test_a_port_of_open_vswitch_says_its_id_to_the_switch(self) -> None:
        expected = f"""<interface type="bridge"><mac address="fa:16:3e:00:00:05"/>
            <source bridge="br-int"/>
            <virtualport type="openvswitch"><parameters interfaceid="{PORT}"/></virtualport>
            <target dev="tap3c1f5b52-7a"/><mtu size="1450"/><model type="virtio"/></interface>"""
        self.assertEqual(said(expected), card(nic("ovs", mtu=1450)))

    def test_a_port_behind_a_firewall_of_iptables_has_a_bridge_of_its_own(self) -> None:
        hybrid = Plug(kind="ovs", bridge="br-int", device="tap3c1f5b52-7a", hybrid=True)
        expected = """<interface type="bridge"><mac address="fa:16:3e:00:00:05"/>
            <source bridge="qbr3c1f5b52-7a"/><target dev="tap3c1f5b52-7a"/>
            <model type="virtio"/></interface>"""
        self.assertEqual(said(expected), card(nic("ovs", plug=hybrid)))

    def test_a_tap_has_a_name_and_no_bridge(self) -> None:
        expected = """<interface type="ethernet"><mac address="fa:16:3e:00:00:05"/>
            <target dev="tap3c1f5b52-7a"/><model type="virtio"/></interface>"""
        self.assertEqual(said(expected), card(nic("tap")))

    def test_a_card_that_is_attached_is_as_one_that_was_there_from_the_beginning(self) -> None:
        for kind in ("bridge", "ovs", "tap"):
            attached = interface_xml(instance(), nic(kind), PLACE)
            self.assertEqual(card(nic(kind)), said(attached))


class ToldTest(testtools.TestCase):
    """What a guest reads of its cards."""

    def test_each_address_and_every_name_server_is_told(self) -> None:
        data = network_data([nic("bridge")])
        self.assertEqual(["ipv4_dhcp", "ipv6_dhcp"], [one["type"] for one in data["networks"]])
        self.assertEqual(["tap0", "tap0"], [one["link"] for one in data["networks"]])
        self.assertEqual(
            ["192.0.2.53", "192.0.2.54", "2001:db8::53"],
            [one["address"] for one in data["services"]],
        )

    def test_what_nobody_on_the_network_tells_is_told(self) -> None:
        static = FixedAddress(address="192.0.2.7", prefix=24, gateway="192.0.2.1", given="static")
        lonely = FixedAddress(address="2001:db8::7", prefix=64, given="static")
        slaac = FixedAddress(address="2001:db8:1::7", prefix=64, given="slaac")
        data = network_data([nic("ovs", fixed=(static, lonely, slaac))])
        self.assertEqual("ovs", data["links"][0]["type"])
        told = [
            {k: v for k, v in one.items() if k not in ("id", "link", "network_id")}
            for one in data["networks"]
        ]
        route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}
        four = {"type": "ipv4", "ip_address": "192.0.2.7", "netmask": "255.255.255.0"}
        six = {"type": "ipv6", "ip_address": "2001:db8::7", "netmask": "ffff:ffff:ffff:ffff::"}
        self.assertEqual(
            [four | {"routes": [route]}, six | {"routes": []}, {"type": "ipv6_slaac"}], told
        )

    def test_a_card_without_addresses_is_a_link_and_no_network(self) -> None:
        data = network_data([nic("bridge", address="", fixed=())])
        self.assertEqual((1, []), (len(data["links"]), data["networks"]))

    def test_a_tagged_card_is_found_by_its_tag(self) -> None:
        told = Told(instance=instance(), nics=(nic("bridge"), nic("tap", tag="front")))
        (device,) = meta_data(told)["devices"]
        self.assertEqual(("fa:16:3e:00:00:05", ["front"]), (device["mac"], device["tags"]))
