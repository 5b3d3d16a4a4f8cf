"""Each filter through every service: of three hosts one fits; without it there is none, and it is told why.

A filter is a row of ``ROWS``, which reads as a sentence. The host that fits is the same for all rows, so
that it is taken away once for all of them.
"""

from typing import Any, NamedTuple

from tests.functional.pipeline.choice_case import ChoiceCase, host_name

FITS, OTHERS = host_name(1), (host_name(0), host_name(2))

_FILTERS = (
    "ComputeFilter,AvailabilityZoneFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
    "AggregateInstanceExtraSpecsFilter,AggregateImagePropertiesIsolation,"
    "AggregateMultiTenancyIsolation,AggregateTypeAffinityFilter,DifferentHostFilter,SameHostFilter,"
    "SimpleCIDRAffinityFilter,JsonFilter,IoOpsFilter,NumInstancesFilter,PciPassthroughFilter,"
    "NUMATopologyFilter"
)
_CELL = {
    "cpus": 4,
    "whole_cores": 8,
    "threads_per_core": 2,
    "memory_mb": 4096,
    "pages": {"2048": 512},
}


class Row(NamedTuple):
    """What a server asks for, and why the other two hosts refuse it.

    In a hint ``{others}`` and ``{fits}`` stand for servers on those hosts.
    """

    what: str
    refused: str
    flavor: dict[str, str] = {}
    image: dict[str, str] = {}
    hints: dict[str, Any] = {}
    server: dict[str, Any] = {}
    user: str = "admin"
    sizes: dict[str, int] = {}


ROWS = (
    Row(
        "AvailabilityZoneFilter: the zone that is asked for",
        "are in another zone",
        server={"availability_zone": "z1"},
    ),
    Row(
        "ComputeCapabilitiesFilter: what the host can do",
        "lack cooling liquid",
        flavor={"capabilities:cooling": "liquid"},
    ),
    Row(
        "ImagePropertiesFilter: the architecture that the image is made for",
        "cannot run aarch64",
        image={"hw_architecture": "aarch64"},
    ),
    Row(
        "AggregateInstanceExtraSpecsFilter: an aggregate that the flavor demands",
        "are in no aggregate with ssd true",
        flavor={"aggregate_instance_extra_specs:ssd": "true"},
    ),
    Row(
        "AggregateImagePropertiesIsolation: hosts that are kept for other images",
        "are set apart for other images than os_distro=debian",
        image={"os_distro": "debian"},
    ),
    Row(
        "AggregateMultiTenancyIsolation: hosts that are kept for other projects",
        "are set apart for other projects",
        user="demo",
    ),
    Row(
        "AggregateTypeAffinityFilter: hosts that are kept for other flavors",
        "are set apart for other flavors",
        flavor={"own:flavor": "of this row"},
    ),
    Row(
        "DifferentHostFilter: apart from servers that are on the others",
        "have a server that it should be apart from",
        hints={"different_host": "{others}"},
    ),
    Row(
        "SameHostFilter: beside a server that is on this one",
        "lack the servers that it should be beside",
        hints={"same_host": "{fits}"},
    ),
    Row(
        "SimpleCIDRAffinityFilter: near an address",
        "are outside of 192.0.2.0/24",
        hints={"build_near_host_ip": "192.0.2.200", "cidr": "/24"},
    ),
    Row(
        "JsonFilter: what the query wants",
        "are not as the query wants",
        hints={"query": '[">=", "$hypervisor_version", 7]'},
    ),
    Row(
        "PciPassthroughFilter: a device of its own",
        "lack PCI devices gpu",
        flavor={"pci_passthrough:alias": "gpu:2"},
    ),
    Row(
        "NUMATopologyFilter: two NUMA cells",
        "lack NUMA cells that hold it",
        flavor={"hw:numa_nodes": "2"},
        sizes={"vcpus": 2},
    ),
    Row(
        "NUMATopologyFilter: huge pages",
        "lack NUMA cells that hold it",
        flavor={"hw:mem_page_size": "2MB"},
    ),
    Row(
        "NUMATopologyFilter: CPUs of its own, which are PCPU in Placement",
        "lack NUMA cells that hold it",
        flavor={"hw:cpu_policy": "dedicated"},
    ),
    Row(
        "no filter, but Placement: a trait",
        "lack trait HW_CPU_X86_AVX2",
        flavor={"trait:HW_CPU_X86_AVX2": "required"},
    ),
    Row(
        "no filter, but Placement: memory",
        "lack MEMORY_MB",
        sizes={"ram": 100_000},
    ),
)


class FiltersTest(ChoiceCase):
    """Three hosts, of which the second has everything that a row can ask for."""

    script = [
        {
            "step": "report",
            "host": FITS,
            "report": {
                "numa": [_CELL | {"number": 0}, _CELL | {"number": 1}],
                "pci": [{"alias": "gpu", "free": 8}],
                "traits": ["HW_CPU_X86_AVX2"],
                "capabilities": {"cooling": "liquid"},
                "supported": [["x86_64", "fake", "hvm"], ["aarch64", "fake", "hvm"]],
                "hypervisor_version": 7,
                "host_ip": "192.0.2.7",
                "memory_mb": 400_000,
            },
        },
        {"step": "report", "report": {"memory_mb": 50_000}},
    ]
    more = (
        f"[filter_scheduler]\nenabled_filters = {_FILTERS}\n"
        "[compute]\ncpu_dedicated_set = 56-63\n[DEFAULT]\nreport_interval = 1\n"
        "[quota]\ninstances = -1\ncores = -1\nram = -1\n"
    )

    def setUp(self) -> None:
        super().setUp()
        for number, row in enumerate(ROWS):
            self.add_flavor(f"f{number}", row.flavor, **row.sizes)
        self.images = [self.add_image(row.image) if row.image else self.image for row in ROWS]
        own = [f"f{n}" for n, row in enumerate(ROWS) if "own:flavor" in row.flavor]
        flavors = [f"f{n}" for n in range(len(ROWS)) if f"f{n}" not in own]
        self.add_aggregate("fast", [FITS], availability_zone="z1", ssd="true")
        self.add_aggregate(
            "apart",
            list(OTHERS),
            os_distro="windows",
            filter_tenant_id=self.project,
            instance_type=",".join(["m1.tiny", *flavors]),
        )
        self.see()
        zones = {FITS: "z1"} | dict.fromkeys(OTHERS, "nova")
        self.beside = {host: self._on(host, zone) for host, zone in zones.items()}

    def _on(self, host: str, zone: str) -> str:
        uuid = self.request({"availability_zone": f"{zone}:{host}"}, {})
        self.assertEqual(host, self.host_of(uuid))
        return uuid

    def _ask(self, number: int) -> str:
        row = ROWS[number]
        named = {"{others}": [self.beside[host] for host in OTHERS], "{fits}": self.beside[FITS]}
        hints = {key: named.get(value, value) for key, value in row.hints.items()}
        server = {"flavorRef": f"f{number}", "imageRef": self.images[number]} | row.server
        return self.request(server, hints, row.user)

    def test_one_host_fits_and_without_it_there_is_none(self) -> None:
        asked = [self._ask(number) for number in range(len(ROWS))]
        for row, uuid in zip(ROWS, asked, strict=True):
            self.assertEqual(FITS, self.host_of(uuid), row.what)
        self.set_enabled(FITS, enabled=False)
        self.see()
        asked = [self._ask(number) for number in range(len(ROWS))]
        for row, uuid in zip(ROWS, asked, strict=True):
            expected = f"0 of 3 hosts fit: 2 {row.refused}, 1 is disabled."
            self.assertEqual(expected, self.why_not(uuid), row.what)
        dedicated = next(n for n, row in enumerate(ROWS) if "hw:cpu_policy" in row.flavor)
        self.assertEqual(1, self.held().get("PCPU"), ROWS[dedicated].what)


class FullHosts(ChoiceCase):
    """Three equal hosts, none of which may have more than two servers, or more than one that is built."""

    script = [{"step": "spawn", "server": "slow", "seconds": 4.0}]
    more = (
        "[filter_scheduler]\n"
        "enabled_filters = ComputeFilter,IoOpsFilter,NumInstancesFilter\n"
        "max_io_ops_per_host = 1\nmax_instances_per_host = 3\n"
        "[DEFAULT]\nreport_interval = 1\n[quota]\ninstances = -1\ncores = -1\n"
    )

    def _put(self, host: str, name: str) -> str:
        return self.request({"availability_zone": f"nova:{host}", "name": name}, {})

    def _reported(self, host: str, servers: int, busy: int) -> bool:
        """Whether the scheduler knows by now that so much is on a host."""
        return self.reported()[host][:2] == (servers, busy)

    def test_compute_filter_leaves_the_one_host_that_is_not_disabled(self) -> None:
        for host in OTHERS:
            self.set_enabled(host, enabled=False)
        self.see()
        self.assertEqual(FITS, self.host_of(self.request({}, {})))
        self.set_enabled(FITS, enabled=False)
        self.see()
        self.assertEqual("0 of 3 hosts fit: 3 are disabled.", self.why_not(self.request({}, {})))

    def test_io_ops_filter_leaves_the_one_host_on_which_nothing_is_built(self) -> None:
        for host in OTHERS:
            self._put(host, "slow")
        for host in OTHERS:
            self.until(f"{host} is busy", lambda host=host: self._reported(host, 1, 1))
        self.assertEqual(FITS, self.host_of(self.request({}, {})))
        self._put(FITS, "slow")
        self.until("it is busy", lambda: self._reported(FITS, 2, 1))
        self.assertEqual("0 of 3 hosts fit: 3 are too busy.", self.why_not(self.request({}, {})))

    def test_num_instances_filter_leaves_the_one_host_that_is_not_full(self) -> None:
        for host in OTHERS:
            for _ in range(3):
                self.host_of(self._put(host, "vm"))
        for host in OTHERS:
            self.until(f"{host} is full", lambda host=host: self._reported(host, 3, 0))
        # Three of them one after the other, faster than the host reports.
        for _ in range(3):
            self.assertEqual(FITS, self.host_of(self.request({}, {})))
        refused = self.why_not(self.request({}, {}))
        self.assertEqual("0 of 3 hosts fit: 3 have too many servers.", refused)
