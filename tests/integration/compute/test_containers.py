"""The driver of libvirt's containers keeps the contract of all drivers, as far as containers can."""

import os
import threading
import time
import unittest
from pathlib import Path

import libvirt
import msgspec

from kilonova.compute.libvirt import tool
from kilonova.core.diagnostics import DiskRole
from kilonova.core.errors import BuildAborted, BuildFailed, NotSupported
from kilonova.core.instance import Instance, Wishes
from kilonova.core.states import PowerState
from tests.functional.compute.driver_contract import EndsByItself, GoesAway, never
from tests.functional.compute.size_contract import ChangesSize
from tests.integration.compute.containers import EMULATOR, LINE, ContainerWorld
from tests.integration.compute.test_libvirt_driver import GOLDENS, LibvirtCase, Outlives


@unittest.skipUnless(
    os.geteuid() == 0 and EMULATOR.exists(), "takes root, and libvirt's containers"
)
class ContainerTest(EndsByItself, GoesAway, ChangesSize, Outlives, LibvirtCase):
    """Real containers."""

    kind = ContainerWorld

    # What they refuse; see below.
    test_a_guest_is_suspended_and_resumed_and_either_may_be_repeated = None
    test_a_suspended_guest_is_rebooted_and_removed_like_any_other = None
    test_a_rescued_guest_runs_and_so_it_does_afterwards = None
    test_a_disk_is_copied_in_whatever_state_the_guest_is_and_it_stays_so = None

    test_a_guest_that_does_not_heed_is_stopped_when_its_time_is_up = None

    def server(self, name: str = "vm", **changed: object) -> Instance:
        """See ``DriverContract``. libvirt asks before it kills, and waits for those who are deaf."""
        return msgspec.structs.replace(self.at.polite(name), **changed)

    def define(self, name: str) -> None:
        """See ``Outlives``."""
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        domain = connection.defineXML(
            f"<domain type='lxc'><name>{name}</name><memory>65536</memory>"
            "<os><type>exe</type><init>/sbin/init</init></os></domain>"
        )
        self.addCleanup(domain.undefine)

    def said(self, server: Instance) -> str:
        """Return all that a container said."""
        return self.driver.console_output(server.uuid, None)

    def test_somebody_else_who_takes_loop_devices_is_not_in_the_way(self) -> None:
        taken, over = self.at.directory / "taken", threading.Event()
        taken.write_bytes(bytes(1 << 20))

        def take() -> None:
            while not over.is_set():
                device = tool.run("losetup", "--find", "--show", str(taken)).strip()
                tool.run("losetup", "--detach", device)

        other = threading.Thread(target=take)
        other.start()
        self.addCleanup(other.join)
        self.addCleanup(over.set)
        for number in range(10):
            server = self.spawned(self.server(f"vm-{number}"))
            self.driver.destroy(server.uuid)

    def test_what_containers_cannot_do_is_refused_in_a_sentence_and_they_run_on(self) -> None:
        server = self.spawned(self.server())
        for words, act in (
            ("suspended", lambda: self.driver.suspend(server.uuid)),
            ("suspended", lambda: self.driver.resume(server.uuid)),
            ("rescued", lambda: self.driver.rescue(server, server.image)),
            ("rescued", lambda: self.driver.unrescue(server)),
            ("password", lambda: self.driver.set_password(server, "s3cret")),
            ("interrupted", lambda: self.driver.crash_dump(server.uuid)),
        ):
            self.assertIn(words, self.assertRaises(NotSupported, act).message)
        self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_a_disk_is_copied_in_whatever_state_a_container_is_and_it_stays_so(self) -> None:
        idle = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
        script = f"echo it was here >/kept; echo a container; {idle}"
        server = self.spawned(self.at.of_script("first", script))
        self.until("it wrote", lambda: self.said(server).endswith(LINE))
        for bring, power in (
            (lambda: None, PowerState.RUNNING),
            (lambda: self.driver.pause(server.uuid), PowerState.PAUSED),
            (lambda: self.driver.stop(server.uuid, 0, never), PowerState.SHUTDOWN),
        ):
            bring()
            with self.driver.snapshot(server) as copy:
                data = copy.data.read()
            self.assertEqual(power, self.power(server))
            image = self.at.images.add(data, copy.disk_format)
            image = msgspec.structs.replace(image, properties={"os_command": "/bin/cat /kept"})
            other = self.spawned(self.at.of_script("second", script))
            self.driver.destroy(other.uuid)
            other = self.spawned(msgspec.structs.replace(other, image=image))
            self.until("it is there", lambda other=other: "it was here" in self.said(other))
            self.driver.destroy(other.uuid)

    def test_a_container_that_does_not_heed_is_stopped_when_its_time_is_up(self) -> None:
        server = self.spawned(self.at.deaf("vm"))
        self.until("it is up", lambda: self.said(server).endswith(LINE))
        began = time.monotonic()
        self.driver.stop(server.uuid, 0.5, never)
        self.assertLess(0.5, time.monotonic() - began)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_container_that_heeds_is_not_forced(self) -> None:
        server = self.spawned(self.at.polite("vm"))
        self.until("it is up", lambda: self.said(server).endswith(LINE))
        began = time.monotonic()
        self.driver.stop(server.uuid, 60, never)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(PowerState.SHUTDOWN, self.power(server))

    def test_a_container_has_what_its_flavor_says_and_nothing_of_its_hosts_network(self) -> None:
        script = (
            "cat /proc/meminfo; df -m /; ls /sys/class/net /proc/self/net/dev_snmp6; "
            "echo a container; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        )
        server = self.at.of_script("vm", script)
        server = self.spawned(
            msgspec.structs.replace(server, flavor=msgspec.structs.replace(server.flavor, vcpus=2))
        )
        self.until("it is up", lambda: self.said(server).endswith(LINE))
        said = self.said(server)
        self.assertRegex(said, r"MemTotal: +65536 kB")
        self.assertRegex(said, r"/dev/loop\d+ +9\d\d ")
        self.assertNotIn("eth0", said)
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        limits = connection.lookupByUUIDString(server.uuid).schedulerParameters()
        self.assertEqual((100_000, 200_000), (limits["vcpu_period"], limits["vcpu_quota"]))

    def test_a_config_drive_is_a_directory_where_cloud_init_looks(self) -> None:
        where = "/var/lib/cloud/seed/config_drive/openstack/latest"
        script = f"cat {where}/meta_data.json {where}/user_data; echo a container; sleep 600"
        server = self.at.of_script(
            "named", script, wishes=Wishes(config_drive=True, user_data="bWFya2VyCg==")
        )
        server = self.spawned(server)
        self.until("it is up", lambda: self.said(server).endswith(LINE))
        self.assertIn(server.uuid, self.said(server))
        self.assertIn("marker", self.said(server))

    def test_what_is_no_file_system_is_built_nowhere(self) -> None:
        server = self.at.of_script("vm", "true")
        for data in (b"no file system" * 99999, b"\0" * (1 << 20)):
            broken = msgspec.structs.replace(server, image=self.at.images.add(data))
            error = self.assertRaises(BuildAborted, self.spawned, broken)
            self.assertIn("ext4", error.message)
            self.driver.destroy(broken.uuid)
        self.assertEqual([], self.at.files())

    def test_nothing_that_a_container_says_is_lost_while_nobody_listens(self) -> None:
        script = (
            "sleep 2; seq 1 5000; echo a container; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        )
        server = self.spawned(self.at.of_script("vm", script))
        self.driver.close()
        time.sleep(3)
        self.driver = self.at.driver = self.at.new_driver()
        self.driver.samples()
        self.until("it is read", lambda: self.said(server).endswith(LINE))
        log = Path(self.at.instances, server.uuid, "console.log").read_text()
        self.assertEqual([str(n) for n in range(1, 5001)], log.splitlines()[:-1])

    def test_a_terminal_is_read_again_after_libvirt_was_away(self) -> None:
        script = (
            "echo first; sleep 4; echo a container; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        )
        server = self.spawned(self.at.of_script("vm", script))
        self.at.go()
        self.at.come()

        def heard() -> bool:
            self.driver.samples()
            return self.said(server).endswith(LINE)

        self.until("it is read", heard, 30)
        self.assertEqual(f"first\r\n{LINE}", self.said(server))

    def test_a_container_is_measured_with_all_that_is_known_of_it(self) -> None:
        server = self.spawned(self.at.of_script("vm", "trap 'exit 0' TERM; while :; do :; done"))

        def cpu() -> int:
            time = self.driver.samples()[server.uuid].cpu_time
            return 0 if time is None else time.total

        self.until("it used a CPU", lambda: cpu() > 0)
        first = cpu()
        self.until("it uses more", lambda: cpu() > first)
        found = self.driver.samples()[server.uuid]
        self.assertEqual(server.flavor.memory_mb, found.memory_maximum)
        assert found.memory_resident is not None
        self.assertLess(found.memory_resident, server.flavor.memory_mb)
        (disk,) = found.disks
        self.assertEqual((DiskRole.SYSTEM, server.flavor.root_gb << 30), (disk.role, disk.capacity))

    def test_a_guest_that_waits_for_its_network_stands_still(self) -> None:
        server = self.server()
        self.addCleanup(self.driver.destroy, server.uuid)
        self.driver.prepare_disks(server)
        seen: list[PowerState] = []
        self.driver.spawn(server, lambda: seen.append(self.power(server)))
        self.assertEqual([PowerState.PAUSED], seen)
        self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_a_server_with_what_containers_have_not_is_refused(self) -> None:
        plain = self.server()
        swap = msgspec.structs.replace(plain.flavor, swap_mb=64)
        self.assertRaises(BuildAborted, self.spawned, msgspec.structs.replace(plain, flavor=swap))
        pinned = msgspec.structs.replace(plain.flavor, extra_specs={"hw:cpu_policy": "dedicated"})
        self.assertRaises(BuildFailed, self.spawned, msgspec.structs.replace(plain, flavor=pinned))
        self.driver.destroy(plain.uuid)
        self.assertEqual({}, dict(self.driver.guests()))

    def test_every_golden_file_is_one_that_libvirt_takes(self) -> None:
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        for name in ("container", "container-full"):
            xml = (GOLDENS / f"{name}.xml").read_text()
            connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()
