"""The XML of volumes, and what a host makes of the block storage service's words."""

import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.domain_xml import domain_xml
from kilonova.compute.libvirt.elements.volumes import volume_xml
from kilonova.compute.libvirt.volume_files import is_merged
from kilonova.compute.libvirt.volumes import reached
from kilonova.core.errors import BuildFailed
from kilonova.core.instance import BlockDevice, Wishes
from kilonova.core.volume import Volume
from tests.unit.compute.test_domain_xml import PLACE, UUID, canonical, server

ID = "7c1b1f5e-9a0b-4a3c-8f2e-1d2c3b4a5968"
RBD = {
    "driver_volume_type": "rbd",
    "name": "volumes/volume-7c1b",
    "hosts": ["192.0.2.1", "192.0.2.2"],
    "ports": ["6789", "6789"],
    "auth_enabled": True,
    "auth_username": "cinder",
    "secret_uuid": UUID,
    "discard": True,
    "qos_specs": {"read_iops_sec": "100", "maker": "x"},
    "access_mode": "rw",
}


class ElementTest(testtools.TestCase):
    """One element for each kind."""

    def assert_xml(self, expected: str, volume: Volume) -> None:
        """Assert that a volume's element is this, but for white space."""
        self.assertEqual(canonical(expected), canonical(volume_xml(volume)))

    def test_an_image_in_a_network(self) -> None:
        volume = Volume(volume_id=ID, device="/dev/vdb", connection=reached(RBD), multiattach=True)
        self.assert_xml(
            f"""
            <disk type="network" device="disk">
              <driver name="qemu" type="raw" cache="none" discard="unmap"/>
              <source protocol="rbd" name="volumes/volume-7c1b">
                <host name="192.0.2.1" port="6789"/>
                <host name="192.0.2.2" port="6789"/>
              </source>
              <auth username="cinder"><secret type="ceph" uuid="{UUID}"/></auth>
              <target dev="vdb" bus="virtio"/>
              <iotune><read_iops_sec>100</read_iops_sec></iotune>
              <serial>7c1b1f5e-9a0b-4a3c-8</serial>
              <shareable/>
              <alias name="ua-{ID}"/>
            </disk>
            """,
            volume,
        )

    def test_a_file_of_a_mounted_export_on_a_bus_that_was_asked_for(self) -> None:
        with tempfile.NamedTemporaryFile(suffix="<&'\".img") as file:
            said = {"driver_volume_type": "nfs", "format": "qcow2", "access_mode": "ro"}
            here = reached(said, file.name)
            volume = Volume(volume_id=ID, device="/dev/sda", bus="scsi", connection=here)
            disk = ET.fromstring(volume_xml(volume))
            source, driver, target = (disk.find(tag) for tag in ("source", "driver", "target"))
            assert source is not None and driver is not None and target is not None
            self.assertEqual(("file", "disk"), (disk.get("type"), disk.get("device")))
            self.assertEqual(file.name, source.get("file"))
            self.assertEqual("qcow2", driver.get("type"))
            self.assertEqual(("sda", "scsi"), (target.get("dev"), target.get("bus")))
            self.assertIsNotNone(disk.find("readonly"))

    def test_files_count_as_merged_when_the_chain_says_so(self) -> None:
        for chain, files, expected in (
            (["two", "base"], ("one", "base"), True),
            (["two", "one", "base"], ("one", "base"), False),
            (["two", "base"], ("base", None), True),
            (["two", "one", "base"], ("base", None), False),
            (["two"], (None, None), True),
            (["two", "base"], (None, None), False),
        ):
            self.assertEqual(expected, is_merged(chain, files), (chain, files))

    def test_what_a_host_cannot_have_is_refused(self) -> None:
        nowhere = str(Path(tempfile.gettempdir()) / "nowhere" / "at-all")
        for said in (
            RBD | {"encrypted": True},
            {"driver_volume_type": "strange"},
            {"driver_volume_type": "local", "device_path": nowhere},
        ):
            self.assertRaises(BuildFailed, reached, said)


class GuestTest(testtools.TestCase):
    """Volumes among the other disks of a guest."""

    def test_a_guest_that_boots_from_a_volume_has_no_disk_of_its_hosts(self) -> None:
        root = BlockDevice(source_type="volume", destination_type="volume", boot_index=0, uuid=ID)
        volume = Volume(volume_id=ID, device="/dev/vda", boot_index=0, connection=reached(RBD))
        guest = server(wishes=Wishes(block_devices=(root,)), volumes=(volume,))
        place = msgspec.structs.replace(PLACE, disk=None, config_drive="/drive.iso")
        targets = ET.fromstring(domain_xml(guest, place)).iterfind("devices/disk/target")
        self.assertEqual(["vda", "vdb"], [target.get("dev") for target in targets])

    def test_disks_take_the_names_that_volumes_leave(self) -> None:
        volume = Volume(volume_id=ID, device="/dev/vdb", connection=reached(RBD))
        place = msgspec.structs.replace(PLACE, config_drive="/drive.iso")
        disks = ET.fromstring(domain_xml(server(volumes=(volume,)), place)).findall("devices/disk")
        named = {
            target.get("dev"): disk.findtext("serial")
            for disk in disks
            if (target := disk.find("target")) is not None
        }
        self.assertEqual({"vda": UUID[:20], "vdb": ID[:20], "vdc": "config-2"}, named)
