"""What ``openstack server`` does to one server that stays where it is."""

from urllib.parse import unquote

from tests.integration.clients.case import ADMIN, DEMO, IMAGE, ClientTest, eventually


class Acting(ClientTest):
    """The commands that act, and what the server is afterwards."""

    def act(self, *command: str, status: str, name: str = "acting") -> None:
        """Run a command on a server, and wait until that has a status."""
        self.run_command("server", *command, name)
        self.become(name, status)

    def test_power_and_sleep(self) -> None:
        self.boot("acting")
        for command, status in (
            ("stop", "SHUTOFF"),
            ("start", "ACTIVE"),
            ("pause", "PAUSED"),
            ("unpause", "ACTIVE"),
            ("suspend", "SUSPENDED"),
            ("resume", "ACTIVE"),
        ):
            self.act(command, status=status)
        for how in ("--soft", "--hard"):
            self.assertIn("Complete", self.run_command("server", "reboot", how, "--wait", "acting"))
        said = self.refusal("server", "unpause", "acting")
        self.assertIn("Cannot 'unpause' instance", said)
        self.assertIn("while it is in vm_state active", said)
        actions = self.column("Action", "server", "event", "list", "acting")
        self.assertEqual(["reboot", "reboot", "resume", "suspend", "unpause", "pause"], actions[:6])
        self.assertEqual(["start", "stop", "create"], actions[6:])

    def test_a_lock_keeps_others_and_oneself_away(self) -> None:
        self.boot("acting")
        self.run_command("server", "lock", "--reason", "in use", "acting")
        shown = self.server("acting", "locked", "locked_reason")
        self.assertEqual({"locked": True, "locked_reason": "in use"}, shown)
        self.assertIn("is locked", self.refusal("server", "stop", "acting"))
        self.assertEqual(["acting"], self.column("Name", "server", "list", "--locked", "-n"))
        self.assertNotIn("acting", self.column("Name", "server", "list", "--unlocked", "-n"))
        self.run_command("server", "unlock", "acting")
        self.assertFalse(self.server("acting", "locked")["locked"])

    def test_rescue_and_rebuild(self) -> None:
        self.boot("acting", "--property", "old=1")
        self.act("rescue", "--password", "pw", status="RESCUE")
        self.act("unrescue", status="ACTIVE")
        self.act("rescue", "--image", IMAGE, status="RESCUE")
        self.act("unrescue", status="ACTIVE")
        rebuild = ("server", "rebuild", "--wait", "--image", IMAGE)
        self.run_command("keypair", "create", "--type", "ssh", "of-rebuilt")
        self.addCleanup(self.client.run, "keypair", "delete", "of-rebuilt", user=DEMO)
        self.run_command(
            *(*rebuild, "--name", "rebuilt", "--property", "new=2", "--description", "fresh"),
            *("--password", "pw", "--key-name", "of-rebuilt", "--hostname", "rebuilt", "acting"),
        )
        self.addCleanup(self.client.run, "server", "set", "--name", "acting", "rebuilt", user=DEMO)
        shown = self.server("rebuilt", "properties", "description", "key_name", "status")
        expected = {"properties": {"new": "2"}, "description": "fresh", "key_name": "of-rebuilt"}
        self.assertEqual(expected | {"status": "ACTIVE"}, shown)
        self.run_command(*rebuild, "--no-key-name", "rebuilt")
        self.assertIsNone(self.server("rebuilt", "key_name")["key_name"])

    def test_images_of_a_server(self) -> None:
        made = self.boot("acting")
        image = self.shown(
            *("server", "image", "create", "--name", "snap", "--property", "of=mine", "--wait"),
            "acting",
        )
        self.addCleanup(self.client.run, "image", "delete", "snap", user=DEMO)
        self.assertEqual("active", image["status"])
        self.assertEqual("mine", image["properties"]["of"])
        self.assertEqual(made["id"], image["properties"]["instance_uuid"])
        backup = ("server", "backup", "create", "--type", "daily", "--rotate", "1", "--wait")
        kept = [self.shown(*backup, "--name", f"back-{n}", "acting")["id"] for n in range(2)]
        eventually(
            "the elder is gone", 30, lambda: kept[0] not in self.column("ID", "image", "list")
        )
        self.assertIn(kept[1], self.column("ID", "image", "list"))
        self.run_command("image", "delete", kept[1])
        from_snapshot = self.boot("from-snapshot", "--image", "snap")
        self.assertEqual("ACTIVE", from_snapshot["status"])

    def test_shelves(self) -> None:
        self.boot("acting")
        self.run_command("server", "shelve", "--wait", "acting")
        self.become("acting", "SHELVED_OFFLOADED")
        self.assertIn("acting-shelved", self.column("Name", "image", "list"))
        self.run_command("server", "unshelve", "--wait", "acting")
        self.become("acting", "ACTIVE")
        self.assertNotIn("acting-shelved", self.column("Name", "image", "list"))
        self.run_command("server", "shelve", "--offload", "--wait", "acting")
        self.become("acting", "SHELVED_OFFLOADED")
        unshelve = ("server", "unshelve", "--wait")
        self.run_command(*unshelve, "--availability-zone", "nova", "acting")
        self.become("acting", "ACTIVE")
        pinned = self.server("acting", "pinned_availability_zone")
        self.assertEqual({"pinned_availability_zone": "nova"}, pinned)
        self.run_command("server", "shelve", "--offload", "--wait", "acting")
        there = (*unshelve, "--host", "fake-1", "--no-availability-zone")
        made = self.server("acting", "id")
        self.run_command(*there, made["id"], user=ADMIN)
        shown = self.server(made["id"], "OS-EXT-SRV-ATTR:host", user=ADMIN)
        self.assertEqual({"OS-EXT-SRV-ATTR:host": "fake-1"}, shown)

    def test_what_is_set_can_be_unset(self) -> None:
        made = self.boot("acting")
        self.run_command(
            *("server", "set", "--name", "renamed", "--property", "a=1", "--property", "b=2"),
            *("--description", "words", "--tag", "red", "--tag", "blue", "--hostname", "guest"),
            *("--password", "new", made["id"]),
        )
        shown = self.server("renamed", "properties", "description", "tags")
        shown["tags"].sort()
        properties = {"a": "1", "b": "2"}
        expected = {"properties": properties, "description": "words", "tags": ["blue", "red"]}
        self.assertEqual(expected, shown)
        unset = ("server", "unset", "--property", "a", "--tag", "red", "--description")
        self.run_command(*unset, "renamed")
        shown = self.server("renamed", "properties", "description", "tags")
        expected = {"properties": {"b": "2"}, "description": "", "tags": ["blue"]}
        self.assertEqual(expected, shown)
        self.run_command("server", "unset", "--all-properties", "--all-tags", "renamed")
        shown = self.server("renamed", "properties", "tags")
        self.assertEqual({"properties": {}, "tags": []}, shown)
        self.run_command("server", "set", "--name", "acting", "renamed")

    def test_an_administrator_repairs_a_state(self) -> None:
        made = self.boot("acting")
        state = ("server", "set", "--auto-approve", "--state")
        self.assertIn("403", self.refusal(*state, "error", "acting"))
        self.run_command(*state, "error", made["id"], user=ADMIN)
        self.assertEqual("ERROR", self.server("acting", "status")["status"])
        self.assertEqual(["acting"], self.column("Name", "server", "list", "--status", "ERROR"))
        self.run_command(*state, "active", made["id"], user=ADMIN)
        self.become("acting", "ACTIVE")

    def test_consoles_and_what_a_guest_says(self) -> None:
        made = self.boot("acting")
        log = self.run_command("console", "log", "show", "acting")
        self.assertIn(f"fake guest acting {made['id']}", log)
        last = self.run_command("console", "log", "show", "--lines", "1", "acting")
        self.assertEqual(log.splitlines()[-1:], last.splitlines())
        for option, protocol, kind in (
            ("--novnc", "vnc", "novnc"),
            ("--spice", "spice", "spice-html5"),
            ("--serial", "serial", "serial"),
        ):
            shown = self.shown("console", "url", "show", option, "acting")
            self.assertEqual((protocol, kind), (shown["protocol"], shown["type"]))
            token = unquote(shown["url"]).rpartition("token=")[2]
            found = self.shown("console", "connection", "show", token, user=ADMIN)
            self.assertEqual(made["id"], found["instance_uuid"])
            self.assertEqual("127.0.0.1", found["host"])
        self.run_command("server", "dump", "create", "acting")
        shown = self.shown("server", "show", "--diagnostics", made["id"], user=ADMIN)
        self.assertEqual("running", shown["state"])
        # The client sends no version of its own with this one.
        topology = ("--os-compute-api-version", "2.78", "server", "show", "--topology", "acting")
        self.assertEqual([], self.shown(*topology)["topology"]["nodes"])

    def test_the_events_of_a_server(self) -> None:
        made = self.boot("acting")
        self.act("stop", status="SHUTOFF")
        stop, create = self.shown("server", "event", "list", "--long", "acting")
        self.assertEqual(("stop", "create"), (stop["Action"], create["Action"]))
        self.assertEqual(made["project_id"], create["Project ID"])
        shown = self.shown("server", "event", "show", "acting", create["Request ID"])
        self.assertEqual("create", shown["action"])
        events = {event["event"]: event["result"] for event in shown["events"]}
        self.assertEqual("Success", events["compute__do_build_and_run_instance"])
        newest = self.column("Action", "server", "event", "list", "--limit", "1", "acting")
        self.assertEqual(["stop"], newest[:1])

    def test_deleting(self) -> None:
        for name in ("gone-1", "gone-2", "gone-3"):
            self.create(name)
        self.run_command("server", "delete", "--wait", "gone-1", "gone-2")
        self.run_command("server", "delete", "--force", "--wait", "gone-3")
        self.assertEqual([], self.column("Name", "server", "list", "--name", "gone"))
        self.assertIn("No Server found for gone-1", self.refusal("server", "show", "gone-1"))
        deleted = ("server", "list", "--deleted", "--all-projects", "--name", "gone", "-n")
        self.assertEqual(3, len(self.shown(*deleted, user=ADMIN)))
        self.assertIn("1 of 1 servers failed", self.refusal("server", "delete", "gone-1"))
