"""Real guests go on at their destination before all of their memory is there, and what can break then."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import libvirt

from kilonova.core.errors import MemoryLost
from kilonova.core.migration import Kind, Migration, Progress
from kilonova.core.states import PowerState
from tests.integration.compute.two_hosts import OtherWorld, Sailing, TwoHosts
from tests.integration.compute.worlds import LibvirtWorld, QemuWorld

_PERMITTED = "live_migration_permit_post_copy = true\n"
_LACKS = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY]


class _Here(QemuWorld):
    more = _PERMITTED


class _There(OtherWorld):
    more = _PERMITTED


class _Killed(Exception):
    """What ends a service without its knowledge."""


class PostCopyTest(TwoHosts):
    """A guest that writes more than a slow network takes along, and is let go on elsewhere."""

    kinds = (_Here, _There)
    writes = True

    def setUp(self) -> None:
        super().setUp()
        self.voyage = Sailing()
        self.parted = False
        self.spawn()
        self.going = self.prepared(self.move(Kind.LIVE))

    def sail(self, then: Callable[[], None]) -> Migration:
        """Force the guest to go, do something once it runs there without all of its memory."""
        say, domain = self.voyage.progress, self.domain(self.here)
        domain.migrateSetMaxSpeed(4)
        domain.migrateSetMaxSpeed(1, libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY)

        def progress(how_far: Progress) -> None:
            say(how_far)
            if not self.voyage.forced:
                # It never becomes so little that it is sent at once.
                domain.migrateSetMaxDowntime(1)
                self.voyage.forced = how_far.memory_processed > 0
            if self.voyage.forced and not self.parted and self.domain(self.there).state() == _LACKS:
                self.parted = True
                then()

        self.voyage.progress = progress
        try:
            self.here.driver.live_migrate(self.server, self.going, self.voyage)
        finally:
            self.assertTrue(self.parted, self.voyage.told[-1])
            self.voyage.forced = False
        return self.going

    def kill(self, world: LibvirtWorld) -> None:
        """Kill the guest's QEMU on a host."""
        at = f"{world.instances}/{self.server.uuid}"
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                said = (process / "cmdline").read_text()
                if said.startswith("/usr/bin/qemu") and at in said:
                    os.kill(int(process.name), signal.SIGKILL)

    def test_what_it_lacks_comes_when_its_destinations_service_is_back(self) -> None:
        def restart() -> None:
            self.there.driver.close()
            self.there.driver = self.there.new_driver()

        move = self.sail(restart)
        self.there.driver.arrive(self.arriving(move), move)
        self.assert_never_stopped(self.until_counted(self.there.driver, 3))

    def test_what_it_lacks_comes_when_its_sources_service_is_back(self) -> None:
        def die() -> None:
            raise _Killed

        self.assertRaises(_Killed, self.sail, die)
        self.here.driver.close()
        self.here.driver = self.here.new_driver()
        move = self.going
        self.here.driver.live_migrate(self.server, move, self.voyage)
        self.there.driver.arrive(self.arriving(move), move)
        self.assert_never_stopped(self.until_counted(self.there.driver, 3))

    def test_it_is_lost_with_its_new_half_and_starts_from_its_disk_where_it_went(self) -> None:
        counted = self.counted(self.here.driver)[-1]
        move = self.sail(lambda: self.kill(self.there))
        self.assertIn(self.power(self.here), (None, PowerState.NOSTATE))
        arriving = self.arriving(move)
        self.assertRaises(MemoryLost, self.there.driver.arrive, arriving, move)
        self.assertNotEqual(PowerState.RUNNING, self.power(self.there))
        self.there.driver.reboot(arriving)
        self.assertLess(counted, self.until_counted(self.there.driver, 1)[-1])
