"""What strangers can send: images that are crafted, words that are code elsewhere, and all that fits."""

import base64
import json
import os
import random
import shutil
import struct
import subprocess
from io import BytesIO

import msgspec
import pycdlib
from testtools.content import text_content

from kilonova.compute.libvirt import image_files
from kilonova.core.errors import BuildAborted, BuildFailed
from kilonova.core.image import Image
from kilonova.core.instance import InjectedFile, Instance, KeyPair, Wishes
from kilonova.core.states import PowerState
from tests.instances import instance
from tests.integration.compute.disks_case import DisksCase
from tests.integration.compute.test_failures import QemuCase
from tests.integration.services.process import NotReady

SECRET = "/etc/passwd"
HOSTILE = "]]>'\"><!--&amp;<disk/>$(reboot)`id`;|\\../../../etc/passwd\u00e9\u202e %s {0}"
CONTROL = "\x00\x01\x1b[2J\r\n\t\x7f"
LONGEST = base64.b64encode(b"#!/bin/sh\n".ljust(49_149, b"#")).decode()
"""As much user data as the API takes: 64 KiB of base64."""

MUTANTS = 120


def patched(data: bytes, at: int, layout: str, value: int) -> bytes:
    """Return data with another number in it."""
    new = struct.pack(f">{layout}", value)
    return data[:at] + new + data[at + len(new) :]


class CraftedImageTest(DisksCase):
    """Images that reach for the host's files, or lie."""

    def named(self, data: bytes, name: bytes, at: int = 0x200) -> bytes:
        """Return a qcow2 image whose header names another file, without QEMU's help."""
        data = patched(patched(data, 8, "Q", at), 16, "I", len(name))
        return data[:at] + name + data[at + len(name) :]

    def test_no_image_makes_a_disk_of_a_file_of_the_host(self) -> None:
        good = self.qcow2()
        deep = self.named(good, SECRET.encode(), at=0x8000)
        old = patched(self.named(good, SECRET.encode()), 4, "I", 2)
        remote = self.named(good, b"nbd://127.0.0.1:10809/x")
        inline = self.named(good, b'json:{"driver":"raw","file.filename":"/etc/passwd"}')
        outside = patched(good, 72, "Q", 1 << 2)
        hidden = patched(good, 8, "Q", 0x200)
        for name, data in {
            "a backing file": self.named(good, SECRET.encode()),
            "one named behind the header": deep,
            "one of the older version": old,
            "one by network": remote,
            "one in JSON": inline,
            "one without a name": hidden,
            "a data file": outside,
        }.items():
            error = self.refused(BuildAborted, self.images.add(data, "qcow2"))
            self.assertNotIn("passwd", error.message, name)
        self.assertEqual([], self.cached())

    def test_an_image_of_another_kind_is_refused_under_every_name_it_gives_itself(self) -> None:
        extent = f'RW 2048 FLAT "{SECRET}" 0\n'
        kinds = {
            "vmdk": f'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\n{extent}',
            "qed": "QED\0",
            "vhdx": "vhdxfile",
            "vpc": "conectix",
            "luks": "LUKS\xba\xbe",
        }
        for kind, text in kinds.items():
            data = text.encode("latin-1").ljust(8192, b"\0")
            for name in ("raw", "qcow2", kind):
                self.refused(BuildAborted, self.images.add(data, name))
        self.assertEqual([], self.cached())

    def test_what_is_taken_for_raw_is_opened_as_nothing_else(self) -> None:
        # QEMU, asked to guess, follows this descriptor to the file that it names.
        descriptor = f'#\n \nversion=1\nRW 8 FLAT "{SECRET}" 0\n'.encode().ljust(4096, b"\0")
        server = self.server(self.images.add(descriptor, "raw"))
        self.disks.prepare(server)
        info = self.info(self.disks.disk(server.uuid))
        self.assertEqual("raw", info["backing-filename-format"])
        command = ["qemu-io", "-r", "-f", "qcow2", "-c", "read -v 0 512"]
        command.append(str(self.disks.disk(server.uuid)))
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.assertIn("version", shown)
        self.assertNotIn("root", shown)

    def test_sizes_that_are_lies_are_refused(self) -> None:
        good = self.qcow2()
        for at, layout, lie in (
            (24, "Q", 1 << 62),
            (24, "Q", (1 << 64) - 512),
            (20, "I", 63),
            (36, "I", 1 << 30),
            (40, "Q", (1 << 63) + 512),
        ):
            data = patched(good, at, layout, lie)
            self.refused(BuildAborted, self.images.add(data, "qcow2"))
        small = self.images.add(b"x" * 4096)
        for lie in (1, 4095):
            short = msgspec.structs.replace(small, size=lie)
            self.refused(BuildFailed, short)
        self.assertEqual([], self.cached())

    def test_whatever_bits_are_flipped_what_is_accepted_stands_alone(self) -> None:
        chance = random.Random(6)
        good = self.qcow2()
        path = self.directory / "mutant.qcow2"
        image = Image(image_id=self.images.add(good, "qcow2").image_id, disk_format="qcow2")
        accepted = 0
        for _ in range(MUTANTS):
            mutant = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                mutant[chance.randrange(112)] = chance.choice((0, 1, 4, 0x7F, 0xFF))
            path.write_bytes(mutant)
            try:
                size = image_files.check(path, image)
            except BuildAborted:
                continue
            accepted += 1
            told = self.info(path)
            self.assertEqual(size, told["virtual-size"])
            self.assertNotIn("backing-filename", told)
            self.assertNotIn("data-file", json.dumps(told))
        self.assertTrue(0 < accepted < MUTANTS, accepted)

    def test_a_guest_that_writes_an_image_into_its_disk_holds_nothing_of_the_host(self) -> None:
        image = self.images.add(b"x" * 512)
        flavor = msgspec.structs.replace(self.server(image).flavor, swap_mb=1)
        server = self.server(image, flavor=flavor)
        self.disks.prepare(server)
        (swap,) = self.disks.local(server)
        other = self.images.add(b"y" * 512)
        self.disks.cache(other)
        (base,) = [name for name in self.cached() if name.startswith(other.image_id)]
        with open(swap.path, "r+b") as file:
            file.write(self.named(self.qcow2(), base.encode()))
        self.assertNotIn(base, self.disks.bases())


class FullDiskTest(QemuCase):
    """Directories of servers on a file system of a few MiB."""

    def setUp(self) -> None:
        super().setUp()
        # What was free when it was asked may be taken when it is needed.
        self.patch(
            shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40)
        )
        if os.geteuid():
            raise NotReady("Only root can mount a small file system.")
        small = str(self.world.instances)
        options = ["-t", "tmpfs", "-o", "size=6m,mode=755", "tmpfs", small]
        subprocess.run(["mount", *options], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", small], check=True)
        (self.world.instances / "_base").mkdir()

    def test_a_disk_that_fills_half_way_is_a_reason_and_everything_is_undone(self) -> None:
        image = self.world.images.add(b"x" * (1 << 20))
        large = self.world.images.add(os.urandom(7 << 20))
        unknown = msgspec.structs.replace(large, size=0)
        crowded = msgspec.structs.replace(self.world.deaf("vm").flavor, ephemeral_gb=400)
        full = Wishes(
            config_drive=True,
            files=tuple(
                InjectedFile(path=f"/{n}", contents=base64.b64encode(os.urandom(1 << 20)).decode())
                for n in range(7)
            ),
        )
        host = self.serve(self.driver)
        for what, server, reason in (
            ("the image", self.of(large), "cannot be kept on this host"),
            ("an image that hides its size", self.of(unknown), "cannot be kept on this host"),
            ("an ephemeral disk", self.of(image, flavor=crowded), "A disk cannot be made"),
            ("the config drive", self.of(image, wishes=full), "A disk cannot be made"),
        ):
            self.addDetail("filled by", text_content(what))
            self.assertEqual([], self.files())
            self.cell.build(server)
            self.assert_failed(server, reason)
        self.end(host)
        self.assertEqual([], list(self.world.instances.rglob("*.part")))

    def of(self, image: Image, **changed: object) -> Instance:
        """Return a server that starts from an image."""
        return instance("vm", image=image, **changed)


class HostileWordsTest(QemuCase):
    """Words that are code in XML, in a shell, in a path or on a terminal."""

    def test_a_guest_of_hostile_words_runs_and_is_told_them_as_they_are(self) -> None:
        words = HOSTILE + CONTROL
        key = KeyPair(name=words, kind="ssh", fingerprint="aa", public_key=f"ssh-rsa {words}")
        wishes = Wishes(
            config_drive=True,
            user_data=LONGEST,
            key_pair=key,
            files=(InjectedFile(path=f"/../../{words}", contents="aGk="),),
            admin_pass=words,
        )
        server = msgspec.structs.replace(
            self.world.deaf("vm"),
            name=HOSTILE,
            hostname=HOSTILE,
            description=words,
            project_id=HOSTILE,
            metadata={words: words},
            wishes=wishes,
        )
        self.serve(self.driver)
        self.cell.build(server)
        self.until_active(server)
        self.assertEqual(PowerState.RUNNING, self.driver.guests()[server.uuid].power)
        told = self.on_drive(server, "/openstack/latest/meta_data.json")
        document = json.loads(told)
        self.assertEqual({words: words}, document["meta"])
        self.assertEqual({words: f"ssh-rsa {words}"}, document["public_keys"])
        self.assertEqual(HOSTILE, document["name"])
        self.assertEqual(
            base64.b64decode(LONGEST), self.on_drive(server, "/openstack/latest/user_data")
        )
        names = {path.name for path in (self.world.instances / server.uuid).iterdir()}
        expected = {"disk.qcow2", "config-drive.iso", "console.log", "owner.json"}
        self.assertEqual(expected, names - {"console.sock"})
        self.assertFalse(set(os.listdir(self.world.instances)) - {"_base", server.uuid})

    def on_drive(self, server: Instance, path: str) -> bytes:
        """Return a file of a server's config drive."""
        iso = pycdlib.PyCdlib()
        iso.open(str(self.world.instances / server.uuid / "config-drive.iso"))
        self.addCleanup(iso.close)
        data = BytesIO()
        iso.get_file_from_iso_fp(data, joliet_path=path)
        return data.getvalue()
