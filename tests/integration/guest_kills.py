"""Kill -9 of those who are at work on guests: everything settles, and nothing is left of what they did."""

from typing import Any

import libvirt

from tests.integration import services
from tests.integration.case import eventually
from tests.integration.guest_case import GuestCase
from tests.integration.real_server import RealServer

_AGREEING = {
    "ACTIVE": libvirt.VIR_DOMAIN_RUNNING,
    "SHUTOFF": libvirt.VIR_DOMAIN_SHUTOFF,
}
"""Status -> the state of the guest."""


class KillsStory(GuestCase):
    """Four guests at once, each with something else that is in the middle."""

    def test_everything_settles_when_a_service_is_killed_in_the_middle(self) -> None:
        """Of a stop, a reboot, a rebuild and a snapshot: first the hosts' own service, then libvirt."""
        self.create("vm", "--min", "4", "--max", "4")
        servers = [RealServer(self.deployment, one["ID"]) for one in self.servers("-n")]
        for number, kill in enumerate((self.kill_services, self.kill_daemons)):
            for server in servers:
                server.until("ACTIVE")
                server.until_ticks(1)
            kill(self.begin(servers, f"killed-{number}"))
            for server in servers:
                server.until("ACTIVE", "SHUTOFF", "ERROR")
            for server in servers:
                eventually("status and guest agree", 30, lambda one=server: self.agree(one))
            self.mend(servers)
        self.assertEqual(set(), set(self.images().values()) - {"active"})

    def begin(self, servers: list[RealServer], image: str) -> list[RealServer]:
        """Let hosts begin with something else for each server, and return those that are at work then."""
        wanted: tuple[tuple[str, Any], ...] = (
            ("os-stop", None),
            ("reboot", {"type": "SOFT"}),
            ("rebuild", {"imageRef": servers[2].shown()["image"]["id"]}),
            ("createImage", {"name": image}),
        )
        asked = [
            server.act(action, arguments)
            for server, (action, arguments) in zip(servers, wanted, strict=True)
        ]
        for server, request_id in zip(servers, asked, strict=True):
            eventually("it has begun", 30, lambda s=server, r=request_id: s.has_begun(r))
        return servers

    def kill_services(self, servers: list[RealServer]) -> None:
        """Kill the compute services of all hosts, and start them again."""
        for host in self.hosts:
            self.kill(host)
        # Nobody does anything any more.
        self.assertGreaterEqual(sum(server.task() is not None for server in servers), 2)
        self.start_again(*self.hosts)

    def kill_daemons(self, servers: list[RealServer]) -> None:
        """Kill libvirt on all hosts, and start it again."""
        self.assertGreaterEqual(sum(server.task() is not None for server in servers), 2)
        for host in self.hosts:
            services.libvirtd(host).kill_daemon()
        for host in self.hosts:
            services.libvirtd(host).start_daemon()

    def agree(self, server: RealServer) -> bool:
        """Whether a server is what its guest is. One that is broken says why."""
        shown = server.shown()
        if shown["status"] == "ERROR":
            return bool(shown["fault"]["message"])
        return self.domain_state(server) == _AGREEING[shown["status"]]

    def mend(self, servers: list[RealServer]) -> None:
        """Let every server run again, as its owner would."""
        for server in servers:
            shown = server.shown()
            if shown["status"] == "SHUTOFF":
                server.act("os-start")
            elif shown["status"] == "ERROR":
                server.act("rebuild", {"imageRef": shown["image"]["id"]})
        for server in servers:
            server.until("ACTIVE")
