"""Servers boot, live and go through the unmodified ``openstack`` client, every service its own process."""

from collections.abc import Callable
from typing import ClassVar

import libvirt

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, libvirt_host
from tests.integration.guest_image import guest_image
from tests.integration.services.keystone import ADMIN, DEMO

MARKER = "BOOT-OK"
COUNT = 20


class TwentyServers:
    """Twenty servers from their creation to their end, on two hosts of libvirt's test driver."""

    database: ClassVar[Callable[[], services.MariaDB | services.PostgreSQL]]

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two hosts."""
        database = cls.database()
        hosts = []
        cls.connections = []
        for name in (f"{database.name}-1", f"{database.name}-2"):
            uri = services.libvirtd(name).uri.replace("qemu+unix:///system", "test+unix:///default")
            # The driver forgets its domains with its last connection.
            cls.connections.append(libvirt.open(uri))
            hosts.append(libvirt_host(name, uri, "test"))
        return Deployment(f"twenty-{database.name}", database, hosts)

    @classmethod
    def domains(cls) -> list[str]:
        """Return the names of the hosts' domains, without the one that the driver begins with."""
        domains = [d.name() for c in cls.connections for d in c.listAllDomains()]
        return sorted(name for name in domains if name != "test")

    def test_twenty_servers_live_and_leave_nothing_behind(self) -> None:
        """Boot, list, show, stop, start, reboot, delete."""
        self.add_flavor("m1.tiny", 128)
        image = self.deployment.directory / "image"
        image.write_bytes(b"never read: the test driver runs no guest")
        name = self.add_image(image, "raw")

        def demo(*command: str) -> str:
            return self.deployment.openstack(*command, user=DEMO, seconds=300)

        demo(
            *("server", "create", "--flavor", "m1.tiny", "--image", name, "--nic", "none"),
            *("--min", str(COUNT), "--max", str(COUNT), "--wait", "vm"),
        )
        eventually("all are ACTIVE", 60, lambda: self.statuses() == {"ACTIVE"})
        listed = self.servers("--long")
        self.assertEqual({f"vm-{n}" for n in range(1, COUNT + 1)}, {s["Name"] for s in listed})
        self.assertEqual(COUNT, len(self.domains()))
        self.assertEqual(
            {"VCPU": COUNT, "MEMORY_MB": 128 * COUNT, "DISK_GB": COUNT}, self.allocated()
        )
        shown = self.deployment.openstack_json("server", "show", "vm-1", user=DEMO)
        self.assertEqual("m1.tiny", shown["flavor"]["original_name"])
        shown = self.deployment.openstack_json("server", "show", shown["id"], user=ADMIN)
        self.assertIn(shown["OS-EXT-SRV-ATTR:host"], {host.name for host in self.deployment.hosts})
        self.assertEqual(1, shown["OS-EXT-STS:power_state"], "running")
        self.assert_spread_evenly()

        names = [server["ID"] for server in listed]
        demo("server", "stop", *names)
        eventually("all are SHUTOFF", 60, lambda: self.statuses() == {"SHUTOFF"})
        self.assertEqual(0, self.running())
        demo("server", "start", *names)
        eventually("all are ACTIVE again", 60, lambda: self.statuses() == {"ACTIVE"})
        self.assertEqual(COUNT, self.running())
        demo("server", "reboot", "--hard", "--wait", "vm-1")
        demo("server", "reboot", "--wait", "vm-2")
        self.assertEqual({"ACTIVE"}, self.statuses())
        self.assert_groups_stay_apart(name)

        self.delete_all()
        self.assertEqual([], self.domains())

    def assert_groups_stay_apart(self, image: str) -> None:
        """Of three servers that are to be apart, two hosts take one each, and the third says why not it."""
        demo, as_json = self.deployment.openstack, self.deployment.openstack_json
        demo("server", "group", "create", "--policy", "anti-affinity", "apart", user=DEMO)
        demo(
            *("server", "create", "--flavor", "m1.tiny", "--image", image, "--nic", "none"),
            *("--server-group", "apart", "--min", "3", "--max", "3", "apart"),
            user=DEMO,
        )
        eventually("all have ended", 60, lambda: self.statuses() == {"ACTIVE", "ERROR"})
        group = as_json("server", "group", "show", "apart", user=DEMO)
        members = [as_json("server", "show", uuid, user=ADMIN) for uuid in group["members"]]
        hosts = [one["OS-EXT-SRV-ATTR:host"] for one in members if one["status"] == "ACTIVE"]
        self.assertEqual(sorted(host.name for host in self.deployment.hosts), sorted(hosts))
        (failed,) = [one for one in members if one["status"] == "ERROR"]
        self.assertIn("servers of the group", failed["fault"]["message"])
        self.assertEqual([group["id"]], failed["server_groups"])
        demo("server", "group", "delete", "apart", user=DEMO)

    def assert_spread_evenly(self) -> None:
        """Equal hosts hold equally many."""
        counts = [len(c.listAllDomains()) for c in self.connections]
        self.assertEqual(counts[0], counts[1])

    def running(self) -> int:
        """Return how many of our domains run."""
        domains = [d for c in self.connections for d in c.listAllDomains() if d.name() != "test"]
        return sum(bool(domain.isActive()) for domain in domains)


class TwentyServersOnMariaDB(TwentyServers, BootTest):
    """On MariaDB."""

    database = staticmethod(services.mariadb)


class TwentyServersOnPostgreSQL(TwentyServers, BootTest):
    """On PostgreSQL."""

    database = staticmethod(services.postgresql)


class RealGuestTest(BootTest):
    """A guest that really runs, in QEMU without KVM."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two hosts, each with a libvirt of its own."""
        hosts = [libvirt_host(name, services.libvirtd(name).uri, "qemu") for name in ("q1", "q2")]
        return Deployment("guest", services.mariadb(), hosts)

    def test_a_guest_boots_and_its_console_can_be_read(self) -> None:
        """From the image to the marker that the guest writes on its serial port, and to its end."""
        self.add_flavor("m1.tiny", 128)
        name = self.add_image(guest_image(), "qcow2")
        self.deployment.openstack(
            *("server", "create", "--flavor", "m1.tiny", "--image", name, "--nic", "none"),
            *("--wait", "vm1"),
            user=DEMO,
        )
        self.await_marker(1)
        domains = [d for name in ("q1", "q2") for d in services.libvirtd(name).domains()]
        self.assertEqual([libvirt.VIR_DOMAIN_RUNNING], [domain.state()[0] for domain in domains])

        self.deployment.openstack("server", "reboot", "--hard", "--wait", "vm1", user=DEMO)
        self.await_marker(2)
        self.deployment.openstack("server", "stop", "vm1", user=DEMO)
        eventually("the guest is off", 90, lambda: self.statuses() == {"SHUTOFF"})
        self.delete_all()
        for name in ("q1", "q2"):
            self.assertEqual([], services.libvirtd(name).domains())

    def await_marker(self, times: int) -> None:
        """Wait until the console holds the guest's marker so many times."""

        def marked() -> bool:
            log = self.deployment.openstack("console", "log", "show", "vm1", user=DEMO)
            return log.count(MARKER) >= times

        eventually(f"the console says {MARKER} {times} times", 90, marked)
