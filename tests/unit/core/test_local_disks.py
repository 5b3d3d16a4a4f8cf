"""The ephemeral and swap disks that a flavor has, or a request names."""

import msgspec
import testtools

from kilonova.core.errors import Invalid
from kilonova.core.instance import BlockDevice
from kilonova.core.local_disks import LocalDisk, local_disks
from tests.instances import FLAVOR

LARGE = msgspec.structs.replace(FLAVOR, ephemeral_gb=10, swap_mb=512)
ROOT = BlockDevice(source_type="image", destination_type="local", boot_index=0)


def blank(**changed: object) -> BlockDevice:
    """Return a blank local disk of a request."""
    plain = BlockDevice(source_type="blank", destination_type="local", boot_index=-1)
    return msgspec.structs.replace(plain, **changed)


def ephemeral(size_gb: int, content: str = "ext4") -> LocalDisk:
    """Return an ephemeral disk."""
    return LocalDisk(kind="ephemeral", size=size_gb << 30, content=content)


def swap(size_mb: int) -> LocalDisk:
    """Return a swap disk."""
    return LocalDisk(kind="swap", size=size_mb << 20, content="swap")


class LocalDisksTest(testtools.TestCase):
    """Pure, from a flavor and a request to disks."""

    def test_without_a_request_the_flavor_says_what_there_is(self) -> None:
        self.assertEqual((), local_disks(FLAVOR))
        self.assertEqual((ephemeral(10), swap(512)), local_disks(LARGE))
        self.assertEqual((ephemeral(10), swap(512)), local_disks(LARGE, (ROOT,)))

    def test_a_request_says_how_the_flavors_room_is_used(self) -> None:
        wanted = (
            blank(guest_format="swap", volume_size=128),
            blank(volume_size=4, guest_format="vfat"),
            blank(volume_size=6),
        )
        self.assertEqual(
            (ephemeral(4, "vfat"), ephemeral(6), swap(128)), local_disks(LARGE, (ROOT, *wanted))
        )

    def test_a_disk_without_a_size_takes_what_the_flavor_has(self) -> None:
        wanted = (blank(), blank(guest_format="swap"))
        self.assertEqual((ephemeral(10), swap(512)), local_disks(LARGE, wanted))

    def test_more_than_the_flavor_has_is_refused(self) -> None:
        for wanted, words in (
            ((blank(volume_size=11),), "Ephemeral disks requested are larger"),
            ((blank(volume_size=6), blank(volume_size=5)), "Ephemeral disks requested are larger"),
            ((blank(), blank()), "Ephemeral disks requested are larger"),
            ((blank(volume_size=513, guest_format="swap"),), "Swap drive requested is larger"),
            ((blank(guest_format="swap"),) * 2, "One swap disk"),
            ((blank(volume_size=0),), "at least 1 GB"),
            ((blank(volume_size=1, guest_format="ntfs'/>"),), "guest_format"),
            ((blank(volume_size=1, disk_bus="floppy"),), "disk_bus"),
            ((blank(volume_size=1),) * 9, "8 ephemeral disks"),
        ):
            error = self.assertRaises(Invalid, local_disks, LARGE, wanted)
            self.assertIn(words, error.message)
        self.assertRaises(Invalid, local_disks, FLAVOR, (blank(),))
        self.assertRaises(Invalid, local_disks, FLAVOR, (blank(guest_format="swap"),))
