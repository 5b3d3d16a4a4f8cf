"""What guests do by themselves reaches the cell, and what they are told to do is not taken for it."""

import uuid

import testtools

from kilonova.compute import watch
from kilonova.compute.fake import FakeDriver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter, Told
from kilonova.compute.script import Script, Step
from kilonova.compute.watch import Watch
from kilonova.core.errors import HypervisorUnavailable
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, VmState, state_of
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import Topic
from tests.instances import HOST, instance
from tests.unit.compute.cell import Cell
from tests.unit.compute.test_inventory import configuration


class WatchCase(testtools.TestCase):
    """A fake host, its watch, and a cell."""

    steps: tuple[Step, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.patch(watch, "_SETTLES", 0.05)
        bus = MemoryBus(f"memory://{uuid.uuid4()}")
        self.cell = Cell()
        server = bus.serve(Topic.CELL_CONDUCTOR, "cell", self.cell)
        self.addCleanup(server.stop)
        self.reporter = Reporter(bus, HOST)
        self.reporter.start()
        self.addCleanup(self.reporter.stop, 5)
        self.driver = FakeDriver(configuration(), HOST, Script(self.steps))
        self.turns = Turns()
        self.watch = Watch(HOST, self.driver, self.reporter, self.turns)

    def running(self, name: str = "vm", epoch: int = 3) -> Instance:
        """Return a server that runs, as the cell knows."""
        server = instance(name, epoch=epoch)
        self.driver.spawn(server)
        self.reporter.believes(server.uuid, Told(epoch, PowerState.RUNNING))
        return server

    def ended(self, server: Instance) -> None:
        """Let a guest end behind everybody's back."""
        self.driver.stop(server.uuid, 0, lambda: True)

    def reported(self) -> list[InstanceReport]:
        """Return what the cell took, once all that is queued is there."""
        self.reporter.stop(5)
        return self.cell.taken


class WatchTest(WatchCase):
    """Looks at guests."""

    def test_a_guest_that_ended_is_reported_once(self) -> None:
        server = self.running()
        self.ended(server)
        for _ in range(3):
            self.assertEqual(set(), self.watch.look({server.uuid}))
        (report,) = self.reported()
        self.assertEqual(
            (server.uuid, 3, VmState.STOPPED, PowerState.SHUTDOWN, True),
            (
                report.instance_uuid,
                report.epoch,
                report.vm_state,
                report.power_state,
                report.if_idle,
            ),
        )

    def test_a_guest_that_vanished_is_reported_as_without_one(self) -> None:
        server = self.running()
        self.driver.destroy(server.uuid)
        self.watch.look({server.uuid})
        (report,) = self.reported()
        self.assertEqual(
            (VmState.STOPPED, PowerState.NOSTATE), (report.vm_state, report.power_state)
        )

    def test_a_guest_that_is_as_the_cell_was_told_is_no_news(self) -> None:
        server = self.running()
        self.watch.look({server.uuid})
        self.assertEqual([], self.reported())

    def test_a_guest_that_the_cell_was_never_told_of_is_no_news(self) -> None:
        server = instance()
        self.driver.spawn(server)
        self.ended(server)
        self.watch.look({server.uuid})
        self.assertEqual([], self.reported())

    def test_a_guest_at_work_is_looked_at_again(self) -> None:
        busy, idle = self.running("busy"), self.running("idle")
        self.ended(busy)
        self.ended(idle)
        with self.turns.turn(busy.uuid):
            self.assertEqual({busy.uuid}, self.watch.look({busy.uuid, idle.uuid}))
        self.assertEqual(set(), self.watch.look({busy.uuid}))
        self.assertEqual(
            [idle.uuid, busy.uuid], [report.instance_uuid for report in self.reported()]
        )

    def test_a_hypervisor_that_is_away_is_no_guest_that_ended(self) -> None:
        server = self.running()
        script = Script([Step(step="guests", error="gone", unavailable=True)])
        self.watch = Watch(
            HOST, FakeDriver(configuration(), HOST, script), self.reporter, self.turns
        )
        self.assertRaises(HypervisorUnavailable, self.watch.look, {server.uuid})
        self.assertEqual([], self.reported())


class WatchThreadTest(WatchCase):
    """With its thread, told by the driver."""

    steps = (
        Step(step="power-off", server="short", seconds=0.1),
        Step(step="guests", times=1, error="gone", unavailable=True),
    )

    def setUp(self) -> None:
        super().setUp()
        self.watch.start()
        self.addCleanup(self.watch.stop)
        self.driver.watch(self.watch)

    def until_reported(self, count: int) -> None:
        """Wait for reports."""
        for _ in range(200):
            if len(self.cell.taken) >= count:
                return
            self.watch._stopped.wait(0.05)
        self.fail(f"{len(self.cell.taken)} of {count} reports")

    def test_what_a_guest_did_is_noticed_though_the_hypervisor_was_away(self) -> None:
        server = self.running("short")
        self.until_reported(1)
        self.assertEqual([server.uuid], [report.instance_uuid for report in self.cell.taken])

    def test_what_was_missed_is_found_in_all_guests(self) -> None:
        self.driver.close()
        servers = [self.running(str(number)) for number in range(3)]
        for server in servers[:2]:
            self.ended(server)
        self.watch.changes_missed()
        self.until_reported(2)
        self.assertEqual(
            {server.uuid for server in servers[:2]},
            {report.instance_uuid for report in self.cell.taken},
        )


class StateTest(testtools.TestCase):
    """What a server is, by its guest's power."""

    def test_every_power_is_a_state(self) -> None:
        self.assertEqual(
            {
                PowerState.NOSTATE: VmState.STOPPED,
                PowerState.RUNNING: VmState.ACTIVE,
                PowerState.PAUSED: VmState.PAUSED,
                PowerState.SHUTDOWN: VmState.STOPPED,
                PowerState.CRASHED: VmState.STOPPED,
                PowerState.SUSPENDED: VmState.SUSPENDED,
            },
            {power: state_of(power) for power in PowerState},
        )
