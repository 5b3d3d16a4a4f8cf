"""Servers that change their size or their host."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.clients.case import ADMIN, ClientTest, eventually
from tests.integration.clients.deployment import HOSTS, LONE

HOST = "OS-EXT-SRV-ATTR:host"


class Moving(ClientTest):
    """Resizes by a tenant, migrations by an administrator."""

    def host_of(self, server: str) -> str:
        """Return the host of a server, by the server's id."""
        return str(self.server(server, HOST, user=ADMIN)[HOST])

    def flavor_of(self, name: str) -> str:
        """Return the name of a server's flavor."""
        return str(self.server(name, "flavor")["flavor"]["original_name"])

    def test_a_tenant_tries_another_size(self) -> None:
        self.boot("moving")
        resize = ("server", "resize")
        self.run_command(*resize, "--flavor", "small", "--wait", "moving")
        self.assertEqual("VERIFY_RESIZE", self.server("moving", "status")["status"])
        self.run_command(*resize, "revert", "moving")
        self.become("moving", "ACTIVE")
        self.assertEqual("tiny", self.flavor_of("moving"))
        self.run_command(*resize, "--flavor", "small", "--wait", "moving")
        self.run_command(*resize, "confirm", "moving")
        self.become("moving", "ACTIVE")
        self.assertEqual("small", self.flavor_of("moving"))
        self.assertIn("flavor", self.refusal(*resize, "--flavor", "small", "moving").lower())

    def test_an_administrator_moves_servers(self) -> None:
        made = self.boot("moving", "--availability-zone", "nova:fake-0", user=ADMIN)
        server = made["id"]
        migrate = ("server", "migrate", "--wait")
        self.run_command(*migrate, server, user=ADMIN)
        self.become(server, "VERIFY_RESIZE", user=ADMIN)
        self.assertNotEqual("fake-0", self.host_of(server))
        self.run_command("server", "migration", "revert", server, user=ADMIN)
        self.become(server, "ACTIVE", user=ADMIN)
        self.assertEqual("fake-0", self.host_of(server))
        self.run_command(*migrate, "--host", LONE, server, user=ADMIN)
        self.run_command("server", "migration", "confirm", server, user=ADMIN)
        self.become(server, "ACTIVE", user=ADMIN)
        self.assertEqual(LONE, self.host_of(server))
        live = (*migrate, "--live-migration")
        self.run_command(*live, server, user=ADMIN)
        self.assertIn(self.host_of(server), HOSTS)
        self.run_command(*live, "--host", LONE, "--block-migration", server, user=ADMIN)
        self.assertEqual(LONE, self.host_of(server))
        self.assertIn("403", self.refusal("server", "migration", "list"))
        self._migrations(server)

    def _migrations(self, server: str) -> None:
        listed = ("server", "migration", "list", "--server", server)
        rows = self.shown(*listed, user=ADMIN)
        expected = [
            ("live-migration", "completed"),
            ("live-migration", "completed"),
            ("migration", "confirmed"),
            ("migration", "reverted"),
        ]
        self.assertEqual(expected, [(row["Type"], row["Status"]) for row in rows])
        newest = rows[0]
        self.assertEqual(LONE, newest["Dest Compute"])
        self.assertEqual(LONE, newest["Dest Node"])
        lives = self.column("Id", *listed, "--type", "live-migration", user=ADMIN)
        self.assertEqual([row["Id"] for row in rows[:2]], lives)
        chosen = self.column("Id", *listed, "--status", "reverted", user=ADMIN)
        self.assertEqual([rows[3]["Id"]], chosen)
        paged = self.column("Id", *listed, "--limit", "1", "--marker", newest["UUID"], user=ADMIN)
        self.assertEqual(rows[1]["Id"], paged[0])
        self.assertIn(
            "already", self.refusal("server", "migrate", "--host", LONE, server, user=ADMIN)
        )

    def test_a_live_migration_is_followed_and_ended(self) -> None:
        """Servers named lengthy take long to move; see the deployment's script."""
        made = self.boot("lengthy", "--availability-zone", f"nova:{LONE}", user=ADMIN)
        server = made["id"]
        migration = ("server", "migration")
        for command, ended in (("abort", "cancelled"), ("force complete", "completed")):
            self.run_command("server", "migrate", "--live-migration", server, user=ADMIN)
            listed = (*migration, "list", "--server", server, "--status", "running")
            eventually("it runs", 20, lambda listed=listed: self.shown(*listed, user=ADMIN))  # type: ignore[misc]
            self.become(server, "MIGRATING", user=ADMIN)
            number = str(self.shown(*listed, user=ADMIN)[0]["Id"])
            self.run_command(*migration, *command.split(), server, number, user=ADMIN)
            self.become(server, "ACTIVE", user=ADMIN)
            rows = self.shown(*migration, "list", "--server", server, user=ADMIN)
            self.assertEqual(ended, rows[0]["Status"])
        self.assertIn(self.host_of(server), HOSTS)

    def test_servers_leave_a_host_that_died(self) -> None:
        """From 2.95 on a server is not started again where it comes to."""
        there = ("--availability-zone", f"nova:{LONE}")
        old, new = (self.boot(name, *there, user=ADMIN)["id"] for name in ("old", "new"))
        evacuate = ("server", "evacuate", "--host", "fake-1")
        self.assertIn("still in use", self.refusal(*evacuate, old, user=ADMIN))
        with self.dead(LONE):
            # Without --wait, by which the client waits for ever: it compares letters of two cases.
            self.run_command("--os-compute-api-version", "2.94", *evacuate, old, user=ADMIN)
            self.run_command(*evacuate, new, user=ADMIN)
            for server, status in ((old, "ACTIVE"), (new, "SHUTOFF")):
                self.become(server, status, user=ADMIN)
                self.assertEqual("fake-1", self.host_of(server))
                moves = ("server", "migration", "list", "--server", server)
                (row,) = self.shown(*moves, user=ADMIN)
                self.assertEqual(("evacuation", "done"), (row["Type"], row["Status"]))

    @contextmanager
    def dead(self, host: str) -> Iterator[None]:
        """A host whose process is stopped, and which is said to be down; it comes back."""
        (described,) = [one for one in self.deployment.hosts if one.name == host]
        service = ("compute", "service", "set", host, "nova-compute")
        self.deployment.processes.pop(host).stop()
        self.run_command(*service, "--down", user=ADMIN)
        try:
            yield
        finally:
            self.deployment.start_host(described)
            self.deployment.wait_ready(host)
            self.run_command(*service, "--up", user=ADMIN)
            states = ("compute", "service", "list", "--host", host)
            eventually(
                f"{host} is up", 30, lambda: self.column("State", *states, user=ADMIN) == ["up"]
            )
