"""The libvirt driver keeps the contract of all drivers, on libvirt's test driver and on QEMU."""

import re
import time
from pathlib import Path
from typing import Any

import libvirt
import msgspec
import testtools

from kilonova.compute.driver import Guest
from kilonova.core.diagnostics import DiskRole
from kilonova.core.errors import BuildAborted, BuildFailed
from kilonova.core.ids import domain_name
from kilonova.core.states import PowerState
from kilonova.core.vitals import above
from tests.functional.compute.driver_contract import (
    EndsByItself,
    GoesAway,
    Notes,
    never,
    unmeasured,
)
from tests.functional.compute.measured_contract import Measures
from tests.functional.compute.screen_contract import HasScreen
from tests.functional.compute.share_contract import HasShares
from tests.functional.compute.size_contract import ChangesSize
from tests.integration import services
from tests.integration.compute.shares_case import SharesCase
from tests.integration.compute.worlds import DaemonWorld, LibvirtWorld


class Outlives(Measures):
    """Guests outlive the service."""

    def test_a_new_driver_finds_guests_with_their_epochs_and_what_they_have(self) -> None:
        server, other = self.spawned(self.server("a", epoch=4)), self.spawned(self.server("b"))
        self.driver.stop(other.uuid, 0, never)
        before = unmeasured(self.driver.nodes())
        self.driver.close()
        self.driver = self.at.driver = self.at.new_driver()
        self.assertEqual(
            {
                server.uuid: Guest(PowerState.RUNNING, 4),
                other.uuid: Guest(PowerState.SHUTDOWN, 1),
            },
            dict(self.driver.guests()),
        )
        self.assertEqual(before, unmeasured(self.driver.nodes()))

    def test_a_reboot_under_a_later_epoch_makes_the_guest_that_ones(self) -> None:
        server = self.spawned(self.server(epoch=1))
        self.driver.reboot(msgspec.structs.replace(server, epoch=2))
        self.driver.close()
        self.driver = self.at.driver = self.at.new_driver()
        self.assertEqual(Guest(PowerState.RUNNING, 2), self.driver.guests()[server.uuid])

    def test_files_without_a_guest_are_seen_and_removed(self) -> None:
        server = self.server()
        self.driver.prepare_disks(server)
        self.assertEqual({server.uuid: Guest(PowerState.NOSTATE, 0)}, dict(self.driver.guests()))
        self.assertEqual(0, self.driver.nodes()[0].running_vms)
        self.driver.destroy(server.uuid)
        self.assertEqual([], self.at.files())
        self.assertEqual({}, dict(self.driver.guests()))

    def test_a_guest_leaves_no_file_behind(self) -> None:
        server = self.spawned(self.server())
        self.driver.destroy(server.uuid)
        self.assertEqual([], self.at.files())

    def test_a_domain_that_is_not_ours_is_no_guest(self) -> None:
        self.define("theirs")
        self.assertEqual({}, dict(self.driver.guests()))

    def define(self, name: str) -> None:
        """Define a domain behind the driver's back."""
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        domain = connection.defineXML(
            f"<domain type='{self.at.virt_type}'><name>{name}</name><memory>65536</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        self.addCleanup(domain.undefine)

    def test_a_hypervisor_that_refuses_keeps_its_words_from_tenants(self) -> None:
        server = self.server()
        self.define(domain_name(server.uuid))
        refused = self.assertRaises(BuildFailed, self.spawned, server)
        self.assertNotIn("domain", refused.message)
        self.assertIn("libvirtError: operation failed", refused.in_full)


class LibvirtCase(testtools.TestCase):
    """A test in a world that ends with it."""

    kind: type[LibvirtWorld]

    def world(self) -> Any:
        """See ``DriverContract``."""
        world = self.kind()
        self.addCleanup(world.close)
        return world


class _InProcess(LibvirtWorld):
    def __init__(self) -> None:
        super().__init__("test:///default")


class TestDriverTest(Outlives, LibvirtCase):
    """libvirt's test driver, in this process."""

    kind = _InProcess


class DaemonTest(GoesAway, LibvirtCase):
    """libvirt's test driver in a daemon, which ends with all of its domains."""

    kind = DaemonWorld

    def test_a_daemon_that_comes_back_is_used_again(self) -> None:
        self.at.go()
        self.at.come()
        server = self.spawned(self.server())
        self.assertEqual(PowerState.RUNNING, self.power(server))


class QemuTest(EndsByItself, GoesAway, HasScreen, HasShares, ChangesSize, Outlives, SharesCase):
    """Real guests."""

    def test_a_guest_that_heeds_is_not_forced(self) -> None:
        server = self.spawned(self.at.polite("vm"))
        self.until("it is up", lambda: bool(self.driver.console_output(server.uuid, 1)))
        began = time.monotonic()
        self.driver.stop(server.uuid, 600, never)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_password_that_no_agent_took_is_told_so_in_time(self) -> None:
        silent = self.server("silent")
        assert silent.image is not None
        wants = msgspec.structs.replace(silent.image, properties={"hw_qemu_guest_agent": "yes"})
        silent = self.spawned(msgspec.structs.replace(silent, image=wants))
        without = self.spawned(self.server("without"))
        began = time.monotonic()
        for server, words in ((silent, "does not answer"), (without, "has no agent")):
            error = self.assertRaises(BuildFailed, self.driver.set_password, server, "s3cret-word")
            self.assertIn(words, error.message)
            self.assertNotIn("s3cret-word", error.in_full)
        self.assertLess(time.monotonic() - began, 30)

    def test_a_guest_that_works_is_sampled_with_all_that_is_known_of_it(self) -> None:
        server = self.spawned(self.server())

        def cpu() -> int:
            time = self.driver.samples()[server.uuid].cpu_time
            return 0 if time is None else time.total

        self.until("it used a CPU", lambda: cpu() > 0)
        first = cpu()
        self.until("it uses more", lambda: cpu() > first)
        self.until(
            "it has run for a while", lambda: (self.driver.samples()[server.uuid].uptime or 0) > 0
        )
        found = self.driver.samples()[server.uuid]
        self.assertEqual(server.flavor.memory_mb, found.memory_maximum)
        assert found.memory_resident is not None
        self.assertLess(0, found.memory_resident)
        (disk,) = [disk for disk in found.disks if disk.role == DiskRole.SYSTEM]
        self.assertEqual(server.flavor.root_gb << 30, disk.capacity)
        assert disk.allocation is not None
        self.assertTrue(0 < disk.allocation < 10 << 20, disk.allocation)
        self.assertEqual((), above(found))

    def test_a_broken_image_is_built_nowhere_and_leaves_nothing(self) -> None:
        server = self.at.of_disk("vm", b"this is no qcow2" * 64, "qcow2")
        self.assertRaises(BuildAborted, self.spawned, server)
        self.assertEqual([], self.at.files())
        self.assertEqual({}, dict(self.driver.guests()))

    def test_guests_live_on_while_the_daemon_is_away_and_changes_may_be_missed(self) -> None:
        server = self.spawned(self.server(epoch=3))
        notes = Notes()
        self.driver.watch(notes)
        self.driver.guests()
        notes.missed.clear()
        self.at.go()
        self.addCleanup(self.at.come)
        self.at.come()
        self.assertEqual(Guest(PowerState.RUNNING, 3), self.driver.guests()[server.uuid])
        self.assertTrue(notes.missed.is_set())
        self.driver.stop(server.uuid, 0, never)
        stopped = (server.uuid, PowerState.SHUTDOWN)
        self.until("it is heard of", lambda: stopped in notes.changes)


GOLDENS = Path(__file__).parents[2] / "unit" / "compute" / "domains"


class GoldenTest(testtools.TestCase):
    """The files that say what the XML of guests should be."""

    def test_every_golden_file_is_one_that_libvirt_takes(self) -> None:
        connection = libvirt.open(services.libvirtd("contract").uri)
        self.addCleanup(connection.close)
        # libvirt's own test driver, a machine that is not emulated here, and what are no machines.
        others = {"test", "aarch64", "container", "container-full"}
        names = {file.stem for file in GOLDENS.glob("*.xml")} - others
        self.assertLess(7, len(names))
        for name in sorted(names):
            xml = (GOLDENS / f"{name}.xml").read_text().replace('type="kvm"', 'type="qemu"')
            # Nothing here emulates a TPM.
            xml = re.sub("(?s)<tpm .*</tpm>", "", xml)
            try:
                connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                )
            except libvirt.libvirtError as error:
                self.fail(f"{name}.xml: {error}")
