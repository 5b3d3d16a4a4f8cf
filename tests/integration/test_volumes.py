"""Volumes of a real Cinder's that real guests find, fill, lose, share, and start from."""

from tests.integration.case import eventually
from tests.integration.real_server import RealServer
from tests.integration.services.keystone import OTHER
from tests.integration.volume_case import SECONDS, VolumeCase


class VolumesTest(VolumeCase):
    """What users do with volumes, and what the storage does with those that servers have."""

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
        self.assertIn("404", self.refused("server", "add", "volume", "vm2", others))
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
        """It is made of an image, and another of its snapshot; it moves, and is made anew."""
        server = self.create("vm1", "--image", "linux", "--boot-from-volume", "1")
        server.until("ACTIVE")
        server.until_started(1)
        (root,) = self.attached(server)
        self.copy(server, root)
        for options in (["--live-migration"], []):
            before = server.host()
            self.client.run("server", "migrate", *options, server.uuid)
            server.until("ACTIVE", "VERIFY_RESIZE")
            self.assertNotEqual(before, server.host())
        self.demo("server", "resize", "confirm", server.uuid)
        server.until("ACTIVE")
        server.until_started(3)
        self.demo("server", "rebuild", "--image", "linux", "--reimage-boot-volume", server.uuid)
        server.until("ACTIVE")
        server.until_started(1)
        self.assertEqual([root], self.attached(server))
        self.demo("server", "delete", server.uuid)

    def copy(self, server: RealServer, root: str) -> None:
        """Copy the volume twice under the guest, merge one copy, start a server from the other."""
        for name in ("one", "two"):
            self.demo("volume", "snapshot", "create", "--force", "--volume", root, name)
            self.until_snapshot(name, "available")
        self.demo("server", "reboot", "--hard", server.uuid)
        server.until("ACTIVE")
        server.until_started(2)
        self.demo("volume", "snapshot", "delete", "two")
        eventually("it is merged", SECONDS, lambda: self.snapshots() == {"one": "available"})
        copy = self.create("vm2", "--snapshot", "one", "--boot-from-volume", "1")
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


class VolumeFailuresTest(VolumeCase):
    """What goes wrong: nothing is anybody's for ever."""

    def test_what_the_storage_does_not_hear_it_hears_when_it_is_back(self) -> None:
        server, other = self.boot("vm1", "vm2")
        volume, another = self.volume(), self.volume()
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_found(server, volume, "nothing")
        self.cinder.stop_api()
        self.addCleanup(self.cinder.start_api)
        self.assertIn("503", self.refused("server", "add", "volume", "vm2", another))
        self.demo("server", "delete", "vm1")
        self.demo("server", "reboot", "--hard", "vm2")
        other.until("ACTIVE")
        self.assertEqual({"vm1", "vm2"}, {one["Name"] for one in self.servers("-n")})
        self.cinder.start_api()
        eventually("vm1 is gone", SECONDS, lambda: len(self.servers("-n")) == 1)
        self.until_volume(volume, "available")
        self.assertEqual("available", self.volumes()[another]["Status"])

    def test_a_volume_that_a_host_cannot_have_is_free_again(self) -> None:
        (server,) = self.boot("vm1")
        volume = self.volume("--type", "files")
        file = self.cinder.file_of(volume)
        file.rename(f"{file}.away")
        self.demo("server", "add", "volume", "vm1", volume)
        eventually("the server has it not", SECONDS, lambda: self.attached(server) == [])
        self.until_volume(volume, "available")
        file.with_name(f"{volume}.away").rename(file)
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_found(server, volume, "nothing")

    def test_a_server_whose_host_never_comes_back_gives_its_volumes_back(self) -> None:
        (server,) = self.boot("vm1")
        stays, ends = self.volume(), self.volume()
        self.demo("server", "add", "volume", "vm1", stays)
        self.demo("server", "add", "volume", "--enable-delete-on-termination", "vm1", ends)
        for volume in (stays, ends):
            self.until_found(server, volume, "nothing")
        host = server.host()
        self.deployment.processes[host].kill()
        self.client.run("compute", "service", "set", "--down", host, "nova-compute")
        self.demo("server", "delete", "vm1")
        eventually("it is gone", SECONDS, lambda: not self.servers("-n"))
        self.until_volume(stays, "available")
        eventually("the other is gone", SECONDS, lambda: list(self.volumes()) == [stays])
        self.client.run("compute", "service", "set", "--up", host, "nova-compute")
        self.deployment.start_service("compute", host)
        self.deployment.wait_ready(host)
        eventually("its guest is gone", SECONDS, lambda: not self.guests(host))
