"""Real guests change hosts: what they count goes on, and whatever fails, there is one good copy of them."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import libvirt
import msgspec

from kilonova.compute.crossing import extents
from kilonova.core.errors import BuildAborted, BuildFailed, KilonovaError, MoveCancelled, NotFound
from kilonova.core.migration import Kind
from kilonova.core.states import PowerState, VmState
from tests.integration.compute.two_hosts import HOST, Sailing, TwoHosts

RUNS, IS_OFF = PowerState.RUNNING, PowerState.SHUTDOWN


class ColdMovesTest(TwoHosts):
    """Guests that are shut down meanwhile, between hosts that share nothing."""

    def test_a_guest_goes_on_from_its_disk_on_the_other_host(self) -> None:
        self.spawn()
        self.brought()
        self.until_counted(self.there.driver, 3)
        said = self.counted(self.there.driver)
        # It stops somewhere, and the disk may be ahead of the console by what was not said.
        self.assertLessEqual(set(said), set(range(said[-1] + 1)))
        self.assertEqual(sorted(said), said)
        self.assertLess(said[-1], 2 * len(said) + 5)
        guest = self.there.driver.guests()[self.server.uuid]
        self.assertEqual((RUNS, 2), (guest.power, guest.epoch))
        self.assertEqual(IS_OFF, self.power(self.here))
        self.here.driver.destroy(self.server.uuid)
        self.assertEqual([], self.here.files())
        self.until_counted(self.there.driver, 2)

    def test_a_resize_gives_more_and_a_revert_finds_what_was_left(self) -> None:
        self.spawn()
        move = self.brought(Kind.RESIZE)
        domain = self.domain(self.there)
        self.assertEqual(move.new_flavor.memory_mb << 10, domain.maxMemory())
        self.assertEqual(move.new_flavor.root_gb << 30, domain.blockInfo("vda")[0])
        last = self.until_counted(self.there.driver, 10)[-1]
        self.there.driver.destroy(self.server.uuid)
        self.assertEqual([], self.there.files())
        back = msgspec.structs.replace(self.server, epoch=3)
        for _ in range(2):
            self.here.driver.restore(back, move, power_on=True)
        said = self.until_counted(self.here.driver, 1)
        self.assertLess(said[-1], last)
        guest = self.here.driver.guests()[self.server.uuid]
        self.assertEqual((RUNS, 3), (guest.power, guest.epoch))
        self.assertEqual(self.server.flavor.memory_mb << 10, self.domain(self.here).maxMemory())

    def test_a_disk_never_becomes_smaller(self) -> None:
        self.spawn()
        small = msgspec.structs.replace(self.server.flavor, root_gb=0)
        move = self.prepared(self.move(Kind.RESIZE, new_flavor=small))
        self.here.driver.stop(self.server.uuid, 0, lambda: True)
        self.assertRaises(BuildAborted, self.here.driver.send, self.server, move)

    def test_an_image_that_no_store_has_any_more_is_brought_along(self) -> None:
        self.spawn()
        self.here.images.forget(self.server.image)
        move = self.brought()
        self.assertTrue(move.berth.wants_image)
        self.until_counted(self.there.driver, 2)

    def test_a_transfer_that_breaks_leaves_no_part_of_a_disk(self) -> None:
        self.spawn(filled_mb=8)
        move = self.prepared(self.move(Kind.MIGRATION))
        self.here.driver.stop(self.server.uuid, 0, lambda: True)
        send = extents.send

        def broken(path: Path, connection: socket.socket, _end: Callable[[], bool]) -> None:
            send(path, connection, lambda: path.suffix == ".qcow2")

        self.patch(extents, "send", broken)
        self.assertRaises(BuildFailed, self.here.driver.send, self.server, move)
        self.assertRaises(
            BuildFailed,
            *(self.there.driver.receive, self.arriving(move), move),
            power_on=True,
        )
        self.assertEqual({"console.log", "owner.json"}, self.files(self.there))
        self.there.driver.destroy(self.server.uuid)
        self.assertEqual([], self.there.files())
        self.here.driver.restore(self.server, move, power_on=True)
        self.until_counted(self.here.driver, 2)

    def test_whoever_comes_when_nobody_is_expected_any_more_is_refused(self) -> None:
        self.spawn()
        move = self.prepared(self.move(Kind.MIGRATION))
        self.there.driver.destroy(self.server.uuid)
        self.here.driver.stop(self.server.uuid, 0, lambda: True)
        error = self.assertRaises(BuildFailed, self.here.driver.send, self.server, move)
        self.assertIn("does not expect", error.message)
        self.assertEqual([], self.there.files())

    def test_a_berth_is_there_again_when_its_host_was_restarted(self) -> None:
        self.spawn()
        move = self.prepared(self.move(Kind.MIGRATION))
        self.there.driver.close()
        self.there.driver = self.there.new_driver()
        self.here.driver.stop(self.server.uuid, 0, lambda: True)
        self.here.driver.send(self.server, move)
        self.there.driver.receive(self.arriving(move), move, power_on=True)
        self.until_counted(self.there.driver, 2)


class LiveMovesTest(TwoHosts):
    """Guests that run meanwhile, between hosts that share nothing."""

    def sail(self, **changed: object) -> Sailing:
        """Let the guest go to the other host while it runs."""
        voyage = Sailing()
        move = self.prepared(self.move(Kind.LIVE))
        move = msgspec.structs.replace(move, **changed)
        self.figures = self.here.driver.live_migrate(self.server, move, voyage)
        for _ in range(2):
            self.there.driver.arrive(self.arriving(move), move)
        return voyage

    def test_a_guest_counts_on_and_takes_its_disk_along(self) -> None:
        self.spawn(filled_mb=4)
        self.sail()
        self.assertIsNone(self.power_of_domain_here())
        self.here.driver.destroy(self.server.uuid)
        self.assertEqual([], self.here.files())
        self.until_counted(self.there.driver, 10)
        self.assert_never_stopped(self.counted(self.there.driver))
        guest = self.there.driver.guests()[self.server.uuid]
        self.assertEqual((RUNS, 2), (guest.power, guest.epoch))
        self.assertLess(0, self.figures.downtime)
        self.assertLess(self.figures.downtime, 5000)
        self.assertLessEqual(64 << 20, self.figures.memory_total)
        # It starts again from what it wrote.
        self.there.driver.reboot(self.arriving(self.move(Kind.LIVE)))
        said = self.until_counted(self.there.driver, 2)
        self.assertLess(10, said[-1])

    def power_of_domain_here(self) -> PowerState | None:
        """Return the guest's power here; None where only its files are left."""
        power = self.power(self.here)
        return None if power is PowerState.NOSTATE else power

    def test_a_paused_guest_stays_paused(self) -> None:
        self.spawn()
        self.here.driver.pause(self.server.uuid)
        self.sail(vm_state=VmState.PAUSED)
        self.assertEqual(PowerState.PAUSED, self.power(self.there))
        self.there.driver.unpause(self.server.uuid)
        self.assert_never_stopped(self.until_counted(self.there.driver, 3))

    def test_what_is_moved_already_is_moved(self) -> None:
        self.spawn()
        move = self.prepared(self.move(Kind.LIVE))
        for _ in range(2):
            self.here.driver.live_migrate(self.server, move, Sailing())
        self.assertEqual(RUNS, self.power(self.there))

    def test_a_guest_that_came_whole_arrives_though_its_source_died_before_it_said_so(self) -> None:
        self.spawn()
        move = msgspec.structs.replace(self.prepared(self.move(Kind.LIVE)), unsent=True)
        self.here.driver.live_migrate(self.server, move, Sailing())
        for _ in range(2):
            self.there.driver.arrive(self.arriving(move), move)
        self.assertEqual(RUNS, self.power(self.there))
        self.assert_never_stopped(self.until_counted(self.there.driver, 3))

    def test_a_guest_of_which_a_part_has_come_does_not_arrive(self) -> None:
        move = msgspec.structs.replace(self.move(Kind.LIVE), unsent=True)

        def arrive(_voyage: Sailing) -> None:
            self.assertRaises(NotFound, self.there.driver.arrive, self.arriving(move), move)

        # With that nobody waits for the rest of it, either.
        self.hindered(arrive)

    def hindered(self, hinder: Callable[[Sailing], None]) -> KilonovaError:
        """Let the guest go slowly, and do something on its way; return how that ended."""
        self.spawn(filled_mb=60)
        self.slow_down()
        voyage = Sailing()
        voyage.at_first = lambda: hinder(voyage)
        move = self.prepared(self.move(Kind.LIVE))
        self.voyage = voyage
        error = self.assertRaises(
            KilonovaError, self.here.driver.live_migrate, self.server, move, voyage
        )
        self.there.driver.destroy(self.server.uuid)
        self.assertIsNone(self.power(self.there))
        self.assertEqual([], self.there.files())
        self.assertEqual(RUNS, self.power(self.here))
        self.assert_never_stopped(self.until_counted(self.here.driver, 5))
        return error

    def test_an_aborted_move_leaves_the_guest_where_it_runs(self) -> None:
        def abort(voyage: Sailing) -> None:
            voyage.aborted = True

        self.assertIsInstance(self.hindered(abort), MoveCancelled)
        self.assertLess(0, self.voyage.told[-1].disk_total)

    def test_a_daemon_that_is_killed_at_the_source_leaves_the_guest_where_it_runs(self) -> None:
        def kill(_voyage: Sailing) -> None:
            self.here.daemon.kill_daemon()
            threading.Timer(1, self.here.daemon.start_daemon).start()

        self.hindered(kill)

    def test_a_daemon_that_is_killed_at_the_destination_leaves_the_guest_where_it_runs(
        self,
    ) -> None:
        def kill(_voyage: Sailing) -> None:
            self.there.daemon.kill_daemon()
            self.there.daemon.start_daemon()

        self.hindered(kill)

    def test_a_forced_move_ends_though_the_guest_writes(self) -> None:
        self.spawn(filled_mb=4)
        self.slow_down()
        voyage = Sailing()
        voyage.forced = True
        move = self.prepared(self.move(Kind.LIVE))
        self.here.driver.live_migrate(self.server, move, voyage)
        self.there.driver.arrive(self.arriving(move), move)
        self.assert_never_stopped(self.until_counted(self.there.driver, 3))


class CopiesTest(TwoHosts):
    """A guest whose disk is copied."""

    def copied(self) -> bytes:
        """Return a copy of the guest's disk, on which it counts on."""
        with self.here.driver.snapshot(self.server) as copy:
            return copy.data.read()

    def test_a_guest_counts_on_while_its_disk_is_copied(self) -> None:
        self.spawn(filled_mb=30)
        data = self.copied()
        self.assertLess(30 << 20, len(data))
        numbers = self.until_counted(self.here.driver, 3)
        self.assert_never_stopped(numbers)
        self.assertLess(2, self.counted_from(data))

    def counted_from(self, data: bytes) -> int:
        """Return where a guest that starts from a copy goes on."""
        again = self.here.of_disk("again", data, "qcow2")
        self.addCleanup(self.here.driver.destroy, again.uuid)
        self.here.driver.prepare_networks(again)
        self.here.driver.prepare_disks(again)
        self.here.driver.spawn(again)
        self.server, first = again, self.server
        self.addCleanup(self.here.driver.destroy, first.uuid)
        return self.until_counted(self.here.driver, 1)[0]

    def test_a_copy_that_died_with_its_daemon_keeps_nobody_from_the_next(self) -> None:
        self.spawn()
        self.interrupt_copy()
        for _ in range(2):
            self.assertTrue(self.copied().startswith(self.here.copies_begin_with))
        move = self.prepared(self.move(Kind.LIVE))
        error = self.assertRaises(
            BuildFailed, self.here.driver.live_migrate, self.server, move, Sailing()
        )
        self.assertIn("Reboot it hard", error.message)
        self.here.driver.reboot(self.server)
        self.assertLess(2, self.counted_from(self.copied()))

    def interrupt_copy(self) -> None:
        """Let libvirt find what it finds if it was killed in the first moment of a copy."""
        daemon = self.here.daemon
        daemon.kill_daemon()
        (status,) = (daemon.directory / "run").rglob(f"*{self.server.uuid}.xml")
        begun = "<job type='none' async='backup' phase='none' flags='0x0'/>\n</domstatus>"
        status.write_text(status.read_text().replace("</domstatus>", begun))
        daemon.start_daemon()
        error = self.assertRaises(libvirt.libvirtError, self.domain(self.here).jobInfo)
        self.assertIn("backup job data missing", str(error))


class SharedMovesTest(TwoHosts):
    """Hosts that see the same files: none is sent, and none is removed that somebody needs."""

    shares = True

    def test_a_confirmed_guest_keeps_its_disk_when_its_old_host_forgets_it(self) -> None:
        self.spawn()
        move = self.brought()
        self.assertTrue(move.berth.shared)
        self.here.driver.destroy(self.server.uuid)
        self.until_counted(self.there.driver, 3)
        self.assertIsNone(self.power(self.here))
        self.there.driver.destroy(self.server.uuid)
        self.assertEqual([], self.here.files())

    def test_a_reverted_guest_has_the_disk_that_it_had(self) -> None:
        self.spawn()
        move = self.brought(Kind.RESIZE)
        last = self.until_counted(self.there.driver, 15)[-1]
        self.there.driver.destroy(self.server.uuid)
        self.here.driver.restore(self.server, move, power_on=True)
        said = self.until_counted(self.here.driver, 1)
        self.assertLess(said[-1], last)
        self.assertEqual(1 << 30, self.domain(self.here).blockInfo("vda")[0])
        self.assertNotIn(f"kept-{HOST}.qcow2", self.files(self.here))

    def test_a_guest_that_moved_while_it_ran_keeps_its_disk(self) -> None:
        self.spawn()
        move = self.prepared(self.move(Kind.LIVE))
        self.here.driver.live_migrate(self.server, move, Sailing())
        self.here.driver.destroy(self.server.uuid)
        self.there.driver.arrive(self.arriving(move), move)
        self.assert_never_stopped(self.until_counted(self.there.driver, 5))

    def test_an_evacuated_guest_has_its_disk_and_the_host_that_returns_leaves_it(self) -> None:
        self.spawn()
        last = self.until_counted(self.here.driver, 15)[-1]
        # The host is down: nothing of it is left but the files.
        self.domain(self.here).destroy()
        new = msgspec.structs.replace(self.server, epoch=2)
        driver = self.there.driver
        driver.destroy(new.uuid)
        driver.prepare_networks(new)
        driver.recover_disks(new)
        driver.spawn(new)
        time.sleep(0.2)
        self.here.driver.destroy(self.server.uuid)
        self.assertLess(last, self.until_counted(driver, 3)[-1])
