"""Guests' files: made from images that are what they say, or not at all, and removed whole."""

import threading
import time
from pathlib import Path

import msgspec

from kilonova.compute.libvirt.disks import Disks
from kilonova.core.errors import BuildAborted, BuildFailed, ImageStoreUnavailable
from kilonova.core.instance import BlockDevice, Wishes
from tests.instances import HOST, instance
from tests.integration.compute.disks_case import DisksCase


class DisksTest(DisksCase):
    """What becomes of images, of any kind."""

    def test_a_disk_is_an_overlay_on_the_image_and_as_large_as_the_flavor_says(self) -> None:
        for data, disk_format in ((b"x" * 512, "raw"), (self.qcow2(), "qcow2")):
            server = self.server(self.images.add(data, disk_format))
            self.disks.prepare(server)
            info = self.info(self.disks.disk(server.uuid))
            self.assertEqual("qcow2", info["format"])
            self.assertEqual(1 << 30, info["virtual-size"])
            self.assertEqual(disk_format, info["backing-filename-format"])
            self.assertIn(str(self.root / "_base"), str(info["backing-filename"]))

    def test_a_flavor_without_a_disk_size_takes_the_images(self) -> None:
        server = self.server(self.images.add(self.qcow2(size="3M"), "qcow2"))
        flavor = msgspec.structs.replace(server.flavor, root_gb=0)
        self.disks.prepare(msgspec.structs.replace(server, flavor=flavor))
        self.assertEqual(3 << 20, self.info(self.disks.disk(server.uuid))["virtual-size"])

    def test_an_image_is_downloaded_once_however_many_builds_want_it_at_once(self) -> None:
        image = self.images.add(b"x" * (4 << 20))
        servers = [self.server(image) for _ in range(6)]
        self.images.hold()
        threads = [threading.Thread(target=self.disks.prepare, args=(one,)) for one in servers]
        for thread in threads:
            thread.start()
        self.images.flow()
        for thread in threads:
            thread.join(20)
        self.assertEqual(1, self.images.downloads)
        self.assertEqual([True] * 6, [self.disks.disk(one.uuid).exists() for one in servers])

    def test_a_cached_image_needs_no_image_store(self) -> None:
        image = self.images.add(b"x" * 512)
        self.disks.prepare(self.server(image))
        self.images.go()
        self.disks.prepare(self.server(image))
        Disks(self.root, self.images.client, HOST).prepare(self.server(image))

    def test_the_config_drive_is_there_if_it_was_asked_for(self) -> None:
        image = self.images.add(b"x" * 512)
        with_one = self.server(image, wishes=Wishes(config_drive=True))
        without = self.server(image)
        for server in (with_one, without):
            self.disks.prepare(server)
            self.disks.write_config_drive(server, ())
        drive = self.disks.config_drive(with_one.uuid).read_bytes()
        self.assertEqual(b"config-2", drive[32808:32816])
        self.assertFalse(self.disks.config_drive(without.uuid).exists())

    def test_preparing_may_be_repeated(self) -> None:
        server = self.server(self.images.add(b"x" * 512), wishes=Wishes(config_drive=True))
        for _ in range(2):
            self.disks.prepare(server)
            self.disks.write_config_drive(server, ())
        self.assertEqual((server.uuid,), self.disks.uuids())

    def test_removing_leaves_nothing_and_may_be_repeated(self) -> None:
        server = self.server(self.images.add(b"x" * 512))
        self.disks.prepare(server)
        for _ in range(2):
            self.disks.remove(server.uuid)
            self.assertEqual((), self.disks.uuids())

    def test_a_server_without_an_image_is_built_nowhere(self) -> None:
        self.assertRaises(BuildAborted, self.disks.prepare, self.server(None))

    def test_an_image_of_a_kind_that_is_not_run_is_built_nowhere(self) -> None:
        error = self.refused(BuildAborted, self.images.add(b"x", "vmdk"))
        self.assertIn("vmdk", error.message)

    def test_an_image_that_is_not_what_it_says_is_built_nowhere(self) -> None:
        self.refused(BuildAborted, self.images.add(b"this is no qcow2" * 64, "qcow2"))
        error = self.refused(BuildAborted, self.images.add(self.qcow2(), "raw"))
        self.assertIn("is qcow2", error.message)
        self.assertEqual([], self.cached())

    def test_an_image_that_reaches_for_another_file_is_built_nowhere(self) -> None:
        secret = self.directory / "secret"
        secret.write_bytes(b"of the host" * 4096)
        backed = self.qcow2("-b", str(secret), "-F", "raw")
        self.refused(BuildAborted, self.images.add(backed, "qcow2"))
        outside = self.qcow2("-o", f"data_file={secret},data_file_raw=on", size="64k")
        self.refused(BuildAborted, self.images.add(outside, "qcow2"))
        self.assertEqual([], self.cached())

    def test_an_image_that_is_larger_than_the_disk_is_built_nowhere(self) -> None:
        error = self.refused(BuildAborted, self.images.add(self.qcow2(size="2G"), "qcow2"))
        self.assertIn(str(2 << 30), error.message)

    def test_an_image_whose_header_makes_no_sense_is_built_nowhere(self) -> None:
        good = self.qcow2()
        encrypted = good[:32] + (1).to_bytes(4, "big") + good[36:]
        endless = good[:16] + (1 << 20).to_bytes(4, "big") + good[20:]
        for data in (good[:4], good[:71], encrypted, endless, b"QFI\xfb" + b"\xff" * 4096):
            self.refused(BuildAborted, self.images.add(data, "qcow2"))
        self.assertEqual([], self.cached())

    def test_an_image_of_tables_beyond_measure_is_refused_without_reading_them(self) -> None:
        # It says that it is a disk of 2 PiB, whose table has 4 M entries at its end.
        good = self.qcow2()
        lie = good[:24] + (2 << 50).to_bytes(8, "big") + (4 << 20).to_bytes(4, "big") + good[36:]
        self.refused(BuildAborted, self.images.add(lie, "qcow2"))

    def test_a_raw_image_that_another_program_would_take_for_more_is_built_nowhere(self) -> None:
        descriptor = b'# Disk DescriptorFile\nversion=1\nRW 8 FLAT "/etc/passwd" 0\n'
        for head in (descriptor, b"KDMV", b"conectix", b"vhdxfile", b"QED\0", b"LUKS\xba\xbe"):
            error = self.refused(BuildAborted, self.images.add(head.ljust(4096, b"\0"), "raw"))
            self.assertIn("says raw and is", error.message)

    def test_an_image_that_arrives_broken_may_be_built_elsewhere(self) -> None:
        image = self.images.add(b"x" * 4096)
        self.images.path(image).write_bytes(b"y" * 4096)
        error = self.refused(BuildFailed, image)
        self.assertIn("checksum", error.message)
        self.assertEqual([], self.cached())

    def test_an_image_that_changes_while_it_arrives_is_not_kept(self) -> None:
        image = self.images.add(b"x" * (2 << 20))
        path = self.images.path(image)
        half = b"x" * (1 << 20)
        for data, words in (
            (half, "its checksum differs"),
            (half + b"y" * (1 << 20), "its checksum differs"),
            (half * 3, "it is too long"),
        ):
            path.write_bytes(data)
            error = self.refused(BuildFailed, image)
            self.assertIn(f"arrived broken: {words}", error.message)
        self.assertEqual([], self.cached())

    def test_ephemeral_and_swap_disks_are_made_as_the_flavor_says(self) -> None:
        server = self.server(self.images.add(b"x" * 512))
        flavor = msgspec.structs.replace(server.flavor, ephemeral_gb=2, swap_mb=64)
        server = msgspec.structs.replace(server, flavor=flavor)
        for _ in range(2):
            self.disks.prepare(server)
        ephemeral, swap = (Path(file.path) for file in self.disks.local(server))
        self.assertEqual((2 << 30, 64 << 20), (ephemeral.stat().st_size, swap.stat().st_size))
        self.assertGreater(64 << 20, ephemeral.stat().st_blocks * 512, "it takes room when filled")
        with ephemeral.open("rb") as file:
            file.seek(1024 + 56)
            self.assertEqual(b"\x53\xef", file.read(2), "an ext file system")
            file.seek(1024 + 120)
            self.assertEqual(b"ephemeral0", file.read(16).rstrip(b"\0"))
        self.assertEqual(b"SWAPSPACE2", swap.read_bytes()[4086:4096])

    def test_ephemeral_disks_are_made_as_the_request_says(self) -> None:
        server = self.server(self.images.add(b"x" * 512))
        blank = BlockDevice(source_type="blank", destination_type="local", volume_size=1)
        dos = msgspec.structs.replace(blank, guest_format="vfat")
        flavor = msgspec.structs.replace(server.flavor, ephemeral_gb=2)
        server = msgspec.structs.replace(
            server, flavor=flavor, wishes=Wishes(block_devices=(blank, dos))
        )
        self.disks.prepare(server)
        first, second = (Path(file.path) for file in self.disks.local(server))
        with first.open("rb") as file:
            file.seek(1024 + 56)
            self.assertEqual(b"\x53\xef", file.read(2))
        with second.open("rb") as file:
            self.assertIn(b"EPHEMERAL1", file.read(512))

    def test_a_disk_that_cannot_be_formatted_may_be_built_elsewhere(self) -> None:
        server = self.server(self.images.add(b"x" * 512))
        flavor = msgspec.structs.replace(server.flavor, swap_mb=1)
        server = msgspec.structs.replace(server, flavor=flavor)
        self.disks.make_directory(server.uuid)
        (self.root / server.uuid / "swap.raw").mkdir()
        self.assertRaises(BuildFailed, self.disks.prepare, server)

    def test_an_image_that_was_deleted_is_built_nowhere(self) -> None:
        image = self.images.add(b"x" * 512)
        self.images.forget(image)
        self.refused(BuildAborted, image)

    def test_an_image_store_that_is_away_is_not_an_image_that_is_broken(self) -> None:
        image = self.images.add(b"x" * 512)
        self.images.go()
        self.refused(ImageStoreUnavailable, image)
        self.images.come()
        self.disks.prepare(self.server(image))

    def test_a_full_disk_is_not_an_image_store_that_is_away(self) -> None:
        image = self.images.add(b"x" * (4 << 20))
        cache = self.root / "_base"
        # Whatever is written there finds no space left.
        partial = cache / f"{image.image_id}-{image.hash_value[:16]}.part"
        partial.symlink_to("/dev/full")
        error = self.refused(BuildFailed, image)
        self.assertIn("No space left", error.in_full)
        self.assertEqual([], self.cached())
        self.disks.prepare(self.server(image))

    def test_what_a_killed_download_left_is_removed_by_the_next_start(self) -> None:
        image = self.images.add(b"x" * 512)
        self.disks.prepare(self.server(image))
        partial = self.root / "_base" / f"{instance().uuid}-0123456789abcdef.part"
        partial.write_bytes(b"half of")
        Disks(self.root, self.images.client, HOST)
        self.assertEqual([f"{image.image_id}-{image.hash_value[:16]}"], self.cached())

    def test_a_download_that_goes_on_is_left_alone_by_another_start(self) -> None:
        image = self.images.add(b"x" * 512)
        server = self.server(image)
        self.images.hold()
        thread = threading.Thread(target=self.disks.prepare, args=(server,))
        thread.start()
        while not self.images.downloads:
            time.sleep(0.01)
        (partial,) = self.cached()
        Disks(self.root, self.images.client, HOST)
        self.assertEqual([partial], self.cached())
        self.images.flow()
        thread.join(20)
        self.assertTrue(self.disks.disk(server.uuid).exists())

    def test_a_disk_that_cannot_be_written_may_be_built_elsewhere(self) -> None:
        server = self.server(self.images.add(b"x" * 512), wishes=Wishes(config_drive=True))
        self.disks.prepare(server)
        self.disks.config_drive(server.uuid).symlink_to("/dev/full")
        error = self.assertRaises(BuildFailed, self.disks.write_config_drive, server, ())
        self.assertIn("No space left", error.in_full)
        self.disks.disk(server.uuid).unlink()
        self.disks.disk(server.uuid).mkdir()
        error = self.assertRaises(BuildFailed, self.disks.prepare, server)
        self.assertIn("qemu-img create", error.in_full)

    def test_of_a_long_console_only_the_end_is_read(self) -> None:
        server = instance()
        self.disks.make_directory(server.uuid)
        lines = [f"line {number:06}\r\n" for number in range(50_000)]
        self.disks.console_log(server.uuid).write_text("".join(lines), newline="")
        self.assertEqual("".join(lines[-3:]), self.disks.console_tail(server.uuid, 3))
        whole = self.disks.console_tail(server.uuid, None)
        self.assertEqual(100 << 10, len(whole))
        self.assertTrue(whole.endswith(lines[-1]))
        self.assertEqual(whole, self.disks.console_tail(server.uuid, 1_000_000))

    def test_a_console_of_no_text_can_be_read(self) -> None:
        server = instance()
        self.disks.make_directory(server.uuid)
        self.disks.console_log(server.uuid).write_bytes(b"\xff\xfe boot\rbooting\n\x00ok")
        self.assertEqual("\x00ok", self.disks.console_tail(server.uuid, 1))
