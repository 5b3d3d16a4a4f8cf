"""The ways in which clients say who they are: to Keystone, and to a deployment that has none."""

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import testtools

from tests.integration import services
from tests.integration.clients.case import DEMO, ClientTest
from tests.integration.clients.client import Client
from tests.integration.services.keystone import PASSWORD
from tests.integration.services.process import CommandFailed, Process, listens
from tests.ports import free_port

KILONOVA = Path(sys.executable).parent / "kilonova"


class SigningIn(ClientTest):
    """To Keystone."""

    def test_every_way_to_get_a_token(self) -> None:
        url = {"OS_AUTH_URL": services.keystone().auth_url, "OS_REGION_NAME": "clients"}
        user = {"OS_USERNAME": DEMO, "OS_PASSWORD": PASSWORD, "OS_USER_DOMAIN_ID": "default"}
        project = {"OS_PROJECT_NAME": DEMO, "OS_PROJECT_DOMAIN_ID": "default"}
        token = {"OS_TOKEN": self.shown("token", "issue")["id"]}
        create = ("application", "credential", "create", "--secret", "hush", "robot")
        robot = self.shown(*create)
        self.addCleanup(self.client.run, "application", "credential", "delete", "robot", user=DEMO)
        credential = {
            "OS_APPLICATION_CREDENTIAL_ID": robot["ID"],
            "OS_APPLICATION_CREDENTIAL_SECRET": "hush",
        }
        for kind, words in (
            ("password", user | project),
            ("v3password", user | project),
            ("token", token | project),
            ("v3token", token | project),
            ("v3applicationcredential", credential),
        ):
            environment = url | words | {"OS_AUTH_TYPE": kind}
            rows = self.client.show("flavor", "list", environment=environment)
            self.assertLessEqual({"tiny", "small"}, {row["Name"] for row in rows}, kind)
            self.assertEqual([], self.client.show("server", "list", environment=environment))
        wrong = url | user | project | {"OS_AUTH_TYPE": "password", "OS_PASSWORD": "wrong"}
        failed = self.assertRaises(
            CommandFailed, self.client.run, "server", "list", environment=wrong
        )
        self.assertIn("401", failed.stderr)


class WithoutKeystone(testtools.TestCase):
    """``kilonova up``: what it says of identity itself, and a client that asks no identity service."""

    client: ClassVar[Client]
    log: ClassVar[Path]
    identity: ClassVar[str]
    compute: ClassVar[str]
    image: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        """Start a deployment of one process, which boots a server of the administrator's."""
        super().setUpClass()
        directory = services.scratch() / "up"
        directory.mkdir()
        base = ports_in_a_row(5)
        urls = (f"http://127.0.0.1:{base + n}" for n in (0, 1, 3))
        cls.identity, cls.compute, cls.image = urls
        options = ["--driver", "fake", "--state-dir", str(directory), "--port-base", str(base)]
        cls.log = directory / "up.log"
        process = Process("kilonova up", [str(KILONOVA), "up", *options], log=cls.log)
        cls.addClassCleanup(process.stop)
        process.wait_ready(lambda: "Ctrl-C ends it" in cls.log.read_text())
        cls.client = Client(directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)

    def live(self, environment: dict[str, str] | None, user: str = "") -> None:
        """A server of a client that says who it is in this way is created, listed and deleted."""

        def shown(*command: str) -> Any:
            return self.client.show(*command, user=user, environment=environment)

        create = ("server", "create", "--wait", "--flavor", "m1.tiny", "--image", "guest")
        made = shown(*create, "--nic", "none", "vm")
        self.assertEqual("ACTIVE", made["status"])
        self.assertIn("vm", [row["Name"] for row in shown("server", "list")])
        self.assertEqual(made["id"], shown("server", "show", "vm")["id"])
        delete = ("server", "delete", "--wait", "vm")
        self.client.run(*delete, user=user, environment=environment)
        self.assertNotIn("vm", [row["Name"] for row in shown("server", "list")])

    def test_by_password_to_the_identity_that_comes_with_it(self) -> None:
        for user in ("kilonova", "kilonova-demo"):
            self.live(None, user)
            self.assertIn("Servers", self.client.show("usage", "show", user=user))
            self.assertTrue(self.client.show("quota", "show", "--compute", user=user))
        self.assertEqual([], self.client.show("keypair", "list", user="kilonova-demo"))
        self.assertTrue(self.client.show("usage", "list", user="kilonova"))
        providers = self.client.show("resource", "provider", "list", user="kilonova")
        self.assertEqual(1, len(providers))

    def test_by_a_token_alone(self) -> None:
        bare = self.bare("admin_token", token="admin")
        self.live(bare)
        hosts = self.client.show("hypervisor", "list", environment=bare)
        self.assertEqual(["up"], [host["State"] for host in hosts])

    def test_a_client_that_does_not_say_who_it_is(self) -> None:
        """Of such, there is one tenant, who is no administrator."""
        bare = self.bare("none")
        self.live(bare)
        failed = self.assertRaises(
            CommandFailed, self.client.run, "hypervisor", "list", environment=bare
        )
        self.assertIn("403", failed.stderr)

    def bare(self, kind: str, **auth: str) -> dict[str, str]:
        """Return the environment of a client that finds services by their addresses alone."""
        cloud = {
            "auth_type": kind,
            "auth": {"endpoint": f"{self.compute}/v2.1"} | auth,
            # Not asked: lists of servers want a client of it all the same.
            "identity_api_version": "3",
            "identity_endpoint_override": self.identity,
            "image_endpoint_override": self.image,
        }
        clouds = self.log.parent / f"{kind}.yaml"
        clouds.write_text(json.dumps({"clouds": {kind: cloud}}))
        return {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": kind}


def ports_in_a_row(count: int) -> int:
    """Return the first of that many ports in a row on which nothing listens."""
    while True:
        first = free_port()
        if not any(listens(first + n) for n in range(count)):
            return first
