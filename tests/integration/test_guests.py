"""What real guests find when they start: their addresses, each other, what they are told, their disks.

Everything is on one machine, in a network namespace of its own: bridge, filters and DHCP are made there.
"""

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import libvirt
import testtools
from testtools.content import text_content

from tests.integration import services
from tests.integration.case import eventually
from tests.integration.guest_image import guest_image
from tests.integration.services.keystone import PROGRAMS
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import CommandFailed, Process, run

ROOT = Path(__file__).parents[2]
PORT = 5000
"""The namespace is the deployment's own, and so are its ports."""

SCRIPT = """\
#!/bin/sh
echo "MARKER $(hostname) {word}"
ping -c 1 -W 5 {neighbour} >/dev/null && echo "REACHED {neighbour}"
mount /dev/disk-of-ephemeral0 /mnt && echo started >>/mnt/starts
echo "STARTS $(grep -c started /mnt/starts)"
umount /mnt
swapon /dev/disk-of-swap && echo "SWAP $(awk 'END {{print $3}}' /proc/swaps)"
ip addr add 10.77.0.200/24 dev eth0
ping -c 1 -W 2 -I 10.77.0.200 10.77.0.1 >/dev/null && echo SPOOFED || echo HONEST
"""
FIND_DISKS = """\
for disk in /sys/block/vd?; do ln -sf "/dev/${disk##*/}" "/dev/disk-of-$(cat $disk/serial)"; done
"""


class RealGuestsTest(testtools.TestCase):
    """A deployment for the class, whose libvirt and guests have a network of their own."""

    daemon: ClassVar[Libvirtd]
    process: ClassVar[Process]
    state: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """Start libvirt and the deployment."""
        super().setUpClass()
        cls.daemon = services.networked_libvirtd("machine")
        cls.state = services.scratch() / "machine"
        log = services.scratch() / "machine.log"
        command = ["nsenter", f"--net={cls.daemon.network}", sys.executable]
        command += ["-m", "tests.integration.one_machine"]
        cls.process = Process(
            "deployment",
            [*command, str(cls.state), cls.daemon.uri, str(PORT)],
            log=log,
            env={"PYTHONPATH": str(ROOT)},
        )
        cls.addClassCleanup(cls.process.stop)
        cls.process.wait_ready(lambda: "ready" in log.read_text())

    def setUp(self) -> None:
        """Show the deployment's log if the test fails."""
        super().setUp()
        self.addOnException(
            lambda _info: self.addDetail("machine.log", text_content(self.process.tail(60)))
        )

    def inside(self, *command: str) -> str:
        """Run a command in the deployment's network and return what it prints."""
        environment = {
            "OS_CLIENT_CONFIG_FILE": str(self.state / "clouds.yaml"),
            "OS_CLOUD": "kilonova",
        }
        return run(["nsenter", f"--net={self.daemon.network}", *command], env=environment)

    def openstack(self, *arguments: str) -> str:
        """Run the ``openstack`` client."""
        return self.inside(str(PROGRAMS / "openstack"), *arguments)

    def boot(self, name: str, script: str, *options: str) -> dict[str, Any]:
        """Boot a server that runs a script, and return it once it is ACTIVE.

        The client would look every five seconds whether it is.
        """
        file = self.state / f"{name}.sh"
        file.write_text(script.replace("#!/bin/sh\n", "#!/bin/sh\n" + FIND_DISKS))
        made: dict[str, Any] = json.loads(
            self.openstack(
                *("server", "create", "--flavor", "three-disks", "--image", "small-linux"),
                *("--nic", "auto", "--user-data", str(file), "-f", "json", *options, name),
            )
        )

        def is_active() -> bool:
            made.update(json.loads(self.openstack("server", "show", "-f", "json", made["id"])))
            return bool(made["status"] == "ACTIVE")

        eventually(f"{name} is ACTIVE", 60, is_active)
        return made

    def until_console_says(self, server: dict[str, Any], words: str) -> str:
        """Wait until a server's guest has said something, and return what the client shows of it."""
        log = self.state / "instances" / server["id"] / "console.log"
        try:
            eventually(
                f"{server['name']} says {words}",
                60,
                lambda: words in log.read_text(errors="replace"),
            )
        except AssertionError:
            self.addDetail(log.name, text_content(log.read_text(errors="replace")))
            raise
        return self.openstack("console", "log", "show", server["id"])

    def left(self) -> list[str]:
        """Return what there is of guests: domains, taps, filters of theirs, files."""
        domains = [domain.name() for domain in self.daemon.domains()]
        links = json.loads(self.inside("ip", "-json", "link"))
        taps = [link["ifname"] for link in links if link["ifname"].startswith("vnet")]
        filters = self.inside("ebtables", "-t", "nat", "-L")
        rules = [line for line in filters.splitlines() if "vnet" in line]
        instances = self.state / "instances"
        files = [str(path) for path in instances.glob("*/*") if path.parent.name != "_base"]
        return domains + taps + rules + files

    def test_guests_find_their_addresses_each_other_their_disks_and_what_they_are_told(
        self,
    ) -> None:
        """Two guests from their image to their end, one of them through a stop and a start."""
        self.openstack(
            *("image", "create", "--disk-format", "qcow2", "--container-format", "bare"),
            *("--file", str(guest_image()), "small-linux"),
        )
        self.openstack(
            *("flavor", "create", "--ram", "128", "--vcpus", "1", "--disk", "1"),
            *("--ephemeral", "1", "--swap", "16", "three-disks"),
        )
        first = self.boot("first", SCRIPT.format(word="by-http", neighbour="10.77.0.1"))
        address = first["addresses"]["default"][0]
        second = self.boot(
            "second",
            SCRIPT.format(word="by-drive", neighbour=address),
            *("--use-config-drive", "--property", "colour=<red>&'\""),
        )
        self.assertEqual(["10.77.0.3"], second["addresses"]["default"])
        told = self.until_console_says(first, "HONEST")
        self.assertIn(f"metadata of {first['id']}, i-{first['id'][:8]}", told)
        self.assertIn("MARKER first by-http", told)
        self.assertIn("BOOT-OK first", told)
        told = self.until_console_says(second, "HONEST")
        for words in (
            "config drive on /dev/vdd",
            "card eth0 52:54:0a:4d:00:03 10.77.0.3/24",
            f"metadata of {second['id']}, i-{second['id'][:8]}",
            "MARKER second by-drive",
            f"REACHED {address}",
            "STARTS 1",
            "SWAP 16380",
        ):
            self.assertIn(words, told)
        self.assertNotIn("SPOOFED", told)

        self.check_consoles("second")

        self.openstack("server", "stop", "second")
        eventually(
            "it is off", 60, lambda: self.states()[second["id"]] == libvirt.VIR_DOMAIN_SHUTOFF
        )
        eventually(
            "it is idle", 120, lambda: "SHUTOFF" in self.openstack("server", "list", "-f", "csv")
        )
        self.openstack("server", "start", "second")
        self.until_console_says(second, "STARTS 2")
        self.openstack("server", "delete", "first", "second")
        eventually("nothing is left", 60, lambda: not self.left())

    def check_consoles(self, name: str) -> None:
        """A browser sees the screen and types on the serial line, through the proxy and its token alone."""
        screen = self.console("--novnc", name)
        client = (sys.executable, "-m", "tests.integration.console_client")
        self.assertIn("RFB 003.008", self.inside(*client, screen))
        line = self.console("--serial", name)
        said = self.inside(*client, line, "echo TYPED-$((6 * 7))", "TYPED-42")
        self.assertIn("TYPED-42", said)
        wrong = self.assertRaises(CommandFailed, self.inside, *client, line + "x")
        self.assertIn("401", str(wrong))

    def console(self, kind: str, name: str) -> str:
        """Return the URL of a server's console."""
        shown = json.loads(self.openstack("console", "url", "show", kind, "-f", "json", name))
        return str(shown["url"])

    def states(self) -> dict[str, int]:
        """Return the states of domains by the servers' UUIDs."""
        return {domain.UUIDString(): domain.state()[0] for domain in self.daemon.domains()}
