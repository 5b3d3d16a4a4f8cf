"""Volumes of real guests: files that guests boot from, get while they run, see grow, and lose."""

import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec
import testtools

from kilonova.compute.libvirt import volumes
from kilonova.compute.libvirt.tool import run
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


class FilesTest(testtools.TestCase):
    """A volume of four files, each with the next behind it, of a guest that runs and of one that is off."""

    def setUp(self) -> None:
        super().setUp()
        self.at = QemuWorld()
        self.addCleanup(self.at.close)
        self.server = self.at.polite("vm")
        self.addCleanup(self.at.driver.destroy, self.server.uuid)
        self.at.driver.prepare_disks(self.server)
        self.at.driver.spawn(self.server)

    def file(self, name: str, behind: str | None = None) -> None:
        """Make a file; each has its number written into a block of its own."""
        path = self.at.directory / name
        kind = "raw" if behind is None else "qcow2"
        onto = () if behind is None else ("-b", behind, "-F", "raw" if behind == "0" else "qcow2")
        run("qemu-img", "create", "-q", "-f", kind, *onto, str(path), "1M")
        run("qemu-io", "-f", kind, "-c", f"write -P {int(name) + 1} {name}k 1k", str(path))
        path.chmod(0o666)

    def volume(self) -> Volume:
        """Return a guest's volume that has come to have files 0, 1, 2 and 3, the last in use."""
        # At first: QEMU locks what a guest has.
        self.file("0")
        for number in range(1, 4):
            self.file(str(number), str(number - 1))
        said = {"driver_volume_type": "local", "device_path": str(self.at.directory / "0")}
        told = Volume(volume_id=DATA, device="/dev/vdb", connection=said)
        volume = self.at.driver.connect_volume(told)
        self.at.driver.attach_volume(self.server, volume)
        for number in range(1, 4):
            self.at.driver.snapshot_volume(self.server, volume, str(number))
        return volume

    def behind(self, name: str) -> list[str]:
        """Return the names of the files behind one, as they say themselves."""
        found: list[str] = []
        while name != "0":
            path = str(self.at.directory / name)
            told = json.loads(run("qemu-img", "info", "-U", "--output=json", path))
            if "backing-filename" not in told:
                break
            name = Path(told["backing-filename"]).name
            found.append(name)
        return found

    def content(self, name: str) -> bytes:
        """Return what a guest reads of a file."""
        copy = self.at.directory / "copy"
        path = str(self.at.directory / name)
        run("qemu-img", "convert", "-q", "-U", "-O", "raw", path, str(copy))
        return copy.read_bytes()[: 4 << 10]

    def check(self, *, runs: bool, files: tuple[str | None, str | None], left: list[str]) -> None:
        """Merge files, and be sure that the guest has the same data in the files that are left."""
        if not runs:
            self.at.driver.stop(self.server.uuid, 0, never)
        volume = self.volume()
        whole = b"".join(bytes([number]) * 1024 for number in range(1, 5))
        self.assertEqual((["2", "1", "0"], whole), (self.behind("3"), self.content("3")))
        self.at.driver.merge_snapshot(self.server, volume, files)
        self.assertEqual((left, whole), (self.behind("3"), self.content("3")))
        if not runs:
            self.at.driver.start(self.server.uuid)
            self.assertRaises(
                BuildFailed, self.at.driver.merge_snapshot, self.server, volume, ("9", "8")
            )
            self.at.driver.stop(self.server.uuid, 0, never)
            for wrong in (("9", "8"), ("0", "1"), ("3", "0")):
                self.assertRaises(
                    BuildFailed, self.at.driver.merge_snapshot, self.server, volume, wrong
                )
            self.assertEqual((left, whole), (self.behind("3"), self.content("3")))

    def test_a_file_is_merged_into_the_one_behind_it_while_the_guest_runs(self) -> None:
        self.check(runs=True, files=("2", "1"), left=["1", "0"])

    def test_a_file_is_merged_into_the_one_behind_it_of_a_guest_that_is_off(self) -> None:
        self.check(runs=False, files=("2", "1"), left=["1", "0"])

    def test_files_are_merged_into_the_one_in_use_while_the_guest_runs(self) -> None:
        self.check(runs=True, files=("1", None), left=["1", "0"])

    def test_files_are_merged_into_the_one_in_use_of_a_guest_that_is_off(self) -> None:
        self.check(runs=False, files=("1", None), left=["1", "0"])

    def test_all_files_become_one_while_the_guest_runs(self) -> None:
        self.check(runs=True, files=(None, None), left=[])

    def test_all_files_become_one_of_a_guest_that_is_off(self) -> None:
        self.check(runs=False, files=(None, None), left=[])
