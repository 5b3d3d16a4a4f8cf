"""Volumes of a real Cinder's that real guests find, fill, lose, share, and start from.

One deployment is for all of it; what fails stands in ``volume_failures``.
"""

from tests.integration import volume_failures
from tests.integration.case import eventually
from tests.integration.real_server import RealServer
from tests.integration.services.keystone import OTHER
from tests.integration.volume_case import SECONDS

SNAPSHOTS = ("--os-volume-api-version", "3.66", "volume", "snapshot")
"""From this version on volumes that servers have are copied, too."""


# Named through its module: a class that a test module imports is run by itself, too.
class VolumesTest(volume_failures.FailuresStory):
    """What users do with volumes, what the storage does with those that servers have, and what fails."""

    def test_a_volume_goes_from_guest_to_guest_with_what_is_on_it(self) -> None:
        """Its user attaches it, is refused what cannot be, detaches it, and lets it end with a server."""
        first, second = self.boot("vm1", "vm2")
        volume, others = self.volume(), self.volume(user=OTHER)
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_volume(volume, "in-use")
        self.until_found(first, volume, "nothing")
        (row,) = self.shown("server", "volume", "list", "vm1")
        self.assertEqual(
            ("/dev/vdc", first.uuid, volume, False),
            tuple(row[k] for k in ("Device", "Server ID", "Volume ID", "Delete On Termination?")),
        )
        self.assertIn("in-use", self.refused("server", "add", "volume", "vm2", volume))
        # The client finds no volume of another project; so it is asked for without it.
        self.assertEqual(404, self.attach(second, others).status_code)
        self.assertIn("400", self.refused("volume", "delete", volume))
        self.demo("server", "remove", "volume", "vm1", volume)
        self.until_volume(volume, "available")
        self.until_lost(first, volume)
        self.assertEqual([], self.attached(first))
        self.demo("server", "add", "volume", "vm2", volume)
        self.until_found(second, volume, "of-vm1")
        self.demo("server", "volume", "set", "--delete-on-termination", "vm2", volume)
        self.demo("server", "delete", "vm2")
        eventually("it ends with its server", SECONDS, lambda: volume not in self.volumes())

    def test_a_server_that_starts_from_a_volume_goes_where_it_goes(self) -> None:
        """It is made of an image, and made anew; another is made of its snapshot; it moves."""
        server = self.create("vm1", "--image", "linux", "--boot-from-volume", "1")
        server.until("ACTIVE")
        server.until_started(1)
        (root,) = self.attached(server)
        # First: Cinder's driver writes no image over a volume of which there were snapshots.
        self.demo("server", "rebuild", "--image", "linux", "--reimage-boot-volume", server.uuid)
        server.until("ACTIVE")
        server.until_started(1)
        self.assertEqual([root], self.attached(server))
        self.copy(server, root)
        for options in (["--live-migration"], []):
            before = server.host()
            self.client.run("server", "migrate", *options, server.uuid)
            server.until("ACTIVE", "VERIFY_RESIZE")
            self.assertNotEqual(before, server.host())
        self.demo("server", "resize", "confirm", server.uuid)
        server.until("ACTIVE")
        server.until_started(3)
        self.demo("server", "delete", server.uuid)

    def copy(self, server: RealServer, root: str) -> None:
        """Copy the volume twice while the guest has it, and start a server from the copy that is left."""
        for name in ("one", "two"):
            self.demo(*SNAPSHOTS, "create", "--volume", root, name)
            self.until_snapshot(name, "available")
        self.demo("server", "reboot", "--hard", server.uuid)
        server.until("ACTIVE")
        server.until_started(2)
        self.demo("volume", "snapshot", "delete", "two")
        eventually("it is merged", SECONDS, lambda: self.snapshots() == {"one": "available"})
        copy = self.create("vm2", "--snapshot", "one")
        copy.until("ACTIVE")
        copy.until_started(2)
        self.demo("server", "delete", copy.uuid)
        self.demo("volume", "snapshot", "delete", "one")
        eventually("it is merged", SECONDS, lambda: self.snapshots() == {})

    def test_guests_share_a_volume_and_see_it_grow(self) -> None:
        first, second = self.boot("vm1", "vm2")
        volume = self.volume("--type", "shared")
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_found(first, volume, "nothing")
        self.demo("server", "add", "volume", "vm2", volume)
        self.until_found(second, volume, "of-vm1")
        self.demo("volume", "set", "--size", "2", volume)
        for server in (first, second):
            self.until_found(server, volume, "of-vm1", 2048)
        self.demo("server", "remove", "volume", "vm1", volume)
        self.until_lost(first, volume)
        self.assertEqual("in-use", self.volumes()[volume]["Status"])
        self.demo("server", "remove", "volume", "vm2", volume)
        self.until_volume(volume, "available")

    def test_a_server_is_made_with_volumes_and_takes_along_those_that_end_with_it(self) -> None:
        stays, ends = self.volume(), self.volume()
        device = "uuid={},source_type=volume,destination_type=volume,delete_on_termination={}"
        blank = "source_type=blank,destination_type=volume,volume_size=1,delete_on_termination=true"
        server = self.create(
            *("vm1", "--image", "linux"),
            *("--block-device", device.format(stays, "false")),
            *("--block-device", device.format(ends, "true")),
            *("--block-device", blank),
        )
        server.until("ACTIVE")
        attached = self.attached(server)
        self.assertEqual(3, len(attached))
        for volume in attached:
            self.until_found(server, volume, "nothing")
        self.demo("server", "delete", server.uuid)
        eventually("one volume is left", SECONDS, lambda: list(self.volumes()) == [stays])
        self.until_volume(stays, "available")

    def test_a_volume_moves_to_other_storage_while_a_guest_has_it(self) -> None:
        (server,) = self.boot("vm1")
        volume = self.volume()
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_found(server, volume, "nothing")
        self.client.run(
            *("volume", "set", "--type", "files", "--retype-policy", "on-demand", volume)
        )
        eventually(
            "it is of the other type",
            SECONDS,
            lambda: self.volumes()[volume]["Type"] == "files",
        )
        self.until_volume(volume, "in-use")
        eventually("the first is gone", SECONDS, lambda: list(self.volumes()) == [volume])
        self.assertEqual([volume], self.attached(server))
        self.demo("server", "reboot", "--hard", server.uuid)
        server.until("ACTIVE")
        server.until_started(2)
        self.until_found(server, volume, "of-vm1")
        self.demo("server", "remove", "volume", "vm1", volume)
        self.until_volume(volume, "available")
        self.until_lost(server, volume)
