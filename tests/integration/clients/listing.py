"""``openstack server list``: filters, pages, and what a row shows."""

from tests.integration.clients.case import ADMIN, IMAGE, ClientTest

LIST = ("server", "list")


class Listing(ClientTest):
    """Three servers that differ, listed in every way."""

    def names(self, *options: str, user: str = "demo") -> list[str]:
        """Return the names of the servers that a list with some options shows, in its order."""
        return [str(name) for name in self.column("Name", *LIST, *options, user=user)]

    def test_lists_choose_and_page(self) -> None:
        red = self.boot("list-red", "--tag", "warm", "--tag", "red")
        self.boot("list-blue", "--tag", "cold", "--flavor", "small", "--property", "a=b")
        self.boot("list-warm", "--tag", "warm")
        self.run_command("server", "stop", "list-blue")
        self.become("list-blue", "SHUTOFF")
        self._filters(red["id"])
        self._pages(red["id"])
        self._what_a_row_shows(red["id"], red["project_id"])

    def _filters(self, red: str) -> None:
        everything = ["list-warm", "list-blue", "list-red"]
        for options, expected in (
            ((), everything),
            (("--name", "list-[rb]"), ["list-blue", "list-red"]),
            (("--status", "SHUTOFF"), ["list-blue"]),
            (("--flavor", "small"), ["list-blue"]),
            (("--image", IMAGE), everything),
            (("--tags", "warm"), ["list-warm", "list-red"]),
            (("--tags", "warm", "--tags", "red"), ["list-red"]),
            (("--not-tags", "warm"), ["list-blue"]),
            (("--vm-state", "active"), ["list-warm", "list-red"]),
            (("--power-state", "shutdown"), ["list-blue"]),
            (("--availability-zone", "nova"), everything),
            (
                ("--changes-since", "2020-01-01T00:00:00Z", "--status", "ACTIVE"),
                ["list-warm", "list-red"],
            ),
            (("--changes-before", "2020-01-01T00:00:00Z"), []),
            (("--ip", "10.0.0.1"), []),
            (("--key-name", "none"), []),
        ):
            self.assertEqual(expected, self.names(*options), options)
        self.assertIn("403", self.refusal(*LIST, "--all-projects"))
        self.assertEqual([], self.names("-n", user=ADMIN), "those of one's own project")
        host = self.server(red, "OS-EXT-SRV-ATTR:host", user=ADMIN)["OS-EXT-SRV-ATTR:host"]
        self.assertIn("list-red", self.names("--all-projects", "--host", host, user=ADMIN))
        self.assertEqual(everything, self.names("--project", "demo", "-n", user=ADMIN))
        self.assertEqual(everything, self.names("--all-projects", "--user", "demo", user=ADMIN))

    def _pages(self, red: str) -> None:
        self.assertEqual([], self.names("--marker", red), "it is the last")
        first = self.shown(*LIST, "--limit", "1", "-n")
        self.assertEqual(["list-warm"], [row["Name"] for row in first])
        for word in ("--no-name-lookup", "--name-lookup-one-by-one"):
            self.assertEqual(3, len(self.names(word)))

    def _what_a_row_shows(self, red: str, project: str) -> None:
        row = self.shown(*LIST, "--name", "list-blue")[0]
        self.assertEqual(("small", IMAGE), (row["Flavor"], row["Image"]))
        self.assertEqual(("SHUTOFF", {}), (row["Status"], row["Networks"]))
        row = self.shown(*LIST, "--long", "--name", "list-red")[0]
        self.assertEqual(
            (red, None, "nova"), (row["ID"], row["Task State"], row["Availability Zone"])
        )
        self.assertIsNone(row["Host"], "a tenant learns no host's name")
        row = self.shown(*LIST, "--long", "--project", "demo", "--name", "list-red", user=ADMIN)[0]
        self.assertEqual((project, "UP"), (row["Project ID"], row["Host Status"]))
