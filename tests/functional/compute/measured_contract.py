"""What every driver measures: the part of the contract that has to do with figures."""

from kilonova.core.diagnostics import Diagnostics
from tests.functional.compute.driver_contract import DriverContract, never


def shape(found: Diagnostics) -> tuple[object, ...]:
    """Return what two looks at a guest have in common."""
    disks = [disk.name for disk in found.disks]
    return found.state, found.hypervisor, found.memory_maximum, len(found.cpu_times), disks


class Measures(DriverContract):
    """One guest by itself, and all at once."""

    def test_a_guest_is_measured(self) -> None:
        server = self.spawned(self.server())
        found = self.driver.diagnostics(server.uuid)
        self.assertEqual(("running", "libvirt"), (found.state, found.driver))
        self.assertIn(found.memory_maximum, (server.flavor.memory_mb, None))

    def test_all_guests_are_sampled_at_once_whatever_their_power(self) -> None:
        running, stopped = self.spawned(self.server("a")), self.spawned(self.server("b"))
        self.driver.stop(stopped.uuid, 0, never)
        found = self.driver.samples()
        states = {uuid: figures.state for uuid, figures in found.items()}
        self.assertEqual({running.uuid: "running", stopped.uuid: "shutdown"}, states)
        alone = self.driver.diagnostics(running.uuid)
        self.assertEqual(shape(alone), shape(found[running.uuid]))
        self.driver.destroy(running.uuid)
        self.assertEqual({stopped.uuid}, set(self.driver.samples()))

    def test_a_host_without_guests_has_no_samples(self) -> None:
        self.assertEqual({}, dict(self.driver.samples()))
