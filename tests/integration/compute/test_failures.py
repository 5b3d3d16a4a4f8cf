"""What a compute host does when something fails under real guests, and when it is killed itself."""

import signal
import sys
import time
from pathlib import Path

import libvirt
from testtools.content import text_content

from kilonova.compute import builder
from kilonova.compute.driver import Guest
from kilonova.core.context import service_context
from kilonova.core.errors import BusUnavailable, NotFound
from kilonova.core.ids import domain_name
from kilonova.core.instance import Instance
from kilonova.core.orders import HardReboot, SoftReboot, Stop
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.rpc.messages import ConsoleOutput, GetConsoleOutput
from tests.functional.compute.host_case import HostCase
from tests.instances import HOST, instance
from tests.integration import services
from tests.integration.compute import sectors
from tests.integration.compute.worlds import QemuWorld
from tests.integration.services.process import Process

COMMAND = Path(sys.executable).parent / "kilonova-compute"


class QemuCase(HostCase):
    """A host with QEMU."""

    kind: type[QemuWorld] = QemuWorld

    def setUp(self) -> None:
        super().setUp()
        self.world = self.kind()
        # Guests are removed after the host ended, and before the world does.
        self.addCleanup(self.world.close)
        self.addCleanup(self._remove_all)
        self.addCleanup(self._end_all)
        self.driver = self.world.driver
        (node,) = self.driver.nodes()
        self.cell.add_host(node)

    def _remove_all(self) -> None:
        driver = self.world.new_driver()
        for uuid in driver.guests():
            driver.destroy(uuid)
        driver.close()

    def domain(self, server: Instance) -> "libvirt.virDomain | None":
        """Return a server's domain, seen by libvirt alone."""
        for domain in self.world.daemon.domains():
            if domain.name() == domain_name(server.uuid):
                return domain
        return None

    def files(self) -> list[str]:
        """Return the files of servers."""
        return self.world.files()

    def until_downloading(self, count: int = 1) -> None:
        """Wait until a host asked for the data of an image."""
        self.until("it downloads", lambda: self.world.images.downloads == count)

    def assert_failed(self, server: Instance, reason: str) -> None:
        """Wait for ERROR; the reason is a tenant's to read, and nothing may be left."""
        self.until_is(server, VmState.ERROR)
        fault = self.cell.fault(server)
        self.assertIsNotNone(fault)
        self.assertIn(reason, fault.message)
        for secret in (str(self.world.directory), "libvirt", "qemu", "127.0.0.1"):
            self.assertNotIn(secret, fault.message)
        self.assert_nothing_left(server)

    def assert_nothing_left(self, server: Instance) -> None:
        """Assert that there is no claim, no domain and no file of a server."""
        self.until("its claim is free", lambda: not self.cell.held(server))
        self.assertIsNone(self.domain(server))
        self.assertEqual([], self.files())


class FailureTest(QemuCase):
    """Failures around a host that lives."""

    def test_a_build_waits_for_an_image_store_that_comes_back(self) -> None:
        server = self.world.deaf("vm")
        self.world.images.go()
        self.serve(self.driver)
        self.cell.build(server)
        self.until_begun(server)
        time.sleep(0.5)
        self.assertEqual(TaskState.SPAWNING, self.cell.get(server).task_state)
        self.world.images.come()
        self.until_active(server)
        self.assertEqual(Guest(PowerState.RUNNING, 1), self.driver.guests()[server.uuid])

    def test_a_build_does_not_wait_for_ever_for_an_image_store(self) -> None:
        self.patch(builder, "_IMAGE_SECONDS", 0.5)
        server = self.world.deaf("vm")
        self.world.images.go()
        self.serve(self.driver)
        self.cell.build(server)
        self.assert_failed(server, "image store")

    def test_a_full_disk_is_a_reason(self) -> None:
        server = self.world.deaf("vm")
        cache = self.world.instances / "_base"
        image = server.image
        (cache / f"{image.image_id}-{image.hash_value[:16]}.part").symlink_to("/dev/full")
        self.serve(self.driver)
        self.cell.build(server)
        self.assert_failed(server, "cannot be kept on this host")
        self.assertIn("No space left", self.cell.fault(server).details)

    def test_a_guest_that_does_not_start_leaves_nothing(self) -> None:
        server = self.world.deaf("vm")
        # QEMU cannot write its console there.
        (self.world.instances / server.uuid / "console.log").mkdir(parents=True)
        self.serve(self.driver)
        self.cell.build(server)
        self.assert_failed(server, "The hypervisor refused")
        self.assertIn("console.log", self.cell.fault(server).details)

    def test_a_delete_during_the_download_leaves_nothing(self) -> None:
        server = self.world.deaf("vm")
        self.world.images.hold()
        self.serve(self.driver)
        self.cell.build(server)
        self.until_downloading()
        self.cell.delete(server)
        self.world.images.flow()
        self.until_deleted(server)
        self.assert_nothing_left(server)

    def test_a_delete_during_the_spawn_leaves_nothing(self) -> None:
        server = self.spawning("vm")
        self.cell.delete(server)
        self.world.daemon.thaw_daemon()
        self.until_deleted(server)
        self.assert_nothing_left(server)

    def test_a_daemon_that_dies_during_the_spawn_is_waited_for(self) -> None:
        server = self.spawning("vm")
        self.world.go()
        time.sleep(0.5)
        self.assertEqual(TaskState.SPAWNING, self.cell.get(server).task_state)
        self.world.come()
        self.assert_failed(server, "The hypervisor does not answer")

    def spawning(self, name: str) -> Instance:
        """Return a server whose spawn waits for a daemon that is frozen."""
        server = self.world.deaf(name)
        self.world.images.hold()
        self.serve(self.driver)
        self.cell.build(server)
        self.until_downloading()
        self.world.daemon.freeze_daemon()
        self.addCleanup(self.world.daemon.thaw_daemon)
        self.world.images.flow()
        self.until("the disk is made", lambda: any("disk" in name for name in self.files()))
        time.sleep(0.2)
        return server

    def test_a_guest_that_ends_by_itself_is_a_server_that_stopped(self) -> None:
        self.serve(self.driver)
        server = self.cell.build(self.world.brief("vm"))
        self.until_active(server)
        self.until_is(server, VmState.STOPPED)
        self.assertEqual(PowerState.SHUTDOWN, self.cell.get(server).power_state)

    def test_a_guest_that_ended_while_the_daemon_was_away_is_noticed(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(self.world.brief("vm")))
        self.world.go()
        time.sleep(1.5)
        self.world.come()
        self.until_is(server, VmState.STOPPED)

    def test_a_soft_reboot_asks_and_a_hard_one_does_not(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(self.world.polite("vm")))
        for times, order in ((2, SoftReboot()), (3, HardReboot())):
            self.until_console_says(server, times - 1)
            self.act(server, order)
            self.until_console_says(server, times)
            self.until_active(server)
        self.act(server, Stop())
        self.until_is(server, VmState.STOPPED)

    def until_console_says(self, server: Instance, times: int) -> None:
        """Wait until a guest has come up so many times."""

        def said() -> bool:
            return self.driver.console_output(server.uuid, None).count(sectors.LINE) == times

        self.until(f"it came up {times} times", said)


class KillTest(QemuCase):
    """A compute service that is killed, and started again."""

    def setUp(self) -> None:
        self.bus_url = services.rabbitmq().transport_url("compute-failures")
        super().setUp()
        self.file = self.directory / "killed.conf"
        images = self.world.images.options
        host = f"[DEFAULT]\nhost = {HOST}\n"
        self.file.write_text(self.cell.options + self.world.options + images + host)
        self.log = self.directory / "compute.log"
        self.addOnException(self._add_log)

    def _add_log(self, _info: object) -> None:
        if self.log.exists():
            self.addDetail("compute.log", text_content(self.log.read_text()))

    def start(self) -> Process:
        """Start the service, and wait until it takes messages: what is sent before is lost."""
        process = Process(
            "kilonova-compute", [str(COMMAND), "--config-file", str(self.file)], log=self.log
        )
        self.addCleanup(process.stop)
        process.wait_ready(self._listens)
        return process

    def _listens(self) -> bool:
        message = GetConsoleOutput(instance_uuid=instance().uuid)
        try:
            self.cell.bus.call(service_context(), message, ConsoleOutput, host=HOST, timeout=1)
        except NotFound:
            return True
        except BusUnavailable:
            return False
        return True

    def kill(self, process: Process) -> None:
        """End the service without a word."""
        process.send(signal.SIGKILL)
        process.wait(10)

    def test_a_build_that_was_killed_during_its_download_is_built_anew(self) -> None:
        server = self.world.deaf("vm")
        self.world.images.hold()
        process = self.start()
        self.cell.build(server)
        self.until_downloading()
        self.kill(process)
        self.world.images.flow()
        self.start()
        self.until_active(server)
        cached = [path.name for path in (self.world.instances / "_base").iterdir()]
        self.assertEqual([], [name for name in cached if name.endswith(".part")])

    def test_a_guest_lives_on_and_is_never_made_twice_whenever_the_service_is_killed(self) -> None:
        process = self.start()
        lasting = self.cell.build(self.world.deaf("lasting"))
        self.until_active(lasting)
        number = self.domain(lasting).ID()
        for delay in (0.0, 0.15, 0.3, 0.5):
            servers = [self.cell.build(self.world.deaf(f"vm-{n}")) for n in range(4)]
            self.until_begun(servers[0])
            time.sleep(delay)
            self.kill(process)
            process = self.start()
            for server in servers:
                self.settled(server)
            # What failed is on no host any more, and leaves nothing to delete there.
            here = [one for one in map(self.cell.get, servers) if one.host is not None]
            for server in here:
                self.cell.delete(server)
            for server in here:
                self.until_deleted(server)
        self.assertEqual(number, self.domain(lasting).ID(), "it was never started anew")
        self.assertEqual(VmState.ACTIVE, self.cell.get(lasting).vm_state)
        lasting_files = ["console.log", "console.sock", "disk.qcow2", "owner.json"]
        self.assertEqual(lasting_files, [Path(f).name for f in self.files()])

    def settled(self, server: Instance) -> None:
        """Wait until a server has what its state says: a guest if it is ACTIVE, nothing if it failed."""

        def settled() -> bool:
            found = self.cell.get(server)
            if found.task_state == TaskState.SCHEDULING and found.epoch == 1:
                # Its message was lost with the service, and its build not begun: it would be sent again.
                return self.domain(server) is None
            return found.task_state is None and found.vm_state != VmState.BUILDING

        self.until("it is settled", settled)
        found = self.cell.get(server)
        domain = self.domain(server)
        if found.vm_state == VmState.ACTIVE:
            self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, domain.state()[0])
        else:
            self.assertIsNone(domain)
            self.assertFalse([name for name in self.files() if name.startswith(server.uuid)])
