"""The monitor, over a fake hypervisor and in a compute host that serves."""

import logging
import time

import fixtures
import testtools

from kilonova.compute import monitor
from kilonova.compute.fake import FakeDriver
from kilonova.compute.monitor import Monitor
from kilonova.compute.script import Script, Step, Uses
from kilonova.core.context import service_context
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.errors import HypervisorUnavailable, NotFound
from kilonova.core.instance import Instance
from kilonova.core.vitals import Allowance
from kilonova.rpc.messages import Measure
from tests.functional.compute.driver_contract import never
from tests.functional.compute.host_case import HostCase
from tests.functional.compute.test_fake_driver import configuration
from tests.instances import HOST, instance

GREEDY = Step(step="uses", server="greedy", uses=Uses(cpu=0.5, memory=8.0, disk=2.0))


class MonitorTest(testtools.TestCase):
    """Looks that the test asks for."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.use(Script([GREEDY]))

    def use(self, script: Script) -> None:
        """Begin anew, on a host with a script."""
        self.driver = FakeDriver(configuration(), HOST, script)
        self.monitor = Monitor(HOST, self.driver)

    def spawned(self, name: str = "vm") -> Instance:
        """Make a guest."""
        server = instance(name)
        self.driver.spawn(server)
        return server

    def test_a_ring_holds_the_last_samples_and_no_more(self) -> None:
        server = self.spawned()
        for _ in range(40):
            self.monitor.look()
        kept = self.monitor.samples(server.uuid)
        self.assertEqual(30, len(kept))
        self.assertEqual(sorted(s.clock for s in kept), [s.clock for s in kept])

    def test_what_is_gone_is_forgotten(self) -> None:
        server, other = self.spawned(), self.spawned()
        self.monitor.look()
        self.driver.destroy(server.uuid)
        self.monitor.look()
        self.assertEqual((), self.monitor.samples(server.uuid))
        self.assertEqual([other.uuid], [one.instance_uuid for one in self.monitor.vitals()])

    def test_cpus_are_told_by_two_looks(self) -> None:
        server = self.spawned("greedy")
        self.monitor.look()
        time.sleep(0.2)
        self.monitor.look()
        (found,) = self.monitor.vitals()
        assert found.cpu is not None
        self.assertTrue(40 < found.cpu.total < 60, found.cpu)
        measured = self.monitor.diagnostics(server.uuid)
        assert measured is not None
        self.assertTrue(40 < measured.cpu_percents[0] < 60, measured.cpu_percents)

    def test_a_guest_that_is_started_again_begins_a_new_ring(self) -> None:
        server = self.spawned("greedy")
        for _ in range(3):
            time.sleep(0.01)
            self.monitor.look()
        self.driver.reboot(server)
        self.monitor.look()
        self.assertEqual(1, len(self.monitor.samples(server.uuid)))

    def test_a_guest_that_does_not_run_is_measured_by_nobody(self) -> None:
        server = self.spawned()
        self.assertIsNone(self.monitor.diagnostics(server.uuid))
        self.monitor.look()
        self.assertIsNotNone(self.monitor.diagnostics(server.uuid))
        self.driver.stop(server.uuid, 0, never)
        self.monitor.look()
        self.assertIsNone(self.monitor.diagnostics(server.uuid))
        self.assertEqual(["shutdown"], [one.state for one in self.monitor.vitals()])

    def test_an_old_sample_is_not_told_as_how_a_guest_is(self) -> None:
        server = self.spawned()
        self.monitor.look()
        self.patch(monitor, "_FRESH", 0.05)
        time.sleep(0.1)
        self.assertIsNone(self.monitor.diagnostics(server.uuid))

    def test_who_takes_more_than_his_own_is_told_of_once_and_goes_on(self) -> None:
        server = self.spawned("greedy")
        self.spawned("modest")
        for _ in range(3):
            self.monitor.look()
        above = {one.instance_uuid: one.above for one in self.monitor.vitals()}
        self.assertEqual((Allowance.MEMORY, Allowance.DISK), above.pop(server.uuid))
        self.assertEqual([()], list(above.values()))
        for what in ("memory", "disk"):
            self.assertEqual(1, self.log.output.count(f"takes more {what} than its own"))
        self.assertEqual("running", self.driver.diagnostics(server.uuid).state)
        self.driver.stop(server.uuid, 0, never)
        self.monitor.look()
        self.assertIn("takes no more memory", self.log.output)

    def test_a_hypervisor_that_is_away_leaves_what_was_seen(self) -> None:
        gone = Step(step="samples", error="gone", unavailable=True, times=1)
        self.use(Script([gone]))
        server = self.spawned()
        self.assertRaises(HypervisorUnavailable, self.monitor.look)
        self.monitor.look()
        self.assertEqual(1, len(self.monitor.samples(server.uuid)))


class MonitoredHostTest(HostCase):
    """A compute host that looks at its guests by itself."""

    def test_a_host_answers_from_what_it_saw_and_asks_the_hypervisor_only_for_the_rest(
        self,
    ) -> None:
        self.patch(monitor, "INTERVAL", 0.1)
        refuses = Step(step="diagnostics", error="not asked", unavailable=True)
        away = Step(step="samples", error="gone", unavailable=True, times=2)
        driver = FakeDriver(configuration(), HOST, Script([refuses, away]))
        (node,) = driver.nodes()
        self.cell.add_host(node)
        host = self.serve(driver)
        server = self.until_active(self.cell.build(instance()))
        seen = host._handlers.monitor
        self.until("it was seen twice", lambda: len(seen.samples(server.uuid)) > 1)
        message = Measure(instance_uuid=server.uuid)
        found = self.cell.bus.call(service_context(), message, Diagnostics, host=HOST)
        self.assertEqual(("running", 1), (found.state, len(found.cpu_percents)))
        missing = Measure(instance_uuid=instance().uuid)
        call = self.cell.bus.call
        self.assertRaises(NotFound, call, service_context(), missing, Diagnostics, host=HOST)
        threads = seen._thread
        self.end(host)
        self.assertFalse(threads.is_alive())
