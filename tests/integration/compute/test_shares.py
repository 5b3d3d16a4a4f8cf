"""Shares of real guests, which mount them by virtiofs and find what others wrote there."""

import base64
import time
from pathlib import Path

import msgspec

from kilonova.core.errors import BuildFailed
from kilonova.core.instance import Instance, Wishes
from kilonova.core.share import Share
from tests.functional.compute.driver_contract import never
from tests.instances import FLAVOR, instance
from tests.integration.compute.shares_case import SharesCase
from tests.integration.guest_image import guest_image

ID = "5e1f0a3c-54a7-4f0b-9c5d-0f6a7b1d2e90"
OTHER = "6e1f0a3c-54a7-4f0b-9c5d-0f6a7b1d2e90"
SCRIPT = """\
#!/bin/sh
for tag in data other; do
    mount -t virtiofs $tag /mnt 2>/dev/null || { echo "SHARE $tag is not there"; continue; }
    echo "SHARE $tag holds $(cat /mnt/said)"
    echo "$(hostname) was here" >/mnt/$(hostname) && sync
    umount /mnt
done
echo SHARES-SEEN
"""
SECONDS = 120


class SharesTest(SharesCase):
    """A guest of the small Linux."""

    def setUp(self) -> None:
        super().setUp()
        self.at = self.world()
        self.driver = self.at.driver

    def share(self, share_id: str, tag: str, said: str) -> Share:
        """Have a share in which something stands."""
        export = self.at.export(share_id)
        Path(export.partition(":")[2], "said").write_text(said)
        return Share(uuid=share_id, share_id=share_id, tag=tag, protocol="NFS", export=export)

    def server(self, name: str, *shares: Share) -> Instance:
        """Return a server whose guest tells what it finds."""
        wishes = Wishes(user_data=base64.b64encode(SCRIPT.encode()).decode(), config_drive=True)
        return instance(
            name,
            image=self.at.images.add(guest_image().read_bytes(), "qcow2"),
            flavor=msgspec.structs.replace(FLAVOR, memory_mb=128),
            wishes=wishes,
            shares=shares,
        )

    def spawned(self, server: Instance) -> Instance:
        """Make a server's guest, and wait until it has looked at its shares."""
        self.addCleanup(self.driver.destroy, server.uuid)
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        self.until_seen(server, 1)
        return server

    def until_seen(self, server: Instance, times: int) -> str:
        """Wait until a guest has looked at its shares so many times, and return all that it said."""
        deadline = time.monotonic() + SECONDS
        while (told := self.driver.console_output(server.uuid, None)).count("SHARES-SEEN") < times:
            self.assertLess(time.monotonic(), deadline, told)
            time.sleep(0.1)
        return told.rpartition("SHARES-SEEN")[0].rpartition("SHARES-SEEN")[2]

    def test_a_guest_finds_what_is_in_its_shares_and_writes_there(self) -> None:
        data, other = self.share(ID, "data", "good morning"), self.share(OTHER, "other", "hello")
        for _ in range(2):
            self.driver.mount_share(data)
        self.assertEqual({ID}, self.driver.mounted_shares())
        server = self.spawned(self.server("vm", data))
        said = self.until_seen(server, 1)
        self.assertIn("SHARE data holds good morning", said)
        self.assertIn("SHARE other is not there", said)
        self.assertEqual("vm was here\n", self.file(data, "vm"))
        self.driver.stop(server.uuid, 0, never)
        for _ in range(2):
            self.driver.unmount_share(ID)
        self.driver.mount_share(other)
        self.addCleanup(self.driver.unmount_share, OTHER)
        for _ in range(2):
            self.driver.give_shares(msgspec.structs.replace(server, shares=(other,)))
        self.driver.start(server.uuid)
        said = self.until_seen(server, 2)
        self.assertIn("SHARE data is not there", said)
        self.assertIn("SHARE other holds hello", said)

    def file(self, share: Share, name: str) -> str:
        """Return what is in a file of a share."""
        return Path(share.export.partition(":")[2], name).read_text()

    def test_what_cannot_be_mounted_is_said_and_leaves_nothing(self) -> None:
        lost = Share(uuid=ID, share_id=ID, tag="data", protocol="NFS", export="nfs:/nowhere")
        self.assertRaises(BuildFailed, self.driver.mount_share, lost)
        self.assertEqual(frozenset(), self.driver.mounted_shares())
        self.driver.unmount_share(ID)
        self.assertEqual([], list((self.at.directory / "shares").iterdir()))
