"""Volumes of a real Cinder's that real guests find, fill, lose, share, and start from."""

from tests.integration.volume_case import VolumeCase


class VolumesTest(VolumeCase):
    """What users do with volumes."""

    def test_a_volume_goes_from_guest_to_guest_with_what_is_on_it(self) -> None:
        first, second = self.boot("vm1", "vm2")
        volume = self.volume()
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_volume(volume, "in-use")
        self.until_found(first, volume, "nothing")
        (row,) = self.shown("server", "volume", "list", "vm1")
        self.assertEqual(
            ("/dev/vdb", first.uuid, volume),
            tuple(row[k] for k in ("Device", "Server ID", "Volume ID")),
        )
        said = self.refused("server", "add", "volume", "vm2", volume)
        self.assertIn("in-use", said)
        self.demo("server", "remove", "volume", "vm1", volume)
        self.until_volume(volume, "available")
        self.until_lost(first, volume)
        self.assertEqual([], self.attached(first))
        self.demo("server", "add", "volume", "--enable-delete-on-termination", "vm2", volume)
        self.until_found(second, volume, "of-vm1")
        self.demo("server", "delete", "--wait", "vm2")
        self.assertNotIn(volume, self.volumes())
