"""What every driver does: one suite for the fake one, for libvirt's test driver and for QEMU."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from kilonova.compute.driver import Driver, Guest
from kilonova.core.errors import (
    BuildFailed,
    HypervisorUnavailable,
    NotFound,
)
from kilonova.core.host import NodeReport
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState
from tests.instances import instance


class Notes:
    """A ``Watcher`` that keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[InstanceUuid, PowerState]] = []
        self.missed = threading.Event()

    def power_changed(self, uuid: InstanceUuid, power: PowerState) -> None:
        """See ``Watcher``."""
        self.changes.append((uuid, power))

    def changes_missed(self) -> None:
        """See ``Watcher``."""
        self.missed.set()


class World(Protocol):
    """A hypervisor for one test, and what happens to it."""

    driver: Driver
    console: str
    """What a guest's console says once it is up."""
    copies_begin_with: bytes
    """What copies of disks begin with."""

    def deaf(self, name: str) -> Instance:
        """Return a server whose guest does not shut down when it is asked."""

    def brief(self, name: str) -> Instance:
        """Return a server whose guest ends by itself, soon after its start."""

    def go(self) -> None:
        """Let the hypervisor not answer."""

    def come(self) -> None:
        """Let it answer again."""


def unmeasured(nodes: tuple[NodeReport, ...]) -> list[NodeReport]:
    """Return reports without how busy the machine was."""
    return [msgspec.structs.replace(node, metrics={}) for node in nodes]


def never() -> bool:
    """Nobody is in a hurry."""
    return False


class DriverContract:
    """The suite, for a ``testtools.TestCase``.

    ``world()`` returns a hypervisor without guests, which goes away with the test.
    """

    world: Callable[[], World]

    def setUp(self) -> None:
        super().setUp()
        self.at = self.world()
        self.driver = self.at.driver

    def server(self, name: str = "vm", **changed: object) -> Instance:
        """Return a server that is not there yet."""
        return msgspec.structs.replace(self.at.deaf(name), **changed)

    def spawned(self, server: Instance) -> Instance:
        """Make a server's guest, and return the server."""
        self.addCleanup(self.driver.destroy, server.uuid)
        self.driver.prepare_networks(server)
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        return server

    def power(self, server: Instance) -> PowerState:
        """Return the power of a guest that is there."""
        return self.driver.guests()[server.uuid].power

    def until(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {seconds:g} s: {what}")
            time.sleep(0.05)

    def test_a_host_without_guests_has_none(self) -> None:
        self.assertEqual({}, dict(self.driver.guests()))
        (node,) = self.driver.nodes()
        self.assertEqual((0, 0, 0), (node.servers, node.running_vms, node.vcpus_used))
        self.assertLess(0, node.inventory["VCPU"].total)

    def test_a_guest_runs_under_the_epoch_that_made_it(self) -> None:
        server = self.spawned(self.server(epoch=7))
        self.assertEqual({server.uuid: Guest(PowerState.RUNNING, 7)}, dict(self.driver.guests()))

    def test_all_guests_are_read_at_once_each_with_its_own_power_and_epoch(self) -> None:
        first, second = self.spawned(self.server("a", epoch=1)), self.spawned(self.server("b"))
        third = self.spawned(self.server("c", epoch=3))
        self.driver.stop(second.uuid, 0, never)
        (node,) = self.driver.nodes()
        self.assertEqual((3, 2), (node.servers, node.running_vms))
        self.assertEqual(
            {
                first.uuid: Guest(PowerState.RUNNING, 1),
                second.uuid: Guest(PowerState.SHUTDOWN, 1),
                third.uuid: Guest(PowerState.RUNNING, 3),
            },
            dict(self.driver.guests()),
        )

    def test_there_is_never_a_second_guest_of_a_server(self) -> None:
        server = self.spawned(self.server(epoch=2))
        for epoch in (1, 2, 3):
            again = msgspec.structs.replace(server, epoch=epoch)
            self.assertRaises(BuildFailed, self.driver.spawn, again)
        self.assertEqual({server.uuid: Guest(PowerState.RUNNING, 2)}, dict(self.driver.guests()))

    def test_a_stopped_guest_is_in_the_way_of_a_second_one_too(self) -> None:
        server = self.spawned(self.server())
        self.driver.stop(server.uuid, 0, never)
        self.assertRaises(BuildFailed, self.driver.spawn, server)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_what_was_removed_is_gone_and_can_be_removed_again(self) -> None:
        server = self.spawned(self.server())
        for _ in range(2):
            self.driver.destroy(server.uuid)
            self.assertEqual({}, dict(self.driver.guests()))

    def test_a_stopped_guest_is_removed_too(self) -> None:
        server = self.spawned(self.server())
        self.driver.stop(server.uuid, 0, never)
        self.driver.destroy(server.uuid)
        self.assertEqual({}, dict(self.driver.guests()))

    def test_what_was_removed_can_be_made_again_under_another_epoch(self) -> None:
        server = self.spawned(self.server())
        self.driver.destroy(server.uuid)
        again = self.spawned(msgspec.structs.replace(server, epoch=2))
        self.assertEqual({again.uuid: Guest(PowerState.RUNNING, 2)}, dict(self.driver.guests()))

    def test_a_guest_stops_and_starts_and_either_may_be_repeated(self) -> None:
        server = self.spawned(self.server())
        self.driver.start(server.uuid)
        self.assertEqual(PowerState.RUNNING, self.power(server))
        for _ in range(2):
            self.driver.stop(server.uuid, 0, never)
            self.assertEqual(PowerState.SHUTDOWN, self.power(server))
        for _ in range(2):
            self.driver.start(server.uuid)
            self.assertEqual(PowerState.RUNNING, self.power(server))
        self.assertEqual(1, self.driver.guests()[server.uuid].epoch)

    def test_a_guest_that_does_not_heed_is_stopped_when_its_time_is_up(self) -> None:
        server = self.spawned(self.server())
        began = time.monotonic()
        self.driver.stop(server.uuid, 0.5, never)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_guest_is_stopped_at_once_when_there_is_a_hurry(self) -> None:
        server = self.spawned(self.server())
        began = time.monotonic()
        self.driver.stop(server.uuid, 600, lambda: time.monotonic() - began > 0.5)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_reboot_leaves_a_guest_running_in_whatever_state_it_was(self) -> None:
        server = self.spawned(self.server(epoch=2))
        self.driver.reboot(server)
        self.assertEqual(Guest(PowerState.RUNNING, 2), self.driver.guests()[server.uuid])
        self.driver.stop(server.uuid, 0, never)
        self.driver.reboot(server)
        self.assertEqual(Guest(PowerState.RUNNING, 2), self.driver.guests()[server.uuid])

    def test_a_guest_pauses_and_goes_on_and_either_may_be_repeated(self) -> None:
        server = self.spawned(self.server())
        for _ in range(2):
            self.driver.pause(server.uuid)
            self.assertEqual(PowerState.PAUSED, self.power(server))
        for _ in range(2):
            self.driver.unpause(server.uuid)
            self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_a_guest_is_suspended_and_resumed_and_either_may_be_repeated(self) -> None:
        server = self.spawned(self.server(epoch=3))
        for _ in range(2):
            self.driver.suspend(server.uuid)
            self.assertEqual(Guest(PowerState.SUSPENDED, 3), self.driver.guests()[server.uuid])
        for _ in range(2):
            self.driver.resume(server.uuid)
            self.assertEqual(Guest(PowerState.RUNNING, 3), self.driver.guests()[server.uuid])

    def test_a_suspended_guest_is_rebooted_and_removed_like_any_other(self) -> None:
        server = self.spawned(self.server())
        self.driver.suspend(server.uuid)
        self.driver.reboot(server)
        self.assertEqual(PowerState.RUNNING, self.power(server))
        self.driver.stop(server.uuid, 0, never)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))
        self.driver.start(server.uuid)
        self.driver.suspend(server.uuid)
        self.driver.destroy(server.uuid)
        self.assertEqual({}, dict(self.driver.guests()))
        again = self.spawned(server)
        self.assertEqual(PowerState.RUNNING, self.power(again))

    def test_a_paused_guest_is_stopped_like_any_other(self) -> None:
        server = self.spawned(self.server())
        self.driver.pause(server.uuid)
        self.driver.stop(server.uuid, 5, never)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_rescued_guest_runs_and_so_it_does_afterwards(self) -> None:
        server = self.spawned(self.server(epoch=2))
        assert server.image is not None
        for was in (PowerState.RUNNING, PowerState.SHUTDOWN):
            if was == PowerState.SHUTDOWN:
                self.driver.stop(server.uuid, 0, never)
            self.driver.rescue(server, server.image)
            self.assertEqual(Guest(PowerState.RUNNING, 2), self.driver.guests()[server.uuid])
            self.driver.unrescue(server)
            self.assertEqual(Guest(PowerState.RUNNING, 2), self.driver.guests()[server.uuid])

    def test_a_disk_is_copied_in_whatever_state_the_guest_is_and_it_stays_so(self) -> None:
        server = self.spawned(self.server())
        for bring, power in (
            (lambda: None, PowerState.RUNNING),
            (lambda: self.driver.pause(server.uuid), PowerState.PAUSED),
            (lambda: self.driver.unpause(server.uuid), PowerState.RUNNING),
            (lambda: self.driver.suspend(server.uuid), PowerState.SUSPENDED),
            (lambda: self.driver.resume(server.uuid), PowerState.RUNNING),
            (lambda: self.driver.stop(server.uuid, 0, never), PowerState.SHUTDOWN),
        ):
            bring()
            with self.driver.snapshot(server) as copy:
                data = copy.data.read()
            self.assertTrue(data.startswith(self.at.copies_begin_with), data[:10])
            self.assertEqual(power, self.power(server))

    def test_an_image_that_is_good_is_fetched(self) -> None:
        self.driver.cache_image(self.server().image)
        self.driver.fetch_image(self.server())

    def test_nothing_can_be_done_with_a_guest_that_is_not_there(self) -> None:
        server = instance()
        self.assertRaises(NotFound, self.driver.start, server.uuid)
        self.assertRaises(NotFound, self.driver.stop, server.uuid, 0, never)
        self.assertRaises(NotFound, self.driver.reboot, server)
        self.assertRaises(NotFound, self.driver.console_output, server.uuid, None)
        self.assertRaises(NotFound, self.driver.console, server.uuid, "novnc")
        self.assertRaises(NotFound, self.driver.diagnostics, server.uuid)
        self.assertRaises(NotFound, self.driver.devices, server.uuid)
        for act in (
            self.driver.pause,
            self.driver.unpause,
            self.driver.suspend,
            self.driver.resume,
            self.driver.crash_dump,
        ):
            self.assertRaises(NotFound, act, server.uuid)
        assert server.image is not None
        self.assertRaises(NotFound, self.driver.rescue, server, server.image)
        self.assertRaises(NotFound, self.driver.unrescue, server)
        self.assertRaises(NotFound, self.driver.set_password, server, "secret")
        self.assertRaises(NotFound, self.driver.snapshot(server).__enter__)
        self.driver.destroy(server.uuid)
        self.assertEqual({}, dict(self.driver.guests()))

    def test_the_console_tells_what_the_guest_said_last(self) -> None:
        server = self.spawned(self.server())
        expected = self.at.console

        def said() -> str:
            return self.driver.console_output(server.uuid, None)

        self.until("the console speaks", lambda: said().endswith(expected))
        self.assertEqual("", self.driver.console_output(server.uuid, 0))
        last = expected.splitlines(keepends=True)[-1:]
        self.assertEqual("".join(last), self.driver.console_output(server.uuid, 1))
        self.assertEqual(said(), self.driver.console_output(server.uuid, 10_000))

    def test_a_node_counts_what_its_guests_have(self) -> None:
        server = self.spawned(self.server("a"))
        self.spawned(self.server("b"))
        self.driver.stop(server.uuid, 0, never)
        (node,) = self.driver.nodes()
        flavor = server.flavor
        self.assertEqual(
            (2 * flavor.vcpus, 2 * flavor.memory_mb, 2 * flavor.root_gb, 1),
            (node.vcpus_used, node.memory_mb_used, node.disk_gb_used, node.running_vms),
        )
        self.driver.destroy(server.uuid)
        self.assertEqual(flavor.vcpus, self.driver.nodes()[0].vcpus_used)

    def test_a_node_is_the_same_at_every_look(self) -> None:
        first, second = (unmeasured(self.driver.nodes()) for _ in range(2))
        self.assertEqual(first, second)

    def test_whoever_watches_hears_of_a_guest_that_is_stopped(self) -> None:
        notes = Notes()
        self.driver.watch(notes)
        server = self.spawned(self.server())
        self.driver.stop(server.uuid, 0, never)
        stopped = (server.uuid, PowerState.SHUTDOWN)
        self.until("it is heard of", lambda: stopped in notes.changes)


class EndsByItself(DriverContract):
    """For hypervisors whose guests can end by themselves."""

    def test_whoever_watches_hears_of_a_guest_that_ended_by_itself(self) -> None:
        notes = Notes()
        self.driver.watch(notes)
        server = self.spawned(self.at.brief("short"))
        ended = (server.uuid, PowerState.SHUTDOWN)
        self.until("it is heard of", lambda: ended in notes.changes)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))
        self.driver.start(server.uuid)
        self.assertEqual(PowerState.RUNNING, self.power(server))


class GoesAway(DriverContract):
    """For hypervisors that can be away."""

    def test_a_hypervisor_that_is_away_says_so_whatever_is_asked(self) -> None:
        server = self.spawned(self.server())
        other = self.server("other")
        self.at.go()
        self.addCleanup(self.at.come)
        for ask in (
            self.driver.nodes,
            self.driver.guests,
            lambda: self.driver.prepare_disks(other),
            lambda: self.driver.spawn(other),
            lambda: self.driver.destroy(server.uuid),
            lambda: self.driver.stop(server.uuid, 0, never),
            lambda: self.driver.start(server.uuid),
            lambda: self.driver.reboot(server),
            lambda: self.driver.console_output(server.uuid, None),
            lambda: self.driver.console(server.uuid, "novnc"),
            lambda: self.driver.diagnostics(server.uuid),
            self.driver.samples,
            lambda: self.driver.pause(server.uuid),
            lambda: self.driver.unpause(server.uuid),
            lambda: self.driver.suspend(server.uuid),
            lambda: self.driver.resume(server.uuid),
            lambda: self.driver.rescue(server, server.image),
            lambda: self.driver.unrescue(server),
            lambda: self.driver.set_password(server, "secret"),
            lambda: self.driver.crash_dump(server.uuid),
            lambda: self.driver.snapshot(server).__enter__(),
        ):
            self.assertRaises(HypervisorUnavailable, ask)
        self.driver.watch(Notes())
        self.at.come()
        self.assertNotIn(other.uuid, self.driver.guests())
