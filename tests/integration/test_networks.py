"""Servers on a real Neutron's networks, asked for by the ``openstack`` client as a user asks."""

from typing import Any, ClassVar

import requests

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.clients.client import Client
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import DEMO, OTHER


class NetworksTest(BootTest):
    """One deployment with fake hosts, which plug ports in without a network to connect them to."""

    client: ClassVar[Client]
    flavor: ClassVar[str]
    image: ClassVar[str]

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two fake hosts."""
        return Deployment("nets", services.mariadb(), [fake_hosts("fake", 2)], has_neutron=True)

    @classmethod
    def setUpClass(cls) -> None:
        """Start the client, and make what servers are made of."""
        super().setUpClass()
        cls.client = Client(cls.deployment.directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        file = cls.deployment.directory / "image"
        file.write_bytes(b"never read")
        flavor = ("flavor", "create", "--ram", "64", "--disk", "1", "m1.tiny")
        cls.flavor = cls.client.show(*flavor)["id"]
        cls.image = cls.client.show(
            *("image", "create", "--public", "--container-format", "bare"),
            *("--disk-format", "raw", "--file", str(file), "image"),
        )["id"]

    def demo(self, *arguments: str) -> str:
        """Run a command as the demo user."""
        return self.client.run(*arguments, user=DEMO)

    def shown(self, *arguments: str, user: str = DEMO) -> dict[str, Any]:
        """Run a command as a user, and return what it shows."""
        found: dict[str, Any] = self.client.show(*arguments, user=user)
        return found

    def network(self, name: str, cidr: str, user: str = DEMO) -> str:
        """Make a network of a user's with a subnet, and return its id."""
        made = self.shown("network", "create", name, user=user)
        self.client.run(
            "subnet", "create", "--network", name, "--subnet-range", cidr, name, user=user
        )
        return str(made["id"])

    def addresses(self) -> dict[str, list[str]]:
        """Return the server's addresses by network."""
        found: dict[str, list[str]] = self.shown("server", "show", "vm")["addresses"]
        return found

    def ports(self) -> list[dict[str, Any]]:
        """Return the ports of the demo user's project."""
        listed: list[dict[str, Any]] = self.client.show("port", "list", "--long", user=DEMO)
        return listed

    def test_a_server_is_plugged_in_and_out_as_its_user_says(self) -> None:
        """One life: a boot on one network, a port of the user's, addresses, groups, the end."""
        self.network("front", "10.11.0.0/24")
        self.network("back", "10.12.0.0/24")
        self.demo("security", "group", "create", "web")
        created = ("server", "create", "--flavor", "m1.tiny", "--image", "image", "--wait")
        self.demo(*created, "--network", "front", "--security-group", "web", "vm")
        server = self.shown("server", "show", "vm")
        ((network, (address,)),) = server["addresses"].items()
        self.assertEqual("front", network)
        self.assertTrue(address.startswith("10.11.0."), address)
        self.assertEqual([{"name": "web"}], server["security_groups"])
        self.change_groups()
        self.plug(address)
        self.reach_for_what_is_anothers(server["id"])
        self.demo("server", "delete", "--wait", "vm")
        # What was made for the server is gone, and what its user brought is his again.
        (left,) = self.ports()
        self.assertEqual("mine", left["Name"])
        port = self.shown("port", "show", "mine")
        self.assertEqual(
            ("", "", "DOWN"), tuple(port[k] for k in ("device_id", "device_owner", "status"))
        )

    def groups(self) -> list[str]:
        """Return the names of the server's security groups."""
        return sorted(one["name"] for one in self.shown("server", "show", "vm")["security_groups"])

    def change_groups(self) -> None:
        """Add a security group, and take it away again."""
        self.demo("security", "group", "create", "db")
        self.demo("server", "add", "security", "group", "vm", "db")
        eventually("it has both", 120, lambda: self.groups() == ["db", "web"])
        self.demo("server", "remove", "security", "group", "vm", "db")
        eventually("it has one", 120, lambda: self.groups() == ["web"])

    def plug(self, first: str) -> None:
        """Attach a port, a network, and a second address, and take each away again."""
        self.demo("port", "create", "--network", "back", "mine")
        self.demo("server", "add", "port", "vm", "mine")
        eventually("the port is there", 120, lambda: len(self.addresses().get("back", [])) == 1)
        self.demo("server", "remove", "port", "vm", "mine")
        eventually("it is gone", 120, lambda: self.addresses() == {"front": [first]})
        self.demo("server", "add", "network", "vm", "back")
        eventually("another is there", 120, lambda: len(self.addresses().get("back", [])) == 1)
        self.demo("server", "remove", "network", "vm", "back")
        eventually("it is gone", 120, lambda: self.addresses() == {"front": [first]})
        old = ("--os-compute-api-version", "2.43", "server")
        self.demo(*old, "add", "fixed", "ip", "vm", "front")
        eventually("it has two", 120, lambda: len(self.addresses()["front"]) == 2)
        (second,) = (one for one in self.addresses()["front"] if one != first)
        self.demo(*old, "remove", "fixed", "ip", "vm", second)
        eventually("it has one", 120, lambda: self.addresses() == {"front": [first]})
        self.demo("server", "add", "port", "vm", "mine")
        eventually("the port is back", 120, lambda: "back" in self.addresses())
        # What Neutron says by itself is heard, too.
        moved = "10.12.0.77"
        back = ("--fixed-ip", f"subnet=back,ip-address={moved}")
        self.demo("port", "set", "--no-fixed-ip", *back, "mine")
        eventually("it has moved", 120, lambda: self.addresses().get("back") == [moved])

    def reach_for_what_is_anothers(self, server: str) -> None:
        """Name another project's network, port and group wherever one can be named: nothing comes of it."""
        network = self.network("theirs", "10.14.0.0/24", OTHER)
        port = self.shown("port", "create", "--network", "theirs", "theirs", user=OTHER)["id"]
        group = self.shown("security", "group", "create", "theirs", user=OTHER)["id"]
        ports = self.ports()
        create: dict[str, Any] = {"name": "thief", "imageRef": self.image, "flavorRef": self.flavor}
        mine = self.shown("network", "show", "front")["id"]
        below = f"/servers/{server}"
        refusals: list[tuple[int, str, str, Any]] = [
            (400, "POST", "/servers", create | {"networks": [{"uuid": network}]}),
            (400, "POST", "/servers", create | {"networks": [{"port": port}]}),
            (
                *(400, "POST", "/servers"),
                create | {"networks": [{"uuid": mine}], "security_groups": [{"name": group}]},
            ),
            (404, "POST", f"{below}/os-interface", {"net_id": network}),
            (404, "POST", f"{below}/os-interface", {"port_id": port}),
            (404, "GET", f"{below}/os-interface/{port}", None),
            (404, "DELETE", f"{below}/os-interface/{port}", None),
            (404, "POST", f"{below}/action", {"addSecurityGroup": {"name": group}}),
            (404, "POST", f"{below}/action", {"removeSecurityGroup": {"name": group}}),
            (400, "POST", f"{below}/action", {"addFixedIp": {"networkId": network}}),
        ]
        wrappers = {"/servers": "server", f"{below}/os-interface": "interfaceAttachment"}
        headers = {"X-Auth-Token": self.deployment.token(DEMO)}
        for status, method, path, body in refusals:
            wrapped = {wrappers[path]: body} if path in wrappers else body
            url = self.deployment.compute_url + path
            answer = requests.request(method, url, json=wrapped, headers=headers, timeout=60)
            self.assertEqual(status, answer.status_code, f"{method} {path} {body}: {answer.text}")
        # Nor may anybody else do anything to the server.
        theirs = {"X-Auth-Token": self.deployment.token(OTHER)}
        for path in ("os-interface", "os-security-groups"):
            url = f"{self.deployment.compute_url}{below}/{path}"
            self.assertEqual(404, requests.get(url, headers=theirs, timeout=60).status_code)
        body = {"interfaceAttachment": {"port_id": port}}
        url = f"{self.deployment.compute_url}{below}/os-interface"
        answer = requests.post(url, json=body, headers=theirs, timeout=60)
        self.assertEqual(404, answer.status_code)
        self.assertEqual(["vm"], [one["Name"] for one in self.servers()])
        self.assertEqual(ports, self.ports())
        left = self.shown("port", "show", port, user=OTHER)
        self.assertEqual(("", ""), (left["device_id"], left["device_owner"]))
