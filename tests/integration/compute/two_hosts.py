"""Two hosts of QEMU on this machine, and the parts of moves between them, told as a cell tells them."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import libvirt
import msgspec
import testtools

from kilonova.compute.driver import Driver
from kilonova.compute.libvirt.driver import LibvirtDriver
from kilonova.core.ids import HostName, NodeName
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration, Progress
from kilonova.core.states import PowerState, VmState
from tests.functional.compute.driver_contract import never
from tests.functional.compute.size_contract import resize_of
from tests.instances import HOST
from tests.integration.compute import sectors
from tests.integration.compute.worlds import LibvirtWorld, QemuWorld

THERE = HostName("host-2")


class OtherWorld(QemuWorld):
    """The other host. With ``shares`` it sees the first one's files."""

    name = "contract-2"
    host = THERE

    def __init__(self, beside: LibvirtWorld, *, shares: bool = False) -> None:
        self._shared = beside.instances if shares else None
        super().__init__(beside)

    def new_driver(self) -> LibvirtDriver:
        """See ``LibvirtWorld``."""
        if self._shared is not None:
            self._file.write_text(self.options.replace(str(self.instances), str(self._shared)))
            self.instances = self._shared
        return super().new_driver()


class Sailing:
    """A ``Voyage`` that keeps what it is told."""

    def __init__(self) -> None:
        self.aborted = False
        self.forced = False
        self.told: list[Progress] = []
        self.at_first: Callable[[], None] = lambda: None

    def progress(self, how_far: Progress) -> None:
        """See ``Voyage``. As the first bytes of a disk are there, it is surely on the way."""
        first = not any(word.disk_processed for word in self.told)
        self.told.append(how_far)
        if first and how_far.disk_processed:
            self.at_first()


class TwoHosts(testtools.TestCase):
    """A counting guest on the first host."""

    shares = False
    writes = False
    """Whether the guest writes to its memory all the time."""
    kinds: tuple[type[QemuWorld], type[OtherWorld]] = (QemuWorld, OtherWorld)

    def setUp(self) -> None:
        super().setUp()
        here, there = self.kinds
        self.here = here()
        self.addCleanup(self.here.close)
        self.there = there(self.here, shares=self.shares)
        self.addCleanup(self.there.close)
        self.server = self.here.of_disk("vm", sectors.counting(writing=self.writes))
        for world in (self.there, self.here):
            self.addCleanup(self._remove, world)

    def _remove(self, world: LibvirtWorld) -> None:
        world.driver.destroy(self.server.uuid)

    def spawn(self, filled_mb: int = 0) -> None:
        """Make the guest; of its disk so much is written already."""
        driver, server = self.here.driver, self.server
        driver.prepare_networks(server)
        driver.prepare_disks(server)
        if filled_mb:
            disk = str(self.here.instances / server.uuid / "disk.qcow2")
            write = f"write -P 7 8M {filled_mb}M"
            subprocess.run(
                ["qemu-io", "-f", "qcow2", "-c", write, disk], check=True, stdout=subprocess.DEVNULL
            )
        driver.spawn(server)
        self.until_counted(driver, 3)

    def slow_down(self) -> None:
        """Let the guest leave its host at a few MiB a second."""
        connection = libvirt.open(self.here.uri)
        self.addCleanup(connection.close)
        connection.lookupByUUIDString(self.server.uuid).migrateSetMaxSpeed(10)

    def counted(self, driver: Driver) -> list[int]:
        """Return the numbers that the guest said, as far as its last line is whole."""
        said = driver.console_output(self.server.uuid, None)
        return [int(line, 16) for line in re.findall(r"^([0-9A-F]{4})\r*$", said, re.MULTILINE)]

    def until_counted(self, driver: Driver, more: int, seconds: float = 120) -> list[int]:
        """Wait until the guest counted so far beyond what it did, and return all that it said."""
        deadline, before = time.monotonic() + seconds, len(self.counted(driver))
        while len(now := self.counted(driver)) < before + more:
            self.assertLess(time.monotonic(), deadline, f"it counted {now[-5:]}")
            time.sleep(0.05)
        return now

    def assert_never_stopped(self, counted: list[int]) -> None:
        """No number is left out, and none was said twice: one guest said all of it, in one life."""
        self.assertEqual(list(range(counted[0], counted[0] + len(counted))), counted)

    def move(self, kind: Kind, **changed: object) -> Migration:
        """Return a move of the server to the other host."""
        plain = resize_of(self.server)
        destination = msgspec.structs.replace(plain.chosen, host=THERE, node=NodeName(THERE))
        flavor = plain.new_flavor if kind is Kind.RESIZE else plain.old_flavor
        return msgspec.structs.replace(
            plain,
            **{
                "kind": kind,
                "source_host": HOST,
                "destination": destination,
                "new_flavor": flavor,
                **changed,
            },
        )

    def arriving(self, move: Migration) -> Instance:
        """Return the server as it is at its destination."""
        epoch = self.server.epoch + 1
        return msgspec.structs.replace(self.server, flavor=move.new_flavor, epoch=epoch)

    def prepared(self, move: Migration) -> Migration:
        """Let the destination prepare, and return the move as its source is told of it."""
        sized = msgspec.structs.replace(self.server, flavor=move.new_flavor)
        return msgspec.structs.replace(
            move, berth=self.there.driver.prepare_move(sized, move), vm_state=VmState.ACTIVE
        )

    def brought(self, kind: Kind = Kind.MIGRATION) -> Migration:
        """Bring the guest to the other host, shut down meanwhile; each part is told twice."""
        move = self.prepared(self.move(kind))
        self.here.driver.stop(self.server.uuid, 0, never)
        for _ in range(2):
            self.here.driver.send(self.server, move)
        for _ in range(2):
            self.there.driver.receive(self.arriving(move), move, power_on=True)
        return move

    def power(self, world: LibvirtWorld) -> PowerState | None:
        """Return the power of the guest on a host, None where there is nothing of it."""
        guest = world.driver.guests().get(self.server.uuid)
        return guest.power if guest else None

    def domain(self, world: LibvirtWorld) -> "libvirt.virDomain":
        """Return the guest's domain, seen by libvirt alone."""
        connection = libvirt.open(world.uri)
        self.addCleanup(connection.close)
        return connection.lookupByUUIDString(self.server.uuid)

    def files(self, world: LibvirtWorld) -> set[str]:
        """Return the names of the guest's files on a host."""
        return {Path(path).name for path in world.files()}
