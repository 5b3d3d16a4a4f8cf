"""Volumes of real guests: files that guests boot from, get while they run, see grow, and lose."""

import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec
import testtools

from kilonova.compute.libvirt import volumes
from kilonova.core.errors import BuildFailed
from kilonova.core.instance import BlockDevice, Instance, Wishes
from kilonova.core.volume import Volume
from tests.functional.compute.driver_contract import never
from tests.integration.compute import sectors
from tests.integration.compute.worlds import QemuWorld

ROOT = "7c1b1f5e-9a0b-4a3c-8f2e-1d2c3b4a5968"
DATA = "1d2c3b4a-9a0b-4a3c-8f2e-7c1b1f5e5968"


class VolumesTest(testtools.TestCase):
    """QEMU, and volumes that are files of this machine."""

    def setUp(self) -> None:
        super().setUp()
        self.at = QemuWorld()
        self.addCleanup(self.at.close)
        self.driver = self.at.driver

    def spawned(self, server: Instance) -> Instance:
        """Make a server's guest, and return the server once its guest is up."""
        self.addCleanup(self.driver.destroy, server.uuid)
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        self.until_up(server)
        return server

    def until_up(self, server: Instance) -> None:
        """Wait until a guest says so."""
        deadline = time.monotonic() + 20
        while self.at.console.strip() not in self.driver.console_output(server.uuid, None):
            self.assertLess(time.monotonic(), deadline, "it did not boot")
            time.sleep(0.05)

    def volume(self, volume_id: str, device: str, data: bytes = b"", **more: Any) -> Volume:
        """Have a volume as the block storage service tells of it, connected."""
        path: Path = self.at.directory / f"volume-{volume_id}"
        path.write_bytes(data.ljust(1 << 20, b"\0"))
        path.chmod(0o666)
        said = {"driver_volume_type": "local", "device_path": str(path)}
        volume = Volume(volume_id=volume_id, device=device, connection=said, **more)
        return self.driver.connect_volume(volume)

    def disks(self, server: Instance, *, defined: bool = False) -> list[str | None]:
        """Return the names of a guest's disks, as it runs or as it is defined."""
        connection = libvirt.open(self.at.uri)
        try:
            domain = connection.lookupByUUIDString(server.uuid)
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if defined else 0)
        finally:
            connection.close()
        return [target.get("dev") for target in ET.fromstring(xml).iterfind("devices/disk/target")]

    def size(self, server: Instance, device: str) -> int:
        """Return the bytes of a disk that a guest sees."""
        connection = libvirt.open(self.at.uri)
        try:
            return int(connection.lookupByUUIDString(server.uuid).blockInfo(device)[0])
        finally:
            connection.close()

    def test_a_guest_boots_from_a_volume_and_has_no_disk_here(self) -> None:
        root = BlockDevice(source_type="volume", destination_type="volume", boot_index=0, uuid=ROOT)
        volume = self.volume(ROOT, "/dev/vda", sectors.polite(), boot_index=0)
        server = msgspec.structs.replace(
            self.at.polite("vm"), wishes=Wishes(block_devices=(root,)), volumes=(volume,)
        )
        self.spawned(server)
        self.assertEqual(["vda"], self.disks(server))
        self.assertNotIn(f"{server.uuid}/disk.qcow2", self.at.files())
        self.driver.reboot(server)
        self.driver.destroy(server.uuid)
        self.assertEqual([], self.at.files())

    def test_a_guest_that_runs_gets_a_volume_and_sees_it_grow(self) -> None:
        server = self.spawned(self.at.polite("vm"))
        volume = self.volume(DATA, "/dev/vdb")
        for _ in range(2):
            self.driver.attach_volume(server, volume)
            self.assertEqual(["vda", "vdb"], self.disks(server))
            self.assertEqual(["vda", "vdb"], self.disks(server, defined=True))
        self.assertEqual(1 << 20, self.size(server, "vdb"))
        self.driver.extend_volume(server, msgspec.structs.replace(volume, size_gb=1))
        self.assertEqual(1 << 30, self.size(server, "vdb"))

    def test_a_guest_that_is_off_gets_and_loses_a_volume(self) -> None:
        server = self.spawned(self.at.polite("vm"))
        self.driver.stop(server.uuid, 0, never)
        volume = self.volume(DATA, "/dev/vdb")
        self.driver.attach_volume(server, volume)
        self.driver.start(server.uuid)
        self.assertEqual(["vda", "vdb"], self.disks(server))
        self.driver.stop(server.uuid, 0, never)
        for _ in range(2):
            self.driver.detach_volume(server, volume)
            self.assertEqual(["vda"], self.disks(server, defined=True))

    def test_a_guest_that_does_not_let_a_volume_go_keeps_it(self) -> None:
        self.patch(volumes, "_LETS_GO", 0.5)
        self.patch(volumes, "_TIMES", 2)
        server = self.spawned(self.at.deaf("vm"))
        volume = self.volume(DATA, "/dev/vdb")
        self.driver.attach_volume(server, volume)
        self.assertRaises(BuildFailed, self.driver.detach_volume, server, volume)
        self.assertEqual(["vda", "vdb"], self.disks(server))
        self.assertEqual(["vda", "vdb"], self.disks(server, defined=True))

    def test_a_volume_is_copied_to_another_while_the_guest_runs(self) -> None:
        server = self.spawned(self.at.polite("vm"))
        old = self.volume(DATA, "/dev/vdb", b"what is on it")
        self.driver.attach_volume(server, old)
        new = self.volume(ROOT, "/dev/vdb")
        self.driver.swap_volume(server, old, new)
        path = self.at.directory / f"volume-{ROOT}"
        self.assertTrue(path.read_bytes().startswith(b"what is on it"))
        self.assertEqual(["vda", "vdb"], self.disks(server, defined=True))
