"""What becomes of a guest's XML when it moves to another host while it runs."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt import carried, live_copy, moved_xml
from kilonova.compute.libvirt.domain_xml import place_xml
from kilonova.compute.libvirt.elements.place import Pins, Place
from kilonova.core.instance import Plug
from kilonova.core.migration import Berth
from tests.instances import instance
from tests.unit.rpc.network_values import NIC

XML = """
<domain type="kvm">
  <metadata><k:instance xmlns:k="urn:k"><k:epoch>3</k:epoch></k:instance></metadata>
  <cputune>
    <shares>512</shares><vcpupin vcpu="0" cpuset="2-3,6"/><emulatorpin cpuset="1"/>
  </cputune>
  <cpu mode="custom"><model>Nehalem</model><topology sockets="1"/><feature name="vmx"/></cpu>
  <os><nvram template="/usr/share/OVMF/VARS.fd">/old/one/variables.fd</nvram></os>
  <devices>
    <disk type="file" device="disk">
      <source file="/old/one/disk.qcow2"/>
      <backingStore type="file"><source file="/old/_base/image"/></backingStore>
      <target dev="vda"/>
    </disk>
    <disk type="file" device="disk">
      <source file="/old/one/config-drive.iso"/><target dev="vdb"/><readonly/>
    </disk>
    <disk type="block" device="disk">
      <source dev="/dev/mapper/volume"/><target dev="vdc"/><alias name="ua-7c1b"/>
    </disk>
    <disk type="file" device="disk"><source file="/old/other/disk.raw"/><target dev="vdd"/></disk>
    <serial type="unix">
      <source mode="bind" path="/old/one/console.sock"/><log file="/old/one/console.log"/>
    </serial>
  </devices>
</domain>
"""

PINNED = """
<domain type="kvm">
  <vcpu placement="static" cpuset="0-1">4</vcpu>
  <memoryBacking><hugepages><page size="2048" unit="KiB" nodeset="0"/></hugepages><locked/></memoryBacking>
  <numatune>
    <memory mode="strict" nodeset="1"/><memnode cellid="0" mode="strict" nodeset="1"/>
  </numatune>
  <cputune>
    <shares>512</shares><vcpupin vcpu="2" cpuset="8"/><vcpupin vcpu="3" cpuset="9"/>
    <emulatorpin cpuset="8-9"/>
  </cputune>
  <devices/>
</domain>
"""


def berth(**more: Any) -> Berth:
    """Return a berth whose guest's files are in another directory."""
    plain = Berth(address="", port=0, fingerprint="", token="", directory="/new/one")
    return msgspec.structs.replace(plain, **more)


def canonical(xml: str) -> str:
    """Return XML without what does not count in it."""
    return ET.canonicalize(xml, strip_text=True)


class MovedTest(testtools.TestCase):
    """Files are where they are on the new host; what is the old host's own is left out."""

    def test_files_of_the_guest_are_elsewhere_and_nothing_else_is(self) -> None:
        domain = ET.fromstring(moved_xml.moved(XML, "/old/one", berth()))
        sources = [dict(found.attrib) for found in domain.iterfind("devices/disk/source")]
        self.assertEqual(
            [
                {"file": "/new/one/disk.qcow2"},
                {"file": "/new/one/config-drive.iso"},
                {"dev": "/dev/mapper/volume"},
                {"file": "/old/other/disk.raw"},
            ],
            sources,
        )
        self.assertEqual("/new/one/variables.fd", domain.findtext("os/nvram"))
        self.assertEqual("/new/one/console.log", domain.find("devices/serial/log").get("file"))
        self.assertEqual("/new/one/console.sock", domain.find("devices/serial/source").get("path"))
        self.assertEqual("3", domain.findtext("metadata/{urn:k}instance/{urn:k}epoch"))

    def test_a_card_is_plugged_in_as_its_port_is_there_and_looks_the_same_to_the_guest(
        self,
    ) -> None:
        card = """<interface type="bridge"><mac address="fa:16:3e:00:00:05"/>
            <source bridge="qbr3c1f5b52-7a"/><target dev="tap3c1f5b52-7a"/>
            <model type="virtio"/><mtu size="1450"/><alias name="net0"/>
            <address type="pci" bus="0x01"/></interface>"""
        other = card.replace("00:05", "00:06")
        xml = XML.replace("</devices>", f"{card}{other}</devices>")
        plug = Plug(kind="ovs", bridge="br-x", device="tap3c1f5b52-7a")
        there = msgspec.structs.replace(NIC, mac="fa:16:3e:00:00:05", mtu=1450, plug=plug)
        domain = ET.fromstring(moved_xml.moved(xml, "/old", berth(nics=(there,))))
        moved, kept = domain.iterfind("devices/interface")
        expected = f"""<interface type="bridge"><mac address="fa:16:3e:00:00:05"/>
            <model type="virtio"/><alias name="net0"/><address type="pci" bus="0x01"/>
            <source bridge="br-x"/><virtualport type="openvswitch">
            <parameters interfaceid="{NIC.port_id}"/></virtualport>
            <target dev="tap3c1f5b52-7a"/><mtu size="1450"/></interface>"""
        self.assertEqual(canonical(expected), canonical(ET.tostring(moved, encoding="unicode")))
        self.assertEqual(canonical(other), canonical(ET.tostring(kept, encoding="unicode")))

    def test_the_old_hosts_images_and_cpus_are_not_named(self) -> None:
        said = moved_xml.moved(XML, "/old/one", berth())
        for word in ("backingStore", "vcpupin", "emulatorpin"):
            self.assertNotIn(word, said)
        self.assertIn("512", said)

    def test_volumes_are_where_the_new_host_has_them(self) -> None:
        volumes = {"7c1b": "/dev/sdq", "9a0b": "/dev/sdr"}
        said = moved_xml.moved(XML, "/old/one", berth(volumes=volumes))
        sources = [
            dict(found.attrib) for found in ET.fromstring(said).iterfind("devices/disk/source")
        ]
        self.assertEqual({"dev": "/dev/sdq"}, sources[2])
        self.assertNotIn("/dev/sdr", said)

    def test_disks_that_can_be_written_move_and_the_others_are_brought(self) -> None:
        self.assertEqual(
            (moved_xml.MovedDisk("vda", "/old/one/disk.qcow2"),),
            moved_xml.moving_disks(XML, "/old/one"),
        )
        self.assertEqual(("config-drive.iso",), moved_xml.fixed_files(XML, "/old/one"))

    def test_a_guest_has_of_its_new_host_what_that_picked_and_keeps_the_rest(self) -> None:
        specs = {
            "hw:cpu_policy": "mixed",
            "hw:cpu_dedicated_mask": "2-3",
            "hw:mem_page_size": "1GB",
            "quota:cpu_shares": "512",
        }
        flavor = msgspec.structs.replace(instance().flavor, vcpus=4, extra_specs=specs)
        pins = Pins(
            cpus={2: 1, 3: 2},
            shared=frozenset({4, 5}),
            emulator=frozenset({6}),
            cells={0: 0},
            pages={0: 1 << 20},
        )
        place = Place(virt_type="", arch="", console_log="", pins=pins)
        said = place_xml(instance(flavor=flavor), place)
        for name, there in (("pinned", said), ("shared", "")):
            golden = (Path(__file__).parent / "moved" / f"{name}.xml").read_text()
            moved = moved_xml.moved(PINNED, "/old/one", berth(place=there))
            self.assertEqual(canonical(golden), canonical(moved), name)

    def test_processors_are_compared_without_their_arrangement(self) -> None:
        said = moved_xml.cpu_of(XML)
        self.assertIn("vmx", said)
        self.assertNotIn("topology", said)
        self.assertIsNone(moved_xml.cpu_of('<domain><cpu mode="maximum"/></domain>'))

    def test_a_copy_is_of_one_disk_alone(self) -> None:
        self.assertEqual("vda", live_copy.target_of(XML, "/old/one/disk.qcow2"))
        self.assertIsNone(live_copy.target_of(XML, "/old/one/disk"))
        asked = ET.fromstring(live_copy.backup_xml(XML, "vda", "/old/one/<copy>"))
        wanted = {disk.get("name"): disk.get("backup") for disk in asked.iterfind("disks/disk")}
        self.assertEqual({"vda": "yes", "vdb": "no", "vdc": "no", "vdd": "no"}, wanted)
        self.assertEqual("/old/one/<copy>", asked.find("disks/disk/target").get("file"))

    def test_only_a_libvirt_of_this_host_is_reached_by_its_socket(self) -> None:
        named = "qemu+unix:///system?socket=/run/of%20mine/sock"
        self.assertEqual("/run/of mine/sock", carried.socket_of(named))
        self.assertEqual("/system", carried.instance_of(named))
        for uri in ("qemu+tls://other/system", "test:///default", "qemu+ssh://root@other/system"):
            self.assertIsNone(carried.socket_of(uri))
            self.assertEqual("", carried.instance_of(uri))
