"""Guests with parts of their host for themselves change hosts while they run."""

import libvirt
import msgspec

from kilonova.core.errors import BuildFailed, NotSupported
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind
from tests.integration.compute.two_hosts import OtherWorld, Sailing, TwoHosts
from tests.integration.compute.worlds import QemuWorld


class PinnedHere(QemuWorld):
    """A host that keeps two CPUs for servers that want their own."""

    more = "[compute]\ncpu_dedicated_set = 0-1\n"


class PinnedThere(OtherWorld):
    """Another one."""

    more = PinnedHere.more


class PinnedMovesTest(TwoHosts):
    """Guests with CPUs and memory of a host for themselves, which the next host picks anew."""

    kinds = (PinnedHere, PinnedThere)

    def setUp(self) -> None:
        super().setUp()
        self.server = self.pinned(self.server)

    def pinned(self, server: Instance) -> Instance:
        """Return a server that wants a CPU of its own, and its memory beside it."""
        specs = {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"}
        flavor = msgspec.structs.replace(server.flavor, extra_specs=specs)
        return msgspec.structs.replace(server, flavor=flavor)

    def runs_on(self, world: QemuWorld) -> set[int]:
        """Return the CPUs that the kernel lets the guest's only VCPU run on."""
        (allowed,) = self.domain(world).vcpus()[1]
        return {cpu for cpu, may in enumerate(allowed) if may}

    def free(self, world: QemuWorld) -> int:
        """Return how many CPUs a host says that can still be pinned."""
        return sum(
            cell.whole_cores * cell.threads_per_core + cell.single_cpus
            for cell in world.driver.nodes()[0].numa
        )

    def test_a_guest_counts_on_upon_the_cpu_that_is_free_where_it_comes(self) -> None:
        other = self.pinned(self.there.deaf("other"))
        self.addCleanup(self.there.driver.destroy, other.uuid)
        self.there.driver.prepare_disks(other)
        self.there.driver.spawn(other)
        self.spawn()
        self.assertEqual({0}, self.runs_on(self.here))
        move = self.prepared(self.move(Kind.LIVE))
        self.assertEqual((1, 0), (self.free(self.here), self.free(self.there)))
        self.here.driver.live_migrate(self.server, move, Sailing())
        self.assertEqual({1}, self.runs_on(self.there))
        self.there.driver.arrive(self.arriving(move), move)
        self.here.driver.destroy(self.server.uuid)
        self.assertEqual((2, 0), (self.free(self.here), self.free(self.there)))
        self.until_counted(self.there.driver, 5)
        self.assert_never_stopped(self.counted(self.there.driver))
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            xml = self.domain(self.there).XMLDesc(flags)
            self.assertIn("<vcpupin vcpu='0' cpuset='1'/>", xml)
            self.assertIn("<memnode cellid='0' mode='strict' nodeset='0'/>", xml)

    def test_a_guest_for_which_there_is_none_stays_and_one_with_devices_is_not_asked_for(
        self,
    ) -> None:
        others = [self.pinned(self.there.deaf(f"other-{number}")) for number in range(2)]
        for other in others:
            self.addCleanup(self.there.driver.destroy, other.uuid)
            self.there.driver.prepare_disks(other)
            self.there.driver.spawn(other)
        error = self.assertRaises(BuildFailed, self.prepared, self.move(Kind.LIVE))
        self.assertIn("too little left", error.message)
        self.there.driver.destroy(self.server.uuid)
        self.assertIsNone(self.power(self.there))
        specs = {"pci_passthrough:alias": "10de_1db4:1"}
        flavor = msgspec.structs.replace(self.server.flavor, extra_specs=specs)
        self.server = msgspec.structs.replace(self.server, flavor=flavor)
        refused = self.assertRaises(NotSupported, self.prepared, self.move(Kind.LIVE))
        self.assertIn("does not move live", refused.message)
