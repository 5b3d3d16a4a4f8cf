"""What is done to a real guest: it stands still and goes on, is copied, rescued, shelved, and made anew."""

import time

import libvirt

from tests.integration.case import eventually
from tests.integration.guest_case import GuestCase
from tests.integration.real_server import RealServer


class ActionsStory(GuestCase):
    """One guest, and another that is made of it."""

    def test_a_guest_keeps_its_memory_and_its_disk_through_what_is_done_to_it(self) -> None:
        """Paused, suspended, copied, rescued, shelved; and made anew in the end, with an empty disk."""
        server = self.boot("vm1")
        server.until_ticks(1)
        self.pause(server)
        self.suspend(server)
        copy = self.boot_from_copy(server)
        self.rescue(server)
        copy.until("ACTIVE")
        copy.until_started(2)
        self.demo("server", "delete", copy.uuid)
        self.shelve(server)
        self.demo("server", "rebuild", "--image", self.image, server.uuid)
        server.until("ACTIVE")
        server.until_started(1)

    def pause(self, server: RealServer) -> None:
        """Let it stand still for a while."""
        self.demo("server", "pause", server.uuid)
        server.until("PAUSED")
        self.assertEqual(libvirt.VIR_DOMAIN_PAUSED, self.domain_state(server))
        before = server.ticks()
        time.sleep(1)
        self.assertEqual(before, server.ticks())
        self.demo("server", "unpause", server.uuid)
        server.until("ACTIVE")
        self.assert_counts_on(server)

    def suspend(self, server: RealServer) -> None:
        """Let its memory be written to disk, and read again."""
        self.demo("server", "suspend", server.uuid)
        server.until("SUSPENDED")
        self.assertEqual(libvirt.VIR_DOMAIN_SHUTOFF, self.domain_state(server))
        self.demo("server", "resume", server.uuid)
        server.until("ACTIVE")
        self.assert_counts_on(server)

    def boot_from_copy(self, server: RealServer) -> RealServer:
        """Boot another server from an image of this one, which goes on meanwhile."""
        self.demo("server", "image", "create", "--name", "copy", server.uuid)
        server.until("ACTIVE")
        copy = RealServer(self.deployment, self.create("vm2", image="copy"))
        self.assert_counts_on(server)
        return copy

    def rescue(self, server: RealServer) -> None:
        """Read its disk from a guest that was started from another, and then start it again."""
        self.demo("server", "rescue", "--image", self.image, server.uuid)
        server.until("RESCUE")
        server.until_said("OTHER DISK 1")
        self.demo("server", "unrescue", server.uuid)
        server.until("ACTIVE")
        server.until_started(2)

    def shelve(self, server: RealServer) -> None:
        """Let it be an image for a while, and nothing else."""
        self.demo("server", "shelve", server.uuid)
        server.until("SHELVED_OFFLOADED")
        eventually("no host has anything of it", 60, lambda: not self.left())
        self.assertIn("vm1-shelved", self.images())
        self.demo("server", "unshelve", server.uuid)
        server.until("ACTIVE")
        server.until_started(3)
        self.assertNotIn("vm1-shelved", self.images())
