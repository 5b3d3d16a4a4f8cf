"""Shares of a real Manila's that real guests mount, as their owner sees it with the client."""

import time
from typing import Any, ClassVar

from testtools.content import text_content

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.clients.client import Client
from tests.integration.deployment import Deployment, Host, libvirt_host
from tests.integration.guest_image import keep_guest_image
from tests.integration.real_server import RealServer
from tests.integration.services.cinder import mounting
from tests.integration.services.keystone import DEMO
from tests.integration.services.manila import TYPE, Manila
from tests.integration.services.process import CommandFailed

SCRIPT = """\
#!/bin/sh
if mount -t virtiofs data /mnt; then
    echo "SHARE holds $(cat /mnt/said)"
    hostname >/mnt/guest && sync
else
    echo "SHARE is not there"
fi
"""
SECONDS = 120
WITH_SHARES = ("--os-compute-api-version", "2.97")


class SharesTest(BootTest):
    """One host with real guests, and a share service."""

    client: ClassVar[Client]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        libvirtd = services.libvirtd("contract")
        host = libvirt_host("contract", libvirtd.uri, "qemu")
        within = Host("contract", host.sections, within=mounting(libvirtd))
        return Deployment("shares", services.mariadb(), [within], has_manila=True)

    @classmethod
    def setUpClass(cls) -> None:
        """Make what servers are made of."""
        super().setUpClass()
        cls.client = Client(cls.deployment.directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        cls.client.run("flavor", "create", "--vcpus", "1", "--ram", "128", "--disk", "1", "small")
        keep_guest_image(cls.client, cls)

    def setUp(self) -> None:
        """Show Manila's logs and the guest's console, too, if the test fails."""
        super().setUp()
        self.manila: Manila = services.manila(self.deployment.name)
        self.addOnException(self._add_more_logs)

    def _add_more_logs(self, _info: Any) -> None:
        for name, tail in self.manila.logs().items():
            self.addDetail(f"{name}.log", text_content(tail))
        for log in self.deployment.directory.glob("*-state/instances/*/console.log"):
            self.addDetail(str(log), text_content(log.read_text(errors="replace")))

    def demo(self, *command: str) -> str:
        """Run the client as the owner."""
        return self.client.run(*command, user=DEMO)

    def shown(self, *command: str, user: str = DEMO) -> Any:
        """Return what the client shows."""
        return self.client.show(*command, user=user)

    def share(self) -> str:
        """Make a share and return its id, once it is there."""
        made = self.shown("share", "create", "--share-type", TYPE, "--name", "home", "NFS", "1")
        share = str(made["id"])

        def status() -> str:
            return str(self.shown("share", "show", share)["status"])

        eventually("it is made", SECONDS, lambda: status() == "available")
        return share

    def shares(self, server: RealServer) -> dict[str, str]:
        """Return the shares of a server with the status of each."""
        listed = self.shown(*WITH_SHARES, "server", "share", "list", server.uuid)
        return {one["Share ID"]: one["Status"] for one in listed}

    def said(self, server: RealServer, times: int) -> str:
        """Return what a guest said of its share last, once it did so often."""
        deadline = time.monotonic() + SECONDS
        while (told := server.said()).count("SHARE ") < times:
            self.assertLess(time.monotonic(), deadline, told)
            time.sleep(0.5)
        return told.rpartition("SHARE ")[2].partition("\n")[0].strip()

    def test_a_guest_finds_a_share_by_its_tag_until_its_owner_takes_it_away(self) -> None:
        script = self.deployment.directory / "script"
        script.write_text(SCRIPT)
        share = self.share()
        uuid = self.demo(
            *("server", "create", "--flavor", "small", "--nic", "none", "--use-config-drive"),
            *("--image", "linux", "--user-data", str(script), "-f", "value", "-c", "id", "vm"),
        )
        server = RealServer(self.deployment, uuid.strip())
        server.until("ACTIVE")
        self.assertEqual("is not there", self.said(server, 1))
        self.demo("server", "stop", "vm")
        server.until("SHUTOFF")
        self.demo(*WITH_SHARES, "server", "add", "share", "vm", share, "--tag", "data")
        eventually("it comes", SECONDS, lambda: self.shares(server) == {share: "inactive"})
        self.assertEqual("ip 127.0.0.1\n", self.manila.let_in(share))
        shown = self.shown(
            *WITH_SHARES, "server", "share", "show", uuid.strip(), share, user="admin"
        )
        directory = self.manila.directory_of(shown["Export Location"])
        (directory / "said").write_text("good morning")
        # Its rule is locked, and so is it.
        refused = self.assertRaises(CommandFailed, self.demo, "share", "delete", share)
        self.assertIn(share, str(refused))
        self.demo("server", "start", "vm")
        server.until("ACTIVE")
        self.assertEqual({share: "active"}, self.shares(server))
        self.assertEqual("holds good morning", self.said(server, 2))
        self.assertEqual("vm\n", (directory / "guest").read_text())
        self.demo("server", "stop", "vm")
        server.until("SHUTOFF")
        self.demo(*WITH_SHARES, "server", "remove", "share", "vm", share)
        eventually("it goes", SECONDS, lambda: self.shares(server) == {})
        eventually("nobody is let in", SECONDS, lambda: self.manila.let_in(share) == "")
        self.demo("share", "delete", share)
