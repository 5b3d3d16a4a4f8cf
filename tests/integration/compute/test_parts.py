"""Guests that have CPUs of this host for themselves: really pinned, never twice, kept and given back."""

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.core.errors import BuildFailed
from kilonova.core.instance import Instance
from tests.integration.compute.worlds import QemuWorld


class PinnedWorld(QemuWorld):
    """A host that keeps its first two CPUs for servers that want their own."""

    more = "[compute]\ncpu_dedicated_set = 0-1\n"


class PartsTest(testtools.TestCase):
    """Real guests."""

    def setUp(self) -> None:
        super().setUp()
        self.world = PinnedWorld()
        self.addCleanup(self.world.close)
        self.made: list[Instance] = []
        self.addCleanup(self._remove_all)
        self.image = self.world.deaf("vm").image

    def _remove_all(self) -> None:
        for server in self.made:
            self.world.driver.destroy(server.uuid)

    def server(self, name: str = "vm", **specs: str) -> Instance:
        """Return a server whose flavor has extra specs under ``hw:``."""
        plain = self.world.deaf(name)
        extra = {f"hw:{key}": value for key, value in specs.items()}
        flavor = msgspec.structs.replace(plain.flavor, extra_specs=extra)
        return msgspec.structs.replace(plain, image=self.image, flavor=flavor)

    def spawned(self, server: Instance) -> Instance:
        """Spawn a server's guest, as a build does."""
        self.made.append(server)
        self.world.driver.prepare_disks(server)
        self.world.driver.spawn(server)
        return server

    def domain(self, server: Instance) -> Any:
        """Return a server's domain, seen by libvirt alone."""
        (found,) = [d for d in self.world.daemon.domains() if d.UUIDString() == server.uuid]
        return found

    def runs_on(self, server: Instance) -> set[int]:
        """Return the CPUs that the kernel lets a guest's only VCPU run on."""
        (allowed,) = self.domain(server).vcpus()[1]
        return {cpu for cpu, may in enumerate(allowed) if may}

    def pinnable(self) -> int:
        """Return how many CPUs the host says that can still be pinned."""
        (node,) = self.world.driver.nodes()
        return sum(c.whole_cores * c.threads_per_core + c.single_cpus for c in node.numa)

    def test_guests_that_start_at_once_get_a_cpu_each_and_a_third_gets_none(self) -> None:
        servers = [self.server(f"vm-{n}", cpu_policy="dedicated") for n in range(3)]
        refused: list[BuildFailed] = []

        def build(server: Instance) -> None:
            try:
                self.spawned(server)
            except BuildFailed as error:
                refused.append(error)

        self.assertEqual(2, self.pinnable())
        threads = [threading.Thread(target=build, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        (error,) = refused
        self.assertIn("too little left", error.message)
        self.assertIn("pinned CPUs", error.in_full)
        running = {domain.UUIDString() for domain in self.world.daemon.domains()}
        pinned = [self.runs_on(server) for server in servers if server.uuid in running]
        self.assertEqual([{0}, {1}], sorted(pinned, key=min))
        self.assertEqual(0, self.pinnable())

    def test_a_guest_keeps_its_cpu_over_restarts_and_gives_it_back_in_the_end(self) -> None:
        first = self.spawned(self.server("first", cpu_policy="dedicated"))
        second = self.spawned(self.server("second", cpu_policy="dedicated"))
        (had,) = self.runs_on(second)
        self.world.driver.destroy(first.uuid)
        self.world.driver.close()
        self.world.driver = self.world.new_driver()
        self.assertEqual(1, self.pinnable())
        self.world.driver.reboot(second)
        self.assertEqual({had}, self.runs_on(second))
        third = self.spawned(self.server("third", cpu_policy="dedicated"))
        self.assertEqual({0, 1} - {had}, self.runs_on(third))
        self.world.driver.destroy(second.uuid)
        self.assertEqual(1, self.pinnable())

    def test_a_guest_without_a_cpu_of_its_own_keeps_off_those_of_others(self) -> None:
        count = os.cpu_count() or 1
        if count == 2:
            # All of this host's CPUs are kept for others, so it may not offer any to share.
            self.assertNotIn("VCPU", self.world.driver.nodes()[0].inventory)
            return
        server = self.spawned(self.server())
        self.assertEqual(set(range(2, count)), self.runs_on(server))

    def test_memory_is_bound_to_the_cell_that_was_picked(self) -> None:
        server = self.spawned(self.server(numa_nodes="1", cpu_policy="dedicated"))
        xml = self.domain(server).XMLDesc()
        self.assertIn("<memnode cellid='0' mode='strict' nodeset='0'/>", xml)
        pid = Path("/proc") / str(self.qemu(server)) / "numa_maps"
        if pid.exists():
            self.assertIn("bind:0", pid.read_text())

    def qemu(self, server: Instance) -> int:
        """Return the process of a guest."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes()
                if b"qemu-system" in command and server.uuid.encode() in command:
                    return int(entry.name)
        raise AssertionError("It does not run")
