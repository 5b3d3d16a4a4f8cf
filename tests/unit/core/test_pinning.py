"""Which CPUs, cells, pages and devices a server gets for itself."""

import random

import msgspec
import testtools

from kilonova.core import numa, pinning
from kilonova.core.asked import Malformed
from kilonova.core.pinning import Assigned, Core, Device, HostCell, Parts
from tests.instances import FLAVOR, instance


def host_cell(number: int, first: int, cores: int = 4, **changed: object) -> HostCell:
    """Return a cell of 2 shared CPUs, and of cores of two threads (n and n + 100)."""
    fields: dict[str, object] = {
        "shared": frozenset({first + 50, first + 51}),
        "cores": tuple(
            Core(cpus=frozenset({first + n, first + n + 100}), whole=True) for n in range(cores)
        ),
        "threads_per_core": 2,
        "memory_mb": 8192,
        "pages": {2048: 1024, 1 << 20: 2},
    }
    return HostCell(number=number, **fields | changed)


HOST = Parts(cells=(host_cell(0, 0), host_cell(1, 10)))


def server(vcpus: int = 2, memory_mb: int = 1024, **specs: str) -> object:
    """Return a server whose flavor has extra specs; ``hw_x__0`` stands for ``hw:x.0``."""
    extra = {key.replace("hw_", "hw:", 1).replace("__", "."): v for key, v in specs.items()}
    flavor = msgspec.structs.replace(FLAVOR, vcpus=vcpus, memory_mb=memory_mb, extra_specs=extra)
    return instance(flavor=flavor)


def dedicated(vcpus: int = 2, **specs: str) -> object:
    """Return a server with CPUs of its own."""
    return server(vcpus, hw_cpu_policy="dedicated", **specs)


CPUS = (
    # (what, server, CPUs in the order of its VCPUs, those that stay idle)
    ("threads of a core first", dedicated(2), [0, 100], set()),
    ("as many cores as it takes", dedicated(3), [0, 100, 1], set()),
    ("a core for each", dedicated(2, hw_cpu_thread_policy="isolate"), [0, 1], {100, 101}),
    ("whole cores", dedicated(3, hw_cpu_thread_policy="require"), [0, 100, 1], set()),
    (
        "two cells",
        dedicated(2, hw_numa_nodes="2"),
        [0, 10],
        set(),
    ),
    (
        "cells as it says",
        dedicated(
            3,
            hw_numa_nodes="2",
            hw_numa_cpus__0="2",
            hw_numa_cpus__1="0,1",
            hw_numa_mem__0="512",
            hw_numa_mem__1="512",
        ),
        [10, 110, 0],
        set(),
    ),
)


class AssignTest(testtools.TestCase):
    """What one server gets."""

    def assigned(self, guest: object, parts: Parts = HOST) -> Assigned:
        """Return what a server gets, which must fit."""
        found = pinning.assign(guest, parts)
        self.assertIsInstance(found, Assigned)
        return found

    def test_each_policy_gets_its_cpus(self) -> None:
        for what, guest, cpus, idle in CPUS:
            found = self.assigned(guest)
            in_order = [found.cpus[vcpu] for vcpu in sorted(found.cpus)]
            self.assertEqual((cpus, idle), (in_order, set(found.idle)), what)

    def test_single_cpus_go_first_except_where_siblings_are_required(self) -> None:
        first = self.assigned(dedicated(1))
        free = pinning.left(HOST, [first])
        self.assertEqual({0: 100, 1: 1}, self.assigned(dedicated(2), free).cpus)
        required = dedicated(2, hw_cpu_thread_policy="require")
        self.assertEqual({0: 1, 1: 101}, self.assigned(required, free).cpus)

    def test_of_a_mixed_server_only_some_are_its_own(self) -> None:
        guest = server(4, hw_cpu_policy="mixed", hw_cpu_dedicated_mask="1,3")
        self.assertEqual({1: 0, 3: 100}, self.assigned(guest).cpus)

    def test_qemus_own_threads_may_have_a_cpu_for_themselves(self) -> None:
        found = self.assigned(dedicated(2, hw_emulator_threads_policy="isolate"))
        self.assertEqual(({0: 0, 1: 100}, 1), (found.cpus, found.emulator))
        self.assertEqual({0, 100, 1}, set(found.taken))
        shared = self.assigned(dedicated(2, hw_emulator_threads_policy="share"))
        self.assertIsNone(shared.emulator)
        self.assertRaises(
            Malformed, pinning.assign, server(hw_emulator_threads_policy="isolate"), HOST
        )

    def test_memory_is_in_the_largest_pages_that_are_asked_for_and_fit(self) -> None:
        for page, memory, expected in (
            ("small", 1024, None),
            ("large", 2048, 1 << 20),
            ("large", 1536, 2048),
            ("2MB", 1024, 2048),
            ("any", 2049, None),
        ):
            found = self.assigned(server(2, memory, hw_mem_page_size=page))
            self.assertEqual(expected, found.pages.get(0), page)
            self.assertEqual({0: 0}, found.cells)

    def test_what_does_not_fit_is_told_in_a_sentence(self) -> None:
        for guest, words in (
            (dedicated(9), "one with 9 pinned CPUs"),
            (dedicated(2, hw_numa_nodes="2", hw_mem_page_size="4GB"), "needs 2 NUMA cells"),
            (server(3, hw_numa_nodes="3", memory_mb=999), "needs 3 NUMA cells"),
            (server(2, 9000, hw_numa_nodes="1"), "9000 MiB"),
        ):
            found = pinning.assign(guest, HOST)
            self.assertIsInstance(found, str)
            self.assertIn(words, found)

    def test_devices_are_of_the_alias_and_nobody_elses(self) -> None:
        parts = Parts(
            devices=(
                Device(address="0000:3b:00.1", alias="nic"),
                Device(address="0000:3b:00.0", alias="nic"),
                Device(address="0000:af:00.0", alias="gpu"),
            )
        )
        flavor = msgspec.structs.replace(FLAVOR, extra_specs={"pci_passthrough:alias": "nic"})
        guest = instance(flavor=flavor)
        first = self.assigned(guest, parts)
        self.assertEqual(("0000:3b:00.0",), first.devices)
        second = self.assigned(guest, pinning.left(parts, [first]))
        self.assertEqual(("0000:3b:00.1",), second.devices)
        third = pinning.assign(guest, pinning.left(parts, [first, second]))
        self.assertEqual("needs 1 devices nic, host has 0 free", third)

    def test_mediated_devices_are_nobody_elses(self) -> None:
        parts = Parts(vgpus=("a", "b", "c"))
        one = server(**{"resources:VGPU": "2"})
        had = self.assigned(one, parts)
        self.assertEqual(("a", "b"), had.vgpus)
        rest = pinning.left(parts, [had])
        self.assertEqual("needs 2 VGPUs, host has 1 free", pinning.assign(one, rest))
        self.assertEqual(("c",), self.assigned(server(**{"resources_B:VGPU": "1"}), rest).vgpus)
        self.assertTrue(pinning.wanted(one).has_devices)

    def test_a_server_that_wants_nothing_gets_nothing(self) -> None:
        self.assertEqual(Assigned(), pinning.assign(server(), HOST))


class LeftTest(testtools.TestCase):
    """What many servers leave."""

    def test_what_a_server_had_is_there_again_without_it(self) -> None:
        isolated = pinning.assign(dedicated(2, hw_cpu_thread_policy="isolate"), HOST)
        paged = pinning.assign(server(2, 1024, hw_mem_page_size="2MB"), HOST)
        assert isinstance(isolated, Assigned)
        assert isinstance(paged, Assigned)
        (first, second) = pinning.counted(pinning.left(HOST, [isolated, paged]).cells)
        self.assertEqual(
            (2, 0, 8192 - 1024), (first.whole_cores, first.single_cpus, first.memory_mb)
        )
        self.assertEqual(1024 - 512, first.pages[2048])
        self.assertEqual(pinning.counted(HOST.cells)[1], second)
        self.assertEqual(HOST, pinning.left(HOST, []))

    def test_whatever_comes_and_goes_no_cpu_is_anybodys_twice_and_the_filter_agrees(self) -> None:
        chance = random.Random(6)
        policies = ("prefer", "isolate", "require")
        refused = placed = 0
        for _ in range(40):
            there: list[Assigned] = []
            for _ in range(30):
                if there and chance.random() < 0.3:
                    there.remove(chance.choice(there))
                guest = dedicated(
                    chance.choice((2, 4)),
                    hw_cpu_thread_policy=chance.choice(policies),
                    hw_numa_nodes=chance.choice(("1", "2")),
                    hw_emulator_threads_policy=chance.choice(("share", "isolate")),
                )
                free = pinning.left(HOST, there)
                topology = numa.wanted(guest)
                assert topology is not None
                fit = numa.fit(topology, pinning.counted(free.cells))
                found = pinning.assign(guest, free)
                self.assertEqual(fit is None, isinstance(found, str))
                if isinstance(found, str):
                    refused += 1
                    continue
                placed += 1
                there.append(found)
                self.assertEqual(guest.flavor.vcpus, len(set(found.cpus.values())))
                assert fit is not None
                self.assertEqual(
                    fit.left, pinning.counted(pinning.left(HOST, there).cells), "as counted"
                )
            taken = [cpu for one in there for cpu in one.taken]
            self.assertEqual(len(set(taken)), len(taken))
        self.assertLess(100, min(refused, placed))
