"""Real guests on the networks of a real Neutron: booted, plugged in and out while they run, and moved.

Each host has a network of its own, so that nothing of one is at the other unless it was made there.
"""

import json
import socket
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.clients.client import Client
from tests.integration.compute.networked import in_network
from tests.integration.deployment import Deployment, Host
from tests.integration.guest_image import keep_guest_image
from tests.integration.real_server import SCRIPT, RealServer
from tests.integration.services.host_networks import ADDRESSES, Windows, connect
from tests.integration.services.keystone import ADMIN, DEMO
from tests.integration.services.network_agent import NetworkAgent
from tests.integration.services.process import run

SECRET = "for tests only"
HOSTS = ("net-1", "net-2")


class NetworkedGuestsTest(BootTest):
    """One deployment with two hosts."""

    client: ClassVar[Client]

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment whose hosts reach each other by a wire, and all else through windows."""
        daemons = [services.networked_libvirtd(name) for name in HOSTS]
        connect((daemons[0], daemons[1]))
        hosts = [
            Host(
                name,
                {
                    "DEFAULT": {"my_ip": address},
                    "compute": {"driver": "libvirt"},
                    "libvirt": {"connection_uri": daemon.uri, "virt_type": "qemu"},
                },
                within=("nsenter", f"--net={daemon.network}"),
            )
            for name, address, daemon in zip(HOSTS, ADDRESSES, daemons, strict=True)
        ]
        secret = {"neutron": {"metadata_proxy_shared_secret": SECRET}}
        deployment = Deployment(
            "ports", services.mariadb(), hosts, settings=secret, has_neutron=True
        )
        urls = (services.keystone().auth_url, services.glance().url, services.neutron("ports").url)
        ports = [urlsplit(url).port or 0 for url in urls]
        ports += [services.rabbitmq().port, deployment.placement_port]
        for daemon in daemons:
            cls.addClassCleanup(Windows(daemon, ports).stop)
        return deployment

    @classmethod
    def setUpClass(cls) -> None:
        """Make what servers are made of."""
        super().setUpClass()
        cls.client = Client(cls.deployment.directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        cls.admin("flavor", "create", "--vcpus", "1", "--ram", "112", "--disk", "1", "small")
        keep_guest_image(cls.client, cls)
        for name, subnet in (("front", "10.11.0"), ("slow", "10.12.0"), ("nowhere", "10.13.0")):
            cls.demo("network", "create", name)
            cls.demo(
                *("subnet", "create", "--network", name, "--gateway", f"{subnet}.2"),
                *("--subnet-range", f"{subnet}.0/24", name),
            )

    @classmethod
    def admin(cls, *command: str) -> str:
        """Run the client as the administrator."""
        return cls.client.run(*command, user=ADMIN)

    @classmethod
    def demo(cls, *command: str) -> str:
        """Run the client as the owner."""
        return cls.client.run(*command, user=DEMO)

    @classmethod
    def neutron(cls, path: str) -> Any:
        """Return what Neutron tells the administrator."""
        headers = {"X-Auth-Token": cls.deployment.token()}
        url = f"{services.neutron('ports').url}/v2.0/{path}"
        answer = requests.get(url, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def port(self, network: str) -> dict[str, Any]:
        """Return the server's port on a network."""
        (found,) = self.neutron(f"networks?name={network}")["networks"]
        query = f"ports?network_id={found['id']}&device_id={self.server.uuid}"
        (port,) = self.neutron(query)["ports"]
        return dict(port)

    def ports(self) -> set[str]:
        """Return the ids of the server's ports."""
        return {one["id"] for one in self.neutron(f"ports?device_id={self.server.uuid}")["ports"]}

    def bindings(self, port: dict[str, Any]) -> dict[str, str]:
        """Return the hosts to which a port is bound, each with whether that is active."""
        found = self.neutron(f"ports/{port['id']}/bindings")["bindings"]
        return {one["host"]: one["status"] for one in found}

    # ---- what is on a host

    def links(self, host: str, *query: str) -> set[str]:
        """Return links of a host."""
        said = self._inside(host, "ip", "-json", "link", "show", *query)
        return {link["ifname"] for link in json.loads(said)}

    def _inside(self, host: str, *command: str) -> str:
        network = services.networked_libvirtd(host).network
        return run(["nsenter", f"--net={network}", *command])

    def taps(self) -> dict[str, set[str]]:
        """Return the cards' other ends on each host."""
        return {
            host: {name for name in self.links(host) if name.startswith(("tap", "vnet"))}
            for host in HOSTS
        }

    def plugged(self, host: str, network: str) -> set[str]:
        """Return the cards' other ends on the bridge of a network."""
        (found,) = self.neutron(f"networks?name={network}")["networks"]
        return self.links(host, "master", f"brq{found['id'][:11]}")

    def assert_reaches(self, host: str, port: dict[str, Any]) -> None:
        """The guest answers at its address, asked over the bridge of its network on a host."""
        bridge = f"brq{port['network_id'][:11]}"
        address = port["fixed_ips"][0]["ip_address"]
        asker = address.rpartition(".")[0] + ".250/24"
        self._inside(host, "ip", "address", "replace", asker, "dev", bridge)
        self._inside(host, "ip", "neigh", "flush", "dev", bridge)
        with (
            in_network(services.networked_libvirtd(host).network),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks,
        ):
            asks.sendto(b"", (address, 9))

        def heard() -> bool:
            said = json.loads(self._inside(host, "ip", "-json", "neigh", "show", "dev", bridge))
            return (address, port["mac_address"]) in {(n["dst"], n.get("lladdr")) for n in said}

        eventually("the guest answers", 120, heard)

    # ---- the story

    def test_a_guest_is_plugged_in_wherever_it_is_and_nothing_of_it_stays(self) -> None:
        """One life."""
        self.demo("port", "create", "--network", "front", "mine")
        (mine,) = self.neutron("ports?name=mine")["ports"]
        for host in HOSTS:
            self.serve(host, mine)
        self.boot()
        self.plug_in_and_out()
        self.move_live()
        self.move_and_come_back()
        self.demo("server", "delete", "--wait", self.server.uuid)
        eventually("no card is left", 120, lambda: not any(self.taps().values()))
        self.assertEqual(set(), self.ports())
        (left,) = self.neutron(f"ports?id={mine['id']}")["ports"]
        self.assertEqual(("", ""), (left["device_id"], left["binding:host_id"]))

    def serve(self, host: str, port: dict[str, Any]) -> None:
        """Serve the network of a port on a host, as agents do."""
        agent = NetworkAgent(
            self.deployment.directory / f"{host}-agent",
            services.networked_libvirtd(host),
            port["network_id"],
            "10.11.0.2",
        )
        self.addCleanup(agent.stop)
        agent.start([port])
        agent.tell(
            services.neutron("ports").url,
            self.deployment.token(),
            self.deployment.compute_url.removesuffix("/v2.1"),
            SECRET,
        )

    def boot(self) -> None:
        """Boot a guest with two cards; one is connected two seconds after it is made."""
        script = services.scratch() / "counts.sh"
        script.write_text(SCRIPT)
        uuid = self.demo(
            *("server", "create", "--flavor", "small", "--image", "linux", "--port", "mine"),
            *("--network", "slow", "--user-data", str(script), "-f", "value", "-c", "id", "vm"),
        ).strip()
        self.server = RealServer(self.deployment, uuid)
        self.server.until("ACTIVE")
        self.assertEqual("ACTIVE", self.port("slow")["status"])
        host = self.server.host()
        for network in ("front", "slow"):
            tap = f"tap{self.port(network)['id'][:11]}"
            self.assertEqual({tap}, self.plugged(host, network))
        front = self.port("front")
        address = front["fixed_ips"][0]["ip_address"]
        self.server.until_said(f"card eth0 {front['mac_address']} {address}/24")
        # No config drive: what it counts with came over the network, too.
        self.server.until_said(f"metadata of {uuid}, i-{uuid[:8]}")
        self.server.until_ticks(1)
        self.assert_reaches(host, front)

    def plug_in_and_out(self) -> None:
        """Attach and detach a card; what cannot be attached leaves nothing."""
        host, before, taps = self.server.host(), self.ports(), self.taps()
        self.demo("server", "add", "network", self.server.uuid, "slow")
        eventually("it has another card", 120, lambda: len(self.plugged(host, "slow")) == 2)
        (added,) = self.ports() - before
        eventually("all of it is shown", 120, lambda: len(self.shown_addresses()["slow"]) == 2)
        self.demo("server", "remove", "port", self.server.uuid, added)
        eventually("its port is gone", 120, lambda: self.ports() == before)
        self.assertEqual(taps, self.taps())
        self.demo("port", "create", "--network", "nowhere", "lost")
        self.demo("server", "add", "port", self.server.uuid, "lost")
        eventually("it is let go of", 120, lambda: self.ports() == before)
        self.assertEqual(taps, self.taps())
        self.demo("port", "delete", "lost")
        self.assertEqual("ACTIVE", self.server.shown()["status"])

    def shown_addresses(self) -> dict[str, list[Any]]:
        """Return the server's addresses by network."""
        found: dict[str, list[Any]] = self.server.shown()["addresses"]
        return found

    def move_live(self) -> None:
        """Move it while it runs: what it is plugged into is made there before, and gone here after."""
        before = self.server.host()
        (there,) = set(HOSTS) - {before}
        ports = [self.port("front"), self.port("slow")]
        self.admin("server", "migrate", "--live-migration", self.server.uuid)
        eventually("it is elsewhere", 120, lambda: self.server.host() == there)
        self.server.until("ACTIVE")
        taps = {f"tap{port['id'][:11]}" for port in ports}
        eventually("its cards went along", 120, lambda: self.taps() == {before: set(), there: taps})
        for port in ports:
            alone = {there: "ACTIVE"}
            eventually("it is bound", 120, lambda p=port, a=alone: self.bindings(p) == a)  # type: ignore[misc]
        self.assert_reaches(there, ports[0])
        ticks = self.server.until_ticks(1)
        self.assertEqual(list(range(1, len(ticks) + 1)), ticks)

    def move_and_come_back(self) -> None:
        """Migrate it, revert that, and find it plugged in where it was."""
        before = self.server.host()
        (there,) = set(HOSTS) - {before}
        away, back = ("migrate",), ("migrate", "revert")
        for action, host, status in ((away, there, "VERIFY_RESIZE"), (back, before, "ACTIVE")):
            self.admin("server", *action, self.server.uuid)
            self.server.until(status)
            self.assertEqual(host, self.server.host())
            for network in ("front", "slow"):
                port = self.port(network)
                self.assertEqual({host: "ACTIVE"}, self.bindings(port))
                tap = f"tap{port['id'][:11]}"
                self.assertEqual({tap}, self.plugged(host, network))
            eventually("it is here alone", 120, lambda h=host: not self.taps()[other(h)])  # type: ignore[misc]
        # On the disk that it had before.
        self.server.until_started(2)
        self.assert_reaches(before, self.port("front"))


def other(host: str) -> str:
    """Return the other host."""
    (found,) = set(HOSTS) - {host}
    return found
