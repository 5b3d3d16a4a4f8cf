"""The case that tests of the client build on: a cloud, its client, and what servers are made of."""

import re
from typing import Any, ClassVar

from tests.integration.case import BootTest, eventually
from tests.integration.clients import deployment
from tests.integration.clients.client import Client
from tests.integration.deployment import Deployment
from tests.integration.services.keystone import ADMIN, DEMO
from tests.integration.services.process import CommandFailed

FLAVORS = {"tiny": ("1", "128"), "small": ("2", "256")}
"""VCPUs and MiB, by name."""

IMAGE = "cirros"


class ClientTest(BootTest):
    """A test that runs the client as the demo user, or as another."""

    client: ClassVar[Client]
    image_id: ClassVar[str]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        return deployment.describe()

    @classmethod
    def setUpClass(cls) -> None:
        """Start the cloud, and make flavors and an image."""
        super().setUpClass()
        directory = cls.deployment.directory
        cls.client = Client(directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        for name, (vcpus, ram) in FLAVORS.items():
            cls.client.run(
                *("flavor", "create", "--vcpus", vcpus, "--ram", ram, "--disk", "1", "--id", name),
                name,
            )
        file = directory / IMAGE
        file.write_bytes(b"pretended hosts run no guest, and never read this")
        made = cls.client.show(
            *("image", "create", "--public", "--container-format", "bare", "--disk-format", "raw"),
            *("--file", str(file), IMAGE),
        )
        cls.image_id = made["id"]

    def run_command(self, *argv: str, user: str = DEMO) -> str:
        """Run a command and return what it prints."""
        return self.client.run(*argv, user=user)

    def shown(self, *argv: str, user: str = DEMO) -> Any:
        """Return what a command prints as JSON."""
        return self.client.show(*argv, user=user)

    def column(self, name: str, *argv: str, user: str = DEMO) -> list[Any]:
        """Return one column of the table that a command prints."""
        return [row[name] for row in self.shown(*argv, "-c", name, user=user)]

    def refusal(self, *argv: str, user: str = DEMO) -> str:
        """Return what a command that fails says."""
        failed = self.assertRaises(CommandFailed, self.client.run, *argv, user=user)
        return f"{failed.stdout}{failed.stderr}".strip()

    def boot(self, name: str, *options: str, user: str = DEMO) -> Any:
        """Create a server, wait for it, and return what the client then shows.

        It has the tiny flavor and no network; it is deleted after the test.
        """
        made = self.create(name, *options, user=user)
        self.delete_later(made["name"], user=user)
        return made

    def create(self, name: str, *options: str, user: str = DEMO) -> Any:
        """Do what ``boot`` does, and leave the server to the test."""
        parts = ("--flavor", "tiny", "--image", IMAGE, "--nic", "none")
        return self.shown("server", "create", "--wait", *parts, *options, name, user=user)

    def delete_later(self, *names: str, user: str = DEMO) -> None:
        """Delete servers after the test."""
        self.addCleanup(self.client.run, "server", "delete", "--wait", *names, user=user)

    def server(self, name: str, *columns: str, user: str = DEMO) -> Any:
        """Return what ``server show`` says, of some columns or all."""
        chosen = [word for column in columns for word in ("-c", column)]
        return self.shown("server", "show", name, *chosen, user=user)

    def become(self, name: str, status: str, user: str = DEMO) -> None:
        """Wait until a server has a status."""
        eventually(
            f"{name} is {status}",
            30,
            lambda: self.server(name, "status", user=user)["status"] == status,
        )

    def assert_matches(self, pattern: str, text: str) -> None:
        """The whole text matches a pattern."""
        self.assertIsNotNone(re.fullmatch(pattern, text), text)


__all__ = ["ADMIN", "DEMO", "IMAGE", "ClientTest", "eventually"]
