"""Servers through the unmodified ``openstack`` client, on two hosts with real guests.

One deployment is for all of it; what moves no server stands in ``guest_actions`` and ``guest_kills``.
"""

import contextlib
import time
from typing import Any

import libvirt
from testtools.content import text_content

from tests.integration import guest_actions, guest_kills, services
from tests.integration.case import eventually
from tests.integration.real_server import RealServer


# Named through their modules: a class that a test module imports is run by itself, too.
class RealGuestsTest(guest_actions.ActionsStory, guest_kills.KillsStory):
    """Guests through every action, every move, and the death of those who are at work on them."""

    def test_a_guest_counts_on_wherever_it_moves(self) -> None:
        """Live, aborted, through the death of its host's service; then resized, reverted, and moved."""
        server = self.boot("vm1")
        first = server.host()
        server.until_ticks(1)
        self.admin("server", "migrate", "--live-migration", server.uuid)
        second = self.until_off(server, first)
        self.assert_counts_on(server)

        # So slowly that there is time to change one's mind.
        self.hold_up(server, second)
        self.admin("server", "migrate", "--live-migration", server.uuid)
        self.abort_when_it_runs(server)
        self.assertEqual(second, server.host())
        self.assert_counts_on(server)

        self.hold_up(server, second)
        self.admin("server", "migrate", "--live-migration", server.uuid)
        eventually("it is on its way", 120, lambda: bool(self.in_progress(server)))
        self.restart_in_the_middle(second)
        eventually("it is elsewhere", 120, lambda: self.hurried_away(server, second))
        self.assertEqual(first, server.host())
        self.assert_counts_on(server)
        self.resize_and_move(server)
        self.evacuate(server)

    def resize_and_move(self, server: RealServer) -> None:
        """Resize it, revert that, and migrate it while it is off; its disk goes along."""
        before = server.host()
        self.demo("server", "resize", "--flavor", "large", server.uuid)
        server.until("VERIFY_RESIZE")
        server.until_started(2)
        self.assertGreater(server.memory_kb(), 130 << 10)
        said = server.said()
        self.demo("server", "resize", "revert", server.uuid)
        server.until("ACTIVE")
        self.assertEqual(before, server.host())
        # On the disk that it had before.
        server.until_started(2, since=said)
        self.admin("server", "migrate", server.uuid)
        server.until("VERIFY_RESIZE")
        self.assertNotEqual(before, server.host())
        self.demo("server", "resize", "confirm", server.uuid)
        server.until("ACTIVE")
        eventually("its old host forgot it", 120, lambda: not self.files_on(before))
        server.until_started(3)

    def evacuate(self, server: RealServer) -> None:
        """Let its host die and return: it runs elsewhere, and what the host still runs of it ends."""
        dead = server.host()
        self.demo("server", "set", "--property", "kilonova:evacuate=true", server.uuid)
        self.kill(dead)
        died = time.monotonic()
        self.until_off(server, dead)
        seconds = time.monotonic() - died
        self.addDetail("host death", text_content(f"ACTIVE elsewhere after {seconds:.1f} s"))
        self.assertLess(seconds, 60)
        server.until_started(1)
        (stale,) = services.libvirtd(dead).domains()
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, stale.state()[0])
        self.start_again(dead)
        eventually("its old guest is gone", 60, lambda: not services.libvirtd(dead).domains())
        server.until_ticks(1)

    # ---- its parts

    def hold_up(self, server: RealServer, host: str) -> None:
        """Let the guest leave a host at 1 MiB a second at most."""
        connection = libvirt.open(services.libvirtd(host).uri)
        self.addCleanup(connection.close)
        connection.lookupByUUIDString(server.uuid).migrateSetMaxSpeed(1)

    def abort_when_it_runs(self, server: RealServer) -> None:
        """Abort the live migration that is in progress."""
        eventually("it is on its way", 120, lambda: bool(self.in_progress(server)))
        (number,) = self.in_progress(server)
        self.admin("server", "migration", "abort", server.uuid, str(number))
        server.until("ACTIVE")

    def restart_in_the_middle(self, host: str) -> None:
        """Kill a host's compute service while it sends its guest, and start it again."""
        self.kill(host)
        time.sleep(1)
        (domain,) = services.libvirtd(host).domains()
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, domain.state()[0])
        self.start_again(host)

    def hurried_away(self, server: RealServer, host: str) -> bool:
        """Hold the guest up no more, wherever its next attempt is; whether it is done."""
        for domain in services.libvirtd(host).domains():
            with contextlib.suppress(libvirt.libvirtError):
                domain.migrateSetMaxSpeed(1000)
        return bool(server.shown()["status"] == "ACTIVE")

    # ---- what is seen

    def in_progress(self, server: RealServer) -> list[int]:
        """Return the numbers of the guest's live migrations that can be aborted."""
        listed: list[dict[str, Any]] = server.ask("GET", "migrations").json()["migrations"]
        return [one["id"] for one in listed if one["status"] == "running"]

    def until_off(self, server: RealServer, host: str) -> str:
        """Wait until a server is ACTIVE on another host than this; return which."""
        eventually("it is elsewhere", 120, lambda: server.host() != host)
        server.until("ACTIVE")
        return server.host()
