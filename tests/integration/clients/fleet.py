"""What an operator asks of hosts and their like."""

from tests.integration.clients.case import ADMIN, IMAGE, ClientTest
from tests.integration.clients.deployment import HOSTS, LONE

ALL = sorted((*HOSTS, LONE))


class Fleet(ClientTest):
    """Hypervisors, services, aggregates, zones, hosts."""

    def operator(self, *argv: str) -> str:
        """Run a command as the administrator."""
        return self.run_command(*argv, user=ADMIN)

    def test_hypervisors(self) -> None:
        rows = self.shown("hypervisor", "list", user=ADMIN)
        self.assertEqual(ALL, sorted(row["Hypervisor Hostname"] for row in rows))
        self.assertEqual({("fake", "up")}, {(r["Hypervisor Type"], r["State"]) for r in rows})
        found = self.column("ID", "hypervisor", "list", "--matching", "fake", user=ADMIN)
        self.assertEqual(len(HOSTS), len(found))
        shown = self.shown("hypervisor", "show", "fake-0", user=ADMIN)
        self.assertEqual(("fake-0", "up"), (shown["service_host"], shown["state"]))
        by_id = self.shown("hypervisor", "show", shown["id"], user=ADMIN)
        self.assertEqual("fake-0", by_id["hypervisor_hostname"])
        stats = self.shown("hypervisor", "stats", "show", user=ADMIN)
        self.assertEqual((3, 3 * 64), (stats["count"], stats["vcpus"]))
        old = ("--os-compute-api-version", "2.52")
        self.assertEqual(3, len(self.shown(*old, "hypervisor", "list", "--long", user=ADMIN)))
        self.assertEqual(64, self.shown(*old, "hypervisor", "show", "fake-0", user=ADMIN)["vcpus"])
        self.assertIn("No Hypervisor", self.refusal("hypervisor", "show", "nowhere", user=ADMIN))
        self.assertIn("403", self.refusal("hypervisor", "list"))

    def test_services(self) -> None:
        setting = ("compute", "service", "set", "fake-0", "nova-compute")
        listing = ("compute", "service", "list", "--long", "--host", "fake-0")
        for options, column, expected in (
            (("--disable", "--disable-reason", "a fan"), "Disabled Reason", "a fan"),
            ((), "Status", "disabled"),
            (("--enable",), "Status", "enabled"),
            (("--down",), "Forced Down", True),
            (("--up",), "Forced Down", False),
        ):
            if options:
                self.operator(*setting, *options)
            self.assertEqual([expected], self.column(column, *listing, user=ADMIN), options)
        old = ("--os-compute-api-version", "2.52")
        self.operator(*old, *setting, "--disable", "--disable-reason", "old")
        self.assertEqual(["old"], self.column("Disabled Reason", *old, *listing, user=ADMIN))
        self.operator(*old, *setting, "--enable")
        everywhere = ("compute", "service", "list", "--service", "nova-compute")
        self.assertEqual(ALL, sorted(self.column("Host", *everywhere, user=ADMIN)))
        self.assertIn("403", self.refusal("compute", "service", "list"))

    def test_aggregates_and_zones(self) -> None:
        create = ("aggregate", "create", "--zone", "east", "--property", "ssd=true")
        made = self.shown(*create, "fast", user=ADMIN)
        self.assertEqual(("east", {"ssd": "true"}), (made["availability_zone"], own(made)))
        added = self.shown("aggregate", "add", "host", "fast", "fake-0", user=ADMIN)
        self.assertEqual(["fake-0"], added["hosts"])
        zones = self.shown("availability", "zone", "list", "--compute", "--long", user=ADMIN)
        self.assertIn(("east", "fake-0"), {(z["Zone Name"], z["Host Name"]) for z in zones})
        named = self.column("Zone Name", "availability", "zone", "list", "--compute")
        self.assertEqual({"east", "nova"}, set(named), "any user may see zones")
        server = self.create("eastern", "--availability-zone", "east")
        self.assertEqual("east", server["OS-EXT-AZ:availability_zone"])
        leave = ("aggregate", "remove", "host", "fast", "fake-0")
        self.assertIn("409", self.refusal(*leave, user=ADMIN))
        self.run_command("server", "delete", "--wait", "eastern")
        self.operator("aggregate", "set", "--name", "faster", "--property", "gpu=1", "fast")
        listed = self.shown("aggregate", "list", "--long", user=ADMIN)
        expected = [("faster", {"ssd": "true", "gpu": "1"})]
        self.assertEqual(expected, [(row["Name"], own(row)) for row in listed])
        self.operator("aggregate", "unset", "--property", "gpu", "faster")
        self.operator("aggregate", "cache", "image", "faster", IMAGE)
        self.operator("aggregate", "set", "--no-property", "--property", "a=b", "faster")
        shown = self.shown("aggregate", "show", "faster", user=ADMIN)
        self.assertEqual({"a": "b"}, own(shown))
        self.assertIn("400", self.refusal("aggregate", "delete", "faster", user=ADMIN))
        left = self.shown("aggregate", "remove", "host", "faster", "fake-0", user=ADMIN)
        self.assertEqual([], left["hosts"])
        self.operator("aggregate", "delete", "faster")
        self.assertEqual([], self.shown("aggregate", "list", user=ADMIN))

    def test_hosts_as_they_were_asked_once(self) -> None:
        listed = self.column("Host Name", "host", "list", user=ADMIN)
        self.assertEqual(ALL, sorted(listed))
        shown = self.shown("host", "show", "fake-0", user=ADMIN)
        self.assertEqual(("(total)", 64), (shown[0]["Project"], shown[0]["CPU"]))
        self.operator("host", "set", "--disable", "fake-0")
        status = ("compute", "service", "list", "--host", "fake-0")
        self.assertEqual(["disabled"], self.column("Status", *status, user=ADMIN))
        self.operator("host", "set", "--enable", "fake-0")
        self.assertEqual(["enabled"], self.column("Status", *status, user=ADMIN))

    def test_what_placement_knows(self) -> None:
        rows = self.shown("resource", "provider", "list", user=ADMIN)
        providers = {row["name"]: row["uuid"] for row in rows}
        self.assertEqual(ALL, sorted(providers))
        made = self.boot("placed", "--availability-zone", "nova:fake-0", user=ADMIN)
        uuid = providers["fake-0"]
        provider = ("resource", "provider")
        inventory = self.shown(*provider, "inventory", "list", uuid, user=ADMIN)
        totals = {row["resource_class"]: row["total"] for row in inventory}
        self.assertEqual({"VCPU": 64, "MEMORY_MB": 262144, "DISK_GB": 4096}, totals)
        expected = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
        usages = self.shown(*provider, "usage", "show", uuid, user=ADMIN)
        self.assertEqual(expected, {row["resource_class"]: row["usage"] for row in usages})
        held = self.shown(*provider, "allocation", "show", made["id"], user=ADMIN)
        self.assertEqual([uuid], [row["resource_provider"] for row in held])
        self.assertEqual([expected], [row["resources"] for row in held])
        traits = self.column("name", *provider, "trait", "list", uuid, user=ADMIN)
        self.assertIn("COMPUTE_NODE", traits)
        candidates = ("allocation", "candidate", "list", "--resource", "VCPU=1")
        found = self.column("resource provider", *candidates, user=ADMIN)
        self.assertEqual(set(providers.values()), set(found))
        self.assertIn("VCPU", self.column("name", "resource", "class", "list", user=ADMIN))
        self.assertIn("COMPUTE_NODE", self.column("name", "trait", "list", user=ADMIN))


def own(aggregate: dict[str, object]) -> object:
    """Return an aggregate's properties without its zone, which some commands show among them."""
    properties = aggregate.get("properties", aggregate.get("Properties"))
    assert isinstance(properties, dict)
    return {key: value for key, value in properties.items() if key != "availability_zone"}
