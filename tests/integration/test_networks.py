"""Servers on a real Neutron's networks, asked for by the ``openstack`` client as a user asks."""

from typing import Any

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import DEMO


class NetworksTest(BootTest):
    """One deployment with fake hosts, which plug ports in without a network to connect them to."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two fake hosts."""
        return Deployment("nets", services.mariadb(), [fake_hosts("fake", 2)], has_neutron=True)

    def demo(self, *arguments: str) -> str:
        """Run a command as the demo user."""
        return self.deployment.openstack(*arguments, user=DEMO)

    def shown(self, *arguments: str) -> dict[str, Any]:
        """Run a command as the demo user, and return what it shows."""
        found: dict[str, Any] = self.deployment.openstack_json(*arguments, user=DEMO)
        return found

    def addresses(self) -> dict[str, list[str]]:
        """Return the server's addresses by network."""
        found: dict[str, list[str]] = self.shown("server", "show", "vm")["addresses"]
        return found

    def ports(self) -> list[dict[str, Any]]:
        """Return the ports of the demo user's project."""
        listed: list[dict[str, Any]] = self.deployment.openstack_json(
            "port", "list", "--long", user=DEMO
        )
        return listed

    def test_a_server_is_plugged_in_and_out_as_its_user_says(self) -> None:
        """One life: a boot on one network, a port of the user's, addresses, groups, the end."""
        self.add_flavor("m1.tiny", 64)
        file = self.deployment.directory / "image"
        file.write_bytes(b"never read")
        image = self.add_image(file, "raw")
        for name, cidr in (("front", "10.11.0.0/24"), ("back", "10.12.0.0/24")):
            self.demo("network", "create", name)
            self.demo("subnet", "create", "--network", name, "--subnet-range", cidr, name)
        self.demo("security", "group", "create", "web")
        created = ("server", "create", "--flavor", "m1.tiny", "--image", image, "--wait")
        self.demo(*created, "--network", "front", "--security-group", "web", "vm")
        server = self.shown("server", "show", "vm")
        ((network, (address,)),) = server["addresses"].items()
        self.assertEqual("front", network)
        self.assertTrue(address.startswith("10.11.0."), address)
        self.assertEqual([{"name": "web"}], server["security_groups"])
        self.change_groups()
        self.plug(address)
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
        eventually("it has both", 20, lambda: self.groups() == ["db", "web"])
        self.demo("server", "remove", "security", "group", "vm", "db")
        eventually("it has one", 20, lambda: self.groups() == ["web"])

    def plug(self, first: str) -> None:
        """Attach a port, a network, and a second address, and take each away again."""
        self.demo("port", "create", "--network", "back", "mine")
        self.demo("server", "add", "port", "vm", "mine")
        eventually("the port is there", 20, lambda: len(self.addresses().get("back", [])) == 1)
        self.demo("server", "remove", "port", "vm", "mine")
        eventually("it is gone", 20, lambda: self.addresses() == {"front": [first]})
        self.demo("server", "add", "network", "vm", "back")
        eventually("another is there", 20, lambda: len(self.addresses().get("back", [])) == 1)
        self.demo("server", "remove", "network", "vm", "back")
        eventually("it is gone", 20, lambda: self.addresses() == {"front": [first]})
        old = ("--os-compute-api-version", "2.43", "server")
        self.demo(*old, "add", "fixed", "ip", "vm", "front")
        eventually("it has two", 20, lambda: len(self.addresses()["front"]) == 2)
        (second,) = (one for one in self.addresses()["front"] if one != first)
        self.demo(*old, "remove", "fixed", "ip", "vm", second)
        eventually("it has one", 20, lambda: self.addresses() == {"front": [first]})
        self.demo("server", "add", "port", "vm", "mine")
        eventually("the port is back", 20, lambda: "back" in self.addresses())
        # What Neutron says by itself is heard, too.
        moved = "10.12.0.77"
        back = ("--fixed-ip", f"subnet=back,ip-address={moved}")
        self.demo("port", "set", "--no-fixed-ip", *back, "mine")
        eventually("it has moved", 20, lambda: self.addresses().get("back") == [moved])
