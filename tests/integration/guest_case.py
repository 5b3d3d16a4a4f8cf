"""Two hosts with real guests: what is done to their servers, and what is seen of the guests."""

import signal
from typing import ClassVar

from tests.integration import services
from tests.integration.case import BootTest
from tests.integration.clients.client import Client
from tests.integration.deployment import Deployment, libvirt_host
from tests.integration.guest_image import keep_guest_image
from tests.integration.real_server import SCRIPT, RealServer
from tests.integration.services.keystone import ADMIN, DEMO


class GuestCase(BootTest):
    """A test against two hosts, each with a libvirt of its own, through the ``openstack`` client."""

    hosts: ClassVar[tuple[str, ...]] = ("contract", "contract-2")
    client: ClassVar[Client]
    image: ClassVar[str]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        hosts = [libvirt_host(name, services.libvirtd(name).uri, "qemu") for name in cls.hosts]
        # A fence that always says yes: a host's guests run on when its service is killed.
        ha: dict[str, object] = {
            "evacuate_on_host_failure": "asked",
            "fence_command": "/bin/echo off:",
        }
        return Deployment("guests", services.mariadb(), hosts, settings={"ha": ha})

    @classmethod
    def setUpClass(cls) -> None:
        """Make what servers are made of."""
        super().setUpClass()
        cls.client = Client(cls.deployment.directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        for name, ram, disk in (("small", "112", "1"), ("large", "176", "2")):
            cls.client.run("flavor", "create", "--vcpus", "1", "--ram", ram, "--disk", disk, name)
        cls.image = "linux"
        keep_guest_image(cls.client, cls)

    def tearDown(self) -> None:
        """See that no host has anything of a server."""
        self.delete_all()
        self.assertEqual([], self.left())
        super().tearDown()

    # ---- what is done

    def admin(self, *command: str) -> str:
        """Run the client as the administrator."""
        return self.client.run(*command, user=ADMIN)

    def demo(self, *command: str) -> str:
        """Run the client as the owner."""
        return self.client.run(*command, user=DEMO)

    def create(self, name: str, *options: str, image: str = "linux") -> str:
        """Ask for a server whose guest counts, and return its id."""
        script = services.scratch() / "counts.sh"
        script.write_text(SCRIPT)
        return self.demo(
            *("server", "create", "--flavor", "small", "--image", image, "--nic", "none"),
            *("--use-config-drive", "--user-data", str(script)),
            *(*options, "-f", "value", "-c", "id", name),
        ).strip()

    def boot(self, name: str, image: str = "linux") -> RealServer:
        """Boot a guest that counts."""
        server = RealServer(self.deployment, self.create(name, image=image))
        server.until("ACTIVE")
        return server

    def kill(self, host: str) -> None:
        """Kill a host's compute service."""
        process = self.deployment.processes[host]
        process.send(signal.SIGKILL)
        process.wait(10)

    def start_again(self, *hosts: str) -> None:
        """Start hosts' compute services."""
        for host in hosts:
            self.deployment.start_service("compute", host)
        for host in hosts:
            self.deployment.wait_ready(host)

    # ---- what is seen

    def domain_state(self, server: RealServer) -> int | None:
        """Return the state of a server's guest (``virDomainState``), None if there is none."""
        for host in self.hosts:
            for domain in services.libvirtd(host).domains():
                if domain.UUIDString() == server.uuid:
                    return int(domain.state()[0])
        return None

    def files_on(self, host: str) -> list[str]:
        """Return the servers of which a host has files."""
        state = self.deployment.directory / f"{host}-state" / "instances"
        return [path.name for path in state.iterdir() if path.name[0] not in "_."]

    def left(self) -> list[str]:
        """Return what hosts have of servers: their guests, and their files."""
        guests = [
            domain.name() for host in self.hosts for domain in services.libvirtd(host).domains()
        ]
        return guests + [name for host in self.hosts for name in self.files_on(host)]

    def images(self) -> dict[str, str]:
        """Return the statuses of images, by their names."""
        listed = self.client.show("image", "list", user=DEMO)
        return {one["Name"]: one["Status"] for one in listed}

    def assert_counts_on(self, server: RealServer) -> None:
        """The guest never started anew, and left no number out."""
        ticks = server.until_ticks(1)
        self.assertEqual(list(range(1, len(ticks) + 1)), ticks)
        self.assertEqual(1, len(server.starts()))
