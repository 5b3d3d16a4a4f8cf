"""What belongs to a project or to a user, and what they may have: flavors, keys, groups, quotas, images."""

from tests.integration import services
from tests.integration.clients.case import ADMIN, DEMO, IMAGE, ClientTest
from tests.integration.services.keystone import OTHER


class Tenancy(ClientTest):
    """No test here needs a server of another's."""

    def operator(self, *argv: str) -> str:
        """Run a command as the administrator."""
        return self.run_command(*argv, user=ADMIN)

    def test_flavors(self) -> None:
        made = self.shown(
            *("flavor", "create", "--vcpus", "2", "--ram", "64", "--disk", "3", "--swap", "5"),
            *("--ephemeral", "1", "--private", "--project", DEMO, "--description", "words"),
            *("--property", "hw:cpu_policy=shared", "own"),
            user=ADMIN,
        )
        self.addCleanup(self.client.run, "flavor", "delete", "own")
        self.assertEqual(36, len(made["id"]))
        self.assertEqual({"hw:cpu_policy": "shared"}, made["properties"])
        names = {user: self.column("Name", "flavor", "list", user=user) for user in (DEMO, OTHER)}
        self.assertEqual((True, False), ("own" in names[DEMO], "own" in names[OTHER]))
        self.operator(
            "flavor", "set", "--project", OTHER, "--property", "hw:mem_page_size=any", "own"
        )
        self.operator("flavor", "unset", "--project", DEMO, "--property", "hw:cpu_policy", "own")
        self.operator("flavor", "set", "--description", "other words", "own")
        shown = self.shown("flavor", "show", "own", user=ADMIN)
        self.assertEqual({"hw:mem_page_size": "any"}, shown["properties"])
        self.assertEqual(1, len(shown["access_project_ids"]))
        self.assertEqual((5, 1), (shown["swap"], shown["OS-FLV-EXT-DATA:ephemeral"]))
        self.assertEqual("other words", shown["description"])
        self.assertIn("No Flavor found", self.refusal("flavor", "show", "own"))
        self.assertIn("own", self.column("Name", "flavor", "list", "--all", user=ADMIN))
        self.assertEqual(["own"], self.column("Name", "flavor", "list", "--private", user=ADMIN))
        rows = self.shown("flavor", "list", "--long", "--min-ram", "200")
        self.assertEqual(["small"], [row["Name"] for row in rows])
        invalid = (
            "--os-compute-api-version",
            "2.86",
            "flavor",
            "set",
            "--property",
            "hw:cpu_policy=sideways",
            "own",
        )
        self.assertIn("400", self.refusal(*invalid, user=ADMIN))
        self.assertIn("403", self.refusal("flavor", "delete", "tiny"))

    def test_key_pairs(self) -> None:
        private = self.deployment.directory / "private-key"
        made = self.shown("keypair", "create", "--private-key", str(private), "pair")
        self.assertEqual(("ssh", 47), (made["type"], len(made["fingerprint"])))
        public = self.run_command("keypair", "show", "--public-key", "pair")
        self.assertTrue(public.startswith("ssh-ed25519 "), public)
        file = self.deployment.directory / "public-key"
        file.write_text(public)
        again = self.shown("keypair", "create", "--public-key", str(file), "again")
        self.assertEqual(made["fingerprint"], again["fingerprint"])
        self.assertEqual(["again", "pair"], sorted(self.column("Name", "keypair", "list")))
        self.assertIn("already", self.refusal("keypair", "create", "pair"))
        of_demo = self.column("Name", "keypair", "list", "--user", DEMO, user=ADMIN)
        self.assertEqual(["again", "pair"], sorted(of_demo))
        self.assertEqual([], self.column("Name", "keypair", "list", user=OTHER))
        self.run_command("keypair", "delete", "again", "pair")
        self.assertEqual([], self.column("Name", "keypair", "list"))

    def test_server_groups(self) -> None:
        create = ("server", "group", "create", "--policy")
        rule = ("--rule", "max_server_per_host=2")
        made = self.shown(*create, "anti-affinity", *rule, "apart")
        self.assertEqual(("anti-affinity", []), (made["policy"], made["members"]))
        self.assertEqual(2, int(made["rules"]["max_server_per_host"]))
        old = ("--os-compute-api-version", "2.15", *create, "soft-affinity", "together")
        self.assertEqual(["soft-affinity"], self.shown(*old)["policies"])
        listed = self.shown("server", "group", "list", "--long")
        self.assertEqual({"apart", "together"}, {row["Name"] for row in listed})
        seen = self.column("Name", "server", "group", "list", "--all-projects", user=ADMIN)
        self.assertLessEqual({"apart", "together"}, set(seen))
        self.assertIn("400", self.refusal(*create, "affinity", *rule, "odd"))
        self.run_command("server", "group", "delete", "apart", "together")
        self.assertEqual([], self.shown("server", "group", "list"))

    def test_quotas_and_limits(self) -> None:
        show = ("quota", "show", "--compute")
        self.operator("quota", "set", "--instances", "2", "--cores", "7", "--ram", "-1", DEMO)
        self.addCleanup(self.client.run, "quota", "delete", "--compute", DEMO)
        self.assertEqual((2, 7, -1, 100), self.limits(*show))
        self.assertEqual((-1, -1, -1, 100), self.limits(*show, "--default"))
        (row,) = self.shown("quota", "list", "--compute", user=ADMIN)
        self.assertEqual((2, 7), (row["Instances"], row["Cores"]))
        self.boot("first")
        used = {row["Resource"]: row["In Use"] for row in self.shown(*show, "--usage")}
        self.assertEqual((1, 1, 128), (used["instances"], used["cores"], used["ram"]))
        crowd = ("server", "create", "--flavor", "tiny", "--image", IMAGE, "--nic", "none")
        said = self.refusal(*crowd, "--min", "2", "--max", "2", "crowd")
        self.assertIn("403", said)
        self.assertIn("Quota exceeded for instances", said)
        absolute = {row["Name"]: row["Value"] for row in self.shown("limits", "show", "--absolute")}
        self.assertEqual(
            (2, 1), (absolute["max_total_instances"], absolute["total_instances_used"])
        )
        self.assertEqual([], self.shown("limits", "show", "--rate"))
        self.assertIn("403", self.refusal("quota", "set", "--instances", "9", DEMO))
        self.operator("quota", "delete", "--compute", DEMO)
        self.assertEqual((-1, -1, -1, 100), self.limits(*show))
        self.operator("quota", "set", "--class", "--instances", "3", "default")
        self.addCleanup(self.client.run, "quota", "set", "--class", "--instances", "-1", "default")
        self.assertEqual(3, self.limits(*show)[0])

    def limits(self, *show: str) -> tuple[int, ...]:
        """Return the limits of instances, cores, memory and key pairs that a command shows."""
        rows = {row["Resource"]: row["Limit"] for row in self.shown(*show)}
        return tuple(rows[name] for name in ("instances", "cores", "ram", "key-pairs"))

    def test_usage(self) -> None:
        self.boot("used")
        shown = self.shown("usage", "show")
        self.assertIn("used", {server["name"] for server in shown["Servers"]})
        self.assertGreater(shown["RAM MB-Hours"], 0)
        period = ("--start", "2020-01-01", "--end", "2020-02-01")
        self.assertFalse(self.shown("usage", "show", *period).get("Servers"))
        listed = self.run_command("usage", "list", user=ADMIN)
        self.assertIn(f"| {DEMO} ", listed)

    def test_images(self) -> None:
        content = b"what is in an image"
        source, copy = (self.deployment.directory / name for name in ("source", "copy"))
        source.write_bytes(content)
        create = ("image", "create", "--disk-format", "raw", "--container-format", "bare")
        made = self.shown(
            *create, "--property", "hw_vif_model=virtio", "--file", str(source), "mine"
        )
        self.assertEqual((len(content), "active"), (made["size"], made["status"]))
        self.run_command("image", "set", "--min-ram", "256", "--property", "a=b", "mine")
        shown = self.shown("image", "show", "mine")
        self.assertEqual((256, "b"), (shown["min_ram"], shown["properties"]["a"]))
        self.run_command("image", "save", "--file", str(copy), "mine")
        self.assertEqual(content, copy.read_bytes())
        tiny = (
            "server",
            "create",
            "--flavor",
            "tiny",
            "--image",
            "mine",
            "--nic",
            "none",
            "cramped",
        )
        self.assertIn("400", self.refusal(*tiny), "the flavor has too little memory for it")
        self.run_command("image", "delete", "mine")
        self.assertNotIn("mine", self.column("Name", "image", "list"))

    def test_what_the_cloud_speaks(self) -> None:
        versions = self.shown("versions", "show", "--service", "compute", user=ADMIN)
        # The catalog has regions of other clouds, too, which may have ended.
        ours = [row for row in versions if row["Endpoint"].startswith(self.deployment.compute_url)]
        newest = next(row for row in ours if row["Status"] == "CURRENT")
        self.assertEqual(("2.1", "2.104"), (newest["Min Microversion"], newest["Max Microversion"]))
        aliases = self.column("Alias", "extension", "list", "--compute")
        self.assertIn("os-keypairs", aliases)
        rows = self.shown("catalog", "list")
        offered = {row["Type"]: self._at_home(row["Endpoints"]) for row in rows}
        expected = {
            "compute": self.deployment.compute_url,
            "identity": services.keystone().auth_url,
            "image": services.glance().url,
            "placement": self.deployment.placement_url,
        }
        everywhere = {
            service: dict.fromkeys(("public", "internal", "admin"), url)
            for service, url in expected.items()
        }
        self.assertEqual(everywhere, {kind: urls for kind, urls in offered.items() if urls})

    def _at_home(self, endpoints: list[dict[str, str]]) -> dict[str, str]:
        """Return the URLs that a service has in this cloud's region, by interface."""
        home = self.deployment.name
        return {one["interface"]: one["url"] for one in endpoints if one["region_id"] == home}
