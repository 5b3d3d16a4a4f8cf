"""``openstack server create``: what each option comes to."""

import base64
from pathlib import Path

from tests.integration.clients.case import ADMIN, IMAGE, ClientTest
from tests.integration.clients.deployment import LONE

HOST = "OS-EXT-SRV-ATTR:host"
OLD, NEW = ("2.1", "2.36", "2.37"), ("2.52", "2.79", "2.100")
PARTS = ("server", "create", "--wait", "--flavor", "tiny", "--image", IMAGE)


class Creating(ClientTest):
    """Section by section of what the command can be told."""

    def test_a_server_needs_a_name_a_flavor_and_an_image(self) -> None:
        made = self.boot("plain")
        self.assertEqual(("plain", "ACTIVE"), (made["name"], made["status"]))
        self.assertEqual("tiny", made["flavor"]["original_name"])
        self.assertEqual(f"{IMAGE} ({self.image_id})", made["image"])
        self.assertEqual(("", {}), (made["config_drive"] or "", made["addresses"]))
        self.assertEqual(12, len(made["adminPass"]))
        self.assertEqual({}, made["properties"])
        self.assertIsNone(made[HOST], "a tenant learns no host's name")
        shown = self.server("plain", "locked", "progress", "tags", "description", "hostId")
        self.assertEqual(56, len(shown.pop("hostId")))
        expected = {"locked": False, "progress": 0, "tags": [], "description": None}
        self.assertEqual(expected, shown)

    def test_what_a_user_may_say_of_a_server(self) -> None:
        user_data = self.in_file("user-data", "#cloud-config\n")
        key = self.deployment.directory / "key"
        self.run_command("keypair", "create", "--private-key", str(key), "of-server")
        made = self.boot(
            *("talkative", "--property", "a=b", "--property", "c=d e", "--tag", "red"),
            *("--tag", "blue", "--description", "some words", "--hostname", "guest"),
            *("--key-name", "of-server", "--config-drive", "True", "--password", "mine"),
            *("--user-data", str(user_data), "--hint", "color=1", "--hint", "color=2"),
        )
        self.assertEqual("mine", made["adminPass"])
        self.assertEqual({"a": "b", "c": "d e"}, made["properties"])
        self.assertEqual(("of-server", "True"), (made["key_name"], made["config_drive"]))
        self.assertEqual("guest", made["OS-EXT-SRV-ATTR:hostname"])
        shown = self.server("talkative")
        self.assertEqual({"red", "blue"}, set(shown["tags"]))
        self.assertEqual("some words", shown["description"])
        self.assertEqual({"color": ["1", "2"]}, shown["scheduler_hints"])
        seen = self.server(made["id"], "OS-EXT-SRV-ATTR:user_data", user=ADMIN)
        decoded = base64.b64decode(seen["OS-EXT-SRV-ATTR:user_data"]).decode()
        self.assertEqual(user_data.read_text(), decoded)
        self.assertTrue(key.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----"))
        self.run_command("keypair", "delete", "of-server")

    def in_file(self, name: str, text: str) -> Path:
        """Write a file, and return where it is."""
        path = self.deployment.directory / name
        path.write_text(text)
        return path

    def test_several_at_once(self) -> None:
        made = self.boot("many", "--min", "2", "--max", "3", "--tag", "crowd")
        self.assertEqual("many-1", made["name"])
        self.delete_later("many-2", "many-3")
        listed = self.column("Name", "server", "list", "--tags", "crowd")
        self.assertEqual(["many-1", "many-2", "many-3"], sorted(listed))
        for number in (2, 3):
            self.become(f"many-{number}", "ACTIVE")
        said = self.refusal(*PARTS, "--nic", "none", "--min", "3", "--max", "2", "few")
        self.assertIn("min", said)

    def test_networks_of_a_cloud_without_neutron(self) -> None:
        """A host gives an address, unless none is wanted."""
        for number, (words, wanted) in enumerate(
            ((("--no-network",), False), (("--nic", "auto"), True), ((), True))
        ):
            name = f"network-{number}"
            addresses = self.shown(*PARTS, *words, name)["addresses"]
            self.delete_later(name)
            self.assertEqual(wanted, bool(addresses), words)
            for address in addresses.get("default", []):
                self.assertTrue(address.startswith("10.77.0."), address)
        said = self.refusal(*PARTS, "--network", "mine", "online")
        # Where another region has a network service, the client asks nobody.
        kinds = {row["Type"] for row in self.shown("catalog", "list")}
        expected = "not present in the service catalog" if "network" in kinds else "410"
        self.assertIn(expected, said)

    def test_an_administrator_chooses_the_host(self) -> None:
        for number, words in enumerate(
            [
                ("--availability-zone", f"nova:{LONE}"),
                ("--host", LONE),
                ("--hypervisor-hostname", LONE),
                ("--availability-zone", f"nova:{LONE}:{LONE}"),
            ]
        ):
            made = self.boot(f"placed-{number}", *words, user=ADMIN)
            self.assertEqual(LONE, made[HOST])
            self.assertEqual(LONE, made["OS-EXT-SRV-ATTR:hypervisor_hostname"])
            self.assertEqual("nova", made["OS-EXT-AZ:availability_zone"])
        self.assertIn("403", self.refusal(*PARTS, "--nic", "none", "--host", LONE, "placed"))
        nowhere = (*PARTS, "--nic", "none", "--host", "nowhere", "placed")
        self.assertIn("nowhere could not be found", self.refusal(*nowhere, user=ADMIN))

    def test_an_old_version_of_the_api_has_another_word_for_the_host(self) -> None:
        at_2_73 = ("--os-compute-api-version", "2.73", *PARTS, "--nic", "none")
        self.assertIn("2.74", self.refusal(*at_2_73, "--host", LONE, "placed", user=ADMIN))

    def test_disks_beside_the_root_disk(self) -> None:
        flavor = ("flavor", "create", "--vcpus", "1", "--ram", "128", "--disk", "1")
        self.run_command(*flavor, "--swap", "64", "--ephemeral", "2", "disks", user=ADMIN)
        self.addCleanup(self.client.run, "flavor", "delete", "disks")
        disks = ("--swap", "64", "--ephemeral", "size=1,format=ext4")
        made = self.boot("disks", "--flavor", "disks", *disks)
        self.assertEqual((64, 2), (made["flavor"]["swap"], made["flavor"]["ephemeral"]))
        said = self.refusal(*PARTS, "--nic", "none", "--swap", "64", "disks")
        self.assertIn("400", said)

    def test_servers_of_a_group_keep_apart(self) -> None:
        group = ("server", "group", "create", "--policy", "anti-affinity")
        made = self.shown(*group, "apart")
        self.addCleanup(self.client.run, "server", "group", "delete", "apart", user="demo")
        hosts = []
        for name in ("apart-1", "apart-2"):
            server = self.boot(name, "--server-group", "apart")
            hosts.append(self.server(server["id"], HOST, user=ADMIN)[HOST])
        self.assertEqual(2, len(set(hosts)))
        # Asked for by its id: a list, in which the client finds names, does not say it.
        shown = self.server(server["id"], "server_groups")
        self.assertEqual([made["id"]], shown["server_groups"])
        members = self.shown("server", "group", "show", "apart")["members"]
        self.assertEqual(2, len(members))

    def test_an_image_is_found_by_a_property(self) -> None:
        """The first of the images that have it."""
        own = ("image", "set", "--property", "flavour=salt", IMAGE)
        self.run_command(*own, user=ADMIN)
        create = ("server", "create", "--wait", "--flavor", "tiny", "--nic", "none")
        made = self.shown(*create, "--image-property", "flavour=salt", "salty")
        self.delete_later("salty")
        self.assertEqual(f"{IMAGE} ({self.image_id})", made["image"])

    def test_what_is_not_there_is_named(self) -> None:
        create = ("server", "create", "--nic", "none")
        for words, said in (
            (("--flavor", "nope", "--image", IMAGE), "No Flavor found for nope"),
            (("--flavor", "tiny", "--image", "nope"), "No Image found for nope"),
            (("--flavor", "tiny", "--image", IMAGE, "--key-name", "nope"), "Invalid key_name"),
            (("--flavor", "tiny", "--image", IMAGE, "--server-group", "nope"), "nope"),
            (
                ("--flavor", "tiny", "--image", IMAGE, "--availability-zone", "nope"),
                "The requested availability zone is not available",
            ),
        ):
            self.assertIn(said, self.refusal(*create, *words, "lost"))
        self.assertNotIn("lost", self.column("Name", "server", "list", "-n"))

    def test_clients_of_all_ages(self) -> None:
        """Each version shows what it had: the client asks for no more than it was told to."""
        # Below 2.37 no client can say that it wants no network, and none is what there is.
        for version in (*OLD, *NEW):
            at = ("--os-compute-api-version", version)
            words = ("--nic", "none") if version not in ("2.1", "2.36") else ()
            name = f"age-{version.replace('.', '-')}"
            self.shown(*at, *PARTS, *words, name)
            self.delete_later(name)
            shown = self.shown(*at, "server", "show", name)
            self.assertEqual(("ACTIVE", name), (shown["status"], shown["name"]))
            self.assertIn(name, self.column("Name", *at, "server", "list", "--long"))
            # What a flavor is made of comes with the server from 2.47 on.
            flavor = shown["flavor"]
            self.assertEqual(version in NEW, isinstance(flavor, dict) and flavor["ram"] == 128)
        tagged = ("--tag", "old", "tagged")
        at_2_51 = ("--os-compute-api-version", "2.51", *PARTS, "--nic", "none")
        self.assertIn("2.52", self.refusal(*at_2_51, *tagged))
        at_2_36 = ("--os-compute-api-version", "2.36", *PARTS, "--nic", "none")
        self.assertIn("2.37", self.refusal(*at_2_36, "early"))
        above = ("--os-compute-api-version", "2.999", "server", "list")
        self.assertIn("a maximum of 2.104", self.refusal(*above))
