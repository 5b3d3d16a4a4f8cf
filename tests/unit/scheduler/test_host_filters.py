"""Which host may a server run on, and what is said of the others."""

from collections.abc import Sequence
from datetime import timedelta

import testtools

from kilonova.core.scheduling import HostState
from kilonova.scheduler import host_filters
from tests.unit.scheduler.filter_case import Case, FilterCase, specs
from tests.unit.scheduler.fleet import MOMENT, NOW, host, image, spec


def silent(seconds: float, **changed: object) -> HostState:
    """Return a host that was last heard of so long ago."""
    return host(last_seen=NOW - timedelta(seconds=seconds), **changed)


COMPUTE: Sequence[Case] = (
    ("alive", spec(), host(), None),
    ("just in time", spec(), silent(15), None),
    ("its clock runs ahead", spec(), silent(-30), None),
    ("silent", spec(), silent(15.4), ("are down", "last heard of 15 s ago, down after 15 s")),
    (
        "long silent",
        spec(),
        silent(3600),
        ("are down", "last heard of 3600 s ago, down after 15 s"),
    ),
    ("new", spec(), host(last_seen=None), ("are down", "never heard of")),
    ("disabled", spec(), host(enabled=False), ("are disabled", "")),
    (
        "disabled with a reason",
        spec(),
        host(enabled=False, disabled_reason="broken fan"),
        ("are disabled", "broken fan"),
    ),
    ("disabled and silent", spec(), silent(99, enabled=False), ("are disabled", "")),
    ("forced down", spec(), host(forced_down=True), ("are forced down", "")),
    ("disabled, not judged", spec(unjudged=True), host(enabled=False), None),
    ("dead, not judged", spec(unjudged=True), host(forced_down=True), ("are forced down", "")),
)
ZONE: Sequence[Case] = (
    ("any zone", spec(), host(availability_zone="z1"), None),
    ("the zone", spec(availability_zone="z1"), host(availability_zone="z1"), None),
    (
        "another",
        spec(availability_zone="z1"),
        host(availability_zone="z2"),
        ("are in another zone", "asked for z1, host is in z2"),
    ),
    (
        "letter case counts",
        spec(availability_zone="Z1"),
        host(availability_zone="z1"),
        ("are in another zone", "asked for Z1, host is in z1"),
    ),
)
CAPABILITIES: Sequence[Case] = (
    ("nothing asked", spec(), host(), None),
    ("met", specs(capabilities__cpu_arch="x86_64"), host(), None),
    ("met without scope", specs(cpu_arch="s== x86_64"), host(), None),
    ("other scopes are not its affair", specs(hw__cpu_policy="dedicated"), host(), None),
    ("all of several", specs(cpu_arch="x86_64", capabilities__free=">= 8"), host(), None),
    (
        "not met",
        specs(capabilities__free=">= 9"),
        host(),
        ("lack free >= 9", "needs free >= 9, host has 8"),
    ),
    (
        "one of several not met",
        specs(cpu_arch="x86_64", capabilities__free="9"),
        host(),
        ("lack free 9", "needs free 9, host has 8"),
    ),
    (
        "unknown to the host",
        specs(capabilities__magic="yes"),
        host(),
        ("lack magic yes", "needs magic yes, host has none"),
    ),
)
_RUNS = "runs x86_64/qemu/hvm, i686/qemu/hvm"
IMAGE: Sequence[Case] = (
    ("no image", spec(), host(), None),
    ("nothing asked", spec(image=image()), host(), None),
    ("architecture", spec(image=image(hw_architecture="x86_64")), host(), None),
    ("in capitals", spec(image=image(hw_architecture="X86_64", img_hv_type="QEMU")), host(), None),
    ("another name of it", spec(image=image(hw_architecture="amd64")), host(), None),
    ("old names", spec(image=image(architecture="i686", vm_mode="hvm")), host(), None),
    (
        "all of one kind",
        spec(image=image(hw_architecture="i686", img_hv_type="qemu", hw_vm_mode="hvm")),
        host(),
        None,
    ),
    (
        "architecture it does not run",
        spec(image=image(hw_architecture="aarch64")),
        host(),
        ("cannot run aarch64", _RUNS),
    ),
    (
        "each is run, but not together",
        spec(image=image(hw_architecture="i686", img_hv_type="kvm")),
        host(supported=(("x86_64", "kvm", "hvm"), ("i686", "qemu", "hvm"))),
        ("cannot run i686/kvm", "runs x86_64/kvm/hvm, i686/qemu/hvm"),
    ),
    (
        "a host that says nothing",
        spec(image=image(hw_vm_mode="xen")),
        host(supported=()),
        ("cannot run xen", "runs nothing known"),
    ),
)
FORCED: Sequence[Case] = (
    ("none named", spec(), host(), None),
    ("the host", spec(forced_host="h1"), host("h1"), None),
    ("the node", spec(forced_node="h1.example"), host("h1"), None),
    (
        "another host",
        spec(forced_host="h2"),
        host("h1"),
        ("are not the host that was asked for", ""),
    ),
    (
        "the host's other node",
        spec(forced_host="h1", forced_node="h1b.example"),
        host("h1"),
        ("are not the host that was asked for", ""),
    ),
)

IO_OPS: Sequence[Case] = (
    ("idle", spec(), host(), None),
    ("one less than allowed", spec(), host(busy=7), None),
    ("as many as allowed", spec(), host(busy=8), ("are too busy", "at most 8 busy, host has 8")),
    ("more than allowed", spec(), host(busy=11), ("are too busy", "at most 8 busy, host has 11")),
)
SERVERS: Sequence[Case] = (
    ("empty", spec(), host(), None),
    ("one less than allowed", spec(), host(servers=49), None),
    (
        "as many as allowed",
        spec(),
        host(servers=50),
        ("have too many servers", "at most 50 servers, host has 50"),
    ),
)


class HostFiltersTest(FilterCase):
    """Each filter against its table."""

    def test_a_host_that_is_not_alive_or_not_wanted_is_refused(self) -> None:
        self.check("ComputeFilter", host_filters.compute, COMPUTE)

    def test_a_host_in_another_zone_is_refused(self) -> None:
        self.check("AvailabilityZoneFilter", host_filters.availability_zone, ZONE)

    def test_a_host_without_what_the_flavor_demands_is_refused(self) -> None:
        self.check("ComputeCapabilitiesFilter", host_filters.compute_capabilities, CAPABILITIES)

    def test_a_host_that_cannot_run_the_image_is_refused(self) -> None:
        self.check("ImagePropertiesFilter", host_filters.image_properties, IMAGE)

    def test_a_host_that_was_not_asked_for_is_refused(self) -> None:
        self.check("requested host", host_filters.forced, FORCED)

    def test_a_host_with_too_much_under_way_is_refused(self) -> None:
        self.check("IoOpsFilter", host_filters.io_ops, IO_OPS)

    def test_a_host_with_too_many_servers_is_refused(self) -> None:
        self.check("NumInstancesFilter", host_filters.num_instances, SERVERS)


class SilentFleetTest(testtools.TestCase):
    """Whether it is the hosts that are away, or what carries their signs of life."""

    def test_a_fleet_that_fell_silent_as_one_is_told_from_hosts_that_are_down(self) -> None:
        for what, hosts, expected in (
            ("all of them", [silent(16), silent(60)], True),
            ("one of one", [silent(16)], True),
            ("one lives", [silent(60), silent(1)], False),
            ("none at all", [], False),
            ("never heard of", [host(last_seen=None)], False),
            ("the only live one is disabled", [silent(60), silent(1, enabled=False)], True),
            ("all are disabled", [silent(60, enabled=False)], False),
            ("all are forced down", [silent(60, forced_down=True)], False),
        ):
            self.assertEqual(expected, host_filters.all_fell_silent(hosts, MOMENT), what)
