"""What goes wrong with volumes of real guests: the storage is away, a host fails, or never comes back."""

from tests.integration.case import eventually
from tests.integration.volume_case import SECONDS, VolumeCase


class FailuresStory(VolumeCase):
    """What goes wrong: nothing is anybody's for ever."""

    def test_what_the_storage_does_not_hear_it_hears_when_it_is_back(self) -> None:
        server, other = self.boot("vm1", "vm2")
        volume, another = self.volume(), self.volume()
        self.demo("server", "add", "volume", "vm1", volume)
        self.until_found(server, volume, "nothing")
        self.cinder.stop_api()
        self.addCleanup(self.cinder.start_api)
        self.assertEqual(503, self.attach(other, another).status_code)
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
        away = file.rename(f"{file}.away")
        self.demo("server", "add", "volume", "vm1", volume)
        eventually("the server has it not", SECONDS, lambda: self.attached(server) == [])
        self.until_volume(volume, "available")
        away.rename(file)
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
