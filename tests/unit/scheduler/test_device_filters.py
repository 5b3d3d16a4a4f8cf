"""Which host may a server run on, by parts that it gets for itself: NUMA cells and PCI devices."""

from collections.abc import Sequence

import testtools

from kilonova.core import numa
from kilonova.core.scheduling import HostState, NumaCell, PciPool, RequestSpec
from kilonova.scheduler import device_filters
from kilonova.scheduler.device_filters import occupied
from tests.unit.scheduler.filter_case import Case, FilterCase
from tests.unit.scheduler.fleet import MOMENT, flavor, host, image, spec


def cell(number: int = 0, **changed: object) -> NumaCell:
    """Return a cell of 4 cores with 2 threads each, 4 GiB in small pages and 2 GiB in pages of 2 MiB."""
    fields: dict[str, object] = {
        "cpus": 8,
        "whole_cores": 4,
        "threads_per_core": 2,
        "memory_mb": 4096,
        "pages": {2048: 1024},
    }
    return NumaCell(number=number, **fields | changed)


def asked(vcpus: int = 2, memory: int = 1024, **extra: str) -> RequestSpec:
    """Return a request of so many VCPUs and MiB; ``hw_x`` stands for the extra spec ``hw:x``."""
    specs = {key.replace("hw_", "hw:", 1).replace("__", "."): value for key, value in extra.items()}
    return spec(flavor=flavor(vcpus=vcpus, memory_mb=memory, extra_specs=specs))


def pools(*found: tuple[str, int]) -> HostState:
    """Return a host with so many devices of each alias."""
    return host(pci=tuple(PciPool(alias=alias, free=free) for alias, free in found))


def devices(text: str) -> RequestSpec:
    """Return a request for PCI devices."""
    return spec(flavor=flavor(extra_specs={"pci_passthrough:alias": text}))


PCI: Sequence[Case] = (
    ("none asked", spec(), host(), None),
    ("one of one", devices("gpu:1"), pools(("gpu", 1)), None),
    ("a count that is left out is one", devices("gpu"), pools(("gpu", 1)), None),
    ("from two pools", devices("gpu:3"), pools(("gpu", 1), ("nic", 9), ("gpu", 2)), None),
    ("of two kinds", devices("gpu:1,nic:2"), pools(("gpu", 1), ("nic", 2)), None),
    ("no devices", devices("gpu:1"), host(), ("lack PCI devices gpu", "needs 1, host has 0 free")),
    (
        "too few",
        devices("gpu:3"),
        pools(("gpu", 2)),
        ("lack PCI devices gpu", "needs 3, host has 2 free"),
    ),
    (
        "too few of one kind",
        devices("gpu:1, nic:3"),
        pools(("gpu", 1), ("nic", 2)),
        ("lack PCI devices nic", "needs 3, host has 2 free"),
    ),
    (
        "named twice",
        devices("gpu:1,gpu:1"),
        pools(("gpu", 1)),
        ("lack PCI devices gpu", "needs 2, host has 1 free"),
    ),
)
TWO = (cell(0), cell(1))
FITS: Sequence[tuple[str, RequestSpec, tuple[NumaCell, ...], bool]] = (
    ("no topology asked, none known", asked(), (), True),
    ("one cell", asked(hw_numa_nodes="1"), TWO, True),
    ("none known", asked(hw_numa_nodes="1"), (), False),
    ("one of each", asked(hw_numa_nodes="2"), TWO, True),
    ("more cells than there are", asked(3, 1536, hw_numa_nodes="3"), TWO, False),
    ("too large for one cell", asked(9, hw_numa_nodes="1"), TWO, False),
    ("split over two cells", asked(10, hw_numa_nodes="2"), TWO, True),
    ("memory for one cell", asked(2, 4096, hw_numa_nodes="1"), TWO, True),
    ("too much memory for one cell", asked(2, 4097, hw_numa_nodes="1"), TWO, False),
    ("memory split over two", asked(2, 8192, hw_numa_nodes="2"), TWO, True),
    (
        "uneven cells in the other order",
        asked(
            4,
            4096,
            hw_numa_nodes="2",
            hw_numa_cpus__0="0",
            hw_numa_cpus__1="1-3",
            hw_numa_mem__0="512",
            hw_numa_mem__1="3584",
        ),
        (cell(0, memory_mb=3584), cell(1, memory_mb=512)),
        True,
    ),
    ("pinned to a cell", asked(8, hw_cpu_policy="dedicated"), TWO, True),
    ("more pinned than a cell has", asked(9, hw_cpu_policy="dedicated"), TWO, False),
    ("pinned over two cells", asked(16, hw_cpu_policy="dedicated", hw_numa_nodes="2"), TWO, True),
    (
        "single CPUs count, too",
        asked(3, hw_cpu_policy="dedicated"),
        (cell(whole_cores=1, single_cpus=1),),
        True,
    ),
    (
        "isolated: a core each",
        asked(4, hw_cpu_policy="dedicated", hw_cpu_thread_policy="isolate"),
        TWO,
        True,
    ),
    (
        "isolated: too few cores",
        asked(5, hw_cpu_policy="dedicated", hw_cpu_thread_policy="isolate"),
        TWO,
        False,
    ),
    (
        "siblings required",
        asked(8, hw_cpu_policy="dedicated", hw_cpu_thread_policy="require"),
        TWO,
        True,
    ),
    (
        "siblings required where there are none",
        asked(2, hw_cpu_policy="dedicated", hw_cpu_thread_policy="require"),
        (cell(threads_per_core=1),),
        False,
    ),
    (
        "siblings required of single CPUs",
        asked(2, hw_cpu_policy="dedicated", hw_cpu_thread_policy="require"),
        (cell(whole_cores=0, single_cpus=8),),
        False,
    ),
    (
        "some pinned, some shared",
        asked(12, hw_cpu_policy="mixed", hw_cpu_dedicated_mask="0-3"),
        TWO,
        True,
    ),
    (
        "too many of those shared",
        asked(13, hw_cpu_policy="mixed", hw_cpu_dedicated_mask="0-3"),
        TWO,
        False,
    ),
    ("all but one pinned", asked(9, hw_cpu_policy="mixed", hw_cpu_dedicated_mask="^0"), TWO, True),
    ("huge pages of any size", asked(memory=2048, hw_mem_page_size="large"), TWO, True),
    ("too few huge pages", asked(memory=2050, hw_mem_page_size="large"), TWO, False),
    ("huge pages of a size", asked(memory=2048, hw_mem_page_size="2MB"), TWO, True),
    ("the size in KiB", asked(memory=2048, hw_mem_page_size="2048"), TWO, True),
    ("a size that the host has not", asked(hw_mem_page_size="1GB"), TWO, False),
    ("memory that is no number of pages", asked(memory=1025, hw_mem_page_size="2MB"), TWO, False),
    (
        "small pages where large ones are short",
        asked(memory=4096, hw_mem_page_size="any"),
        TWO,
        True,
    ),
    ("small pages by their size", asked(memory=4096, hw_mem_page_size="4"), TWO, True),
)
BAD: Sequence[tuple[str, RequestSpec, str]] = (
    (
        "VCPUs that cannot be split",
        asked(3, 1024, hw_numa_nodes="2"),
        "3 VCPUs cannot be split over 2",
    ),
    (
        "memory that cannot be split",
        asked(2, 1025, hw_numa_nodes="2"),
        "1025 MiB cannot be split over 2",
    ),
    ("no number", asked(hw_numa_nodes="two"), "hw:numa_nodes is 'two'"),
    ("no cells", asked(hw_numa_nodes="0"), "hw:numa_nodes is '0'"),
    ("a policy that there is not", asked(hw_cpu_policy="tight"), "hw:cpu_policy is 'tight'"),
    ("a size that is none", asked(hw_mem_page_size="huge"), "hw:mem_page_size is 'huge'"),
    (
        "a VCPU left out",
        asked(4, hw_numa_nodes="2", hw_numa_cpus__0="0", hw_numa_cpus__1="1,2"),
        "do not name each VCPU once",
    ),
    (
        "a VCPU twice",
        asked(2, hw_numa_nodes="2", hw_numa_cpus__0="0,1", hw_numa_cpus__1="1"),
        "do not name each VCPU once",
    ),
    (
        "no list of CPUs",
        asked(2, hw_numa_nodes="1", hw_numa_cpus__0="a-b"),
        "'a-b' is no list of CPUs",
    ),
    (
        "memory that does not add up",
        asked(2, hw_numa_nodes="2", hw_numa_mem__0="1", hw_numa_mem__1="2"),
        "do not add up",
    ),
    ("mixed without a mask", asked(hw_cpu_policy="mixed"), "without hw:cpu_dedicated_mask"),
)


class DeviceFiltersTest(FilterCase):
    """Each filter against its table."""

    def test_a_host_with_too_few_pci_devices_is_refused(self) -> None:
        self.check("PciPassthroughFilter", device_filters.pci_passthrough, PCI)

    def test_a_count_of_devices_that_is_no_number_fits_nowhere(self) -> None:
        self.assertGreater(device_filters.pci_wanted(devices("gpu:many").flavor)["gpu"], 10**9)

    def test_a_host_whose_numa_cells_do_not_hold_the_server_is_refused(self) -> None:
        for what, request, cells, fits in FITS:
            reason = device_filters.numa_topology(request, host(numa=cells), MOMENT)
            self.assertEqual(fits, reason is None, what)

    def test_the_refusal_tells_what_was_needed_and_what_there_is(self) -> None:
        request = asked(9, 2048, hw_cpu_policy="dedicated")
        reason = device_filters.numa_topology(request, host(numa=TWO), MOMENT)
        assert reason is not None
        self.assertEqual("lack NUMA cells that hold it", reason.sentence)
        self.assertEqual(
            "needs 1 NUMA cells, one with 9 pinned CPUs and 2048 MiB in small pages; "
            "host has 2 cells, at most 8 CPUs to pin in one",
            reason.nearest_miss,
        )

    def test_what_cannot_be_is_refused_with_a_sentence(self) -> None:
        for what, request, words in BAD:
            reason = device_filters.numa_topology(request, host(numa=TWO), MOMENT)
            assert reason is not None, what
            self.assertIn(words, reason.sentence, what)
            self.assertTrue(numa.asks(request), what)

    def test_an_image_asks_where_the_flavor_says_nothing(self) -> None:
        pinned = image(hw_cpu_policy="dedicated")
        for request, count in (
            (spec(flavor=flavor(vcpus=2), image=pinned), 2),
            (
                spec(flavor=flavor(vcpus=2, extra_specs={"hw:cpu_policy": "shared"}), image=pinned),
                0,
            ),
        ):
            topology = numa.wanted(request)
            found = sum(one.pinned for one in topology.cells) if topology else 0
            self.assertEqual(count, found)


class OccupiedTest(testtools.TestCase):
    """What is left of a host when one more server is on it."""

    def test_a_server_counts_and_is_being_built(self) -> None:
        after = occupied(spec(), host(servers=2, busy=1))
        self.assertEqual((3, 2), (after.servers, after.busy))

    def test_devices_are_taken_from_the_pools(self) -> None:
        after = occupied(devices("gpu:3"), pools(("gpu", 1), ("nic", 5), ("gpu", 4)))
        self.assertEqual([0, 5, 2], [pool.free for pool in after.pci])

    def test_pinned_cpus_take_the_single_ones_first_and_leave_single_ones(self) -> None:
        request = asked(4, hw_cpu_policy="dedicated")
        (left,) = occupied(request, host(numa=(cell(whole_cores=3, single_cpus=1),))).numa
        self.assertEqual((1, 1), (left.whole_cores, left.single_cpus))

    def test_memory_is_taken_in_pages_of_the_size(self) -> None:
        request = asked(memory=1024, hw_mem_page_size="2MB")
        (left,) = occupied(request, host(numa=(cell(),))).numa
        self.assertEqual(({2048: 512}, 4096), (left.pages, left.memory_mb))

    def test_servers_fill_a_host_until_the_filter_refuses(self) -> None:
        request = asked(3, 1024, hw_cpu_policy="dedicated")
        state, count = host(numa=TWO), 0
        topology = numa.wanted(request)
        assert topology is not None
        while numa.fit(topology, state.numa) is not None:
            state, count = occupied(request, state), count + 1
        # 8 CPUs in each of two cells hold two servers of 3 each.
        self.assertEqual(4, count)

    def test_a_request_that_cannot_be_changes_no_cell(self) -> None:
        self.assertEqual(TWO, occupied(asked(hw_numa_nodes="two"), host(numa=TWO)).numa)
