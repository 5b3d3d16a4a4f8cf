"""Which host may a server run on, by where other servers are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kilonova.core.ids import HostName
from kilonova.core.scheduling import Figures, RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.scheduler import json_filter, neighbour_filters
from kilonova.scheduler.filters import Moment
from tests.unit.scheduler.filter_case import Case, FilterCase
from tests.unit.scheduler.fleet import MOMENT, host, spec


def members(**counts: int) -> Moment:
    """Return a moment at which so many servers of the group are on these hosts."""
    return replace(MOMENT, members={HostName(name): count for name, count in counts.items()})


def grouped(policy: str, limit: int = 1) -> RequestSpec:
    """Return a request for a server of a group."""
    return spec(group=GroupRule(group_uuid="g", policy=policy, max_server_per_host=limit))


def hinted(**hints: Any) -> RequestSpec:
    """Return a request with hints."""
    return spec(hints=hints)


def full(limit: int, held: int) -> tuple[str, str]:
    """Return what a host is refused with that has enough of the group."""
    miss = f"at most {limit} of the group on a host, host has {held}"
    return "have as many servers of the group as may be", miss


AWAY = grouped("anti-affinity")
BESIDE = grouped("affinity")
ELSEWHERE = members(h2=3)
ALONE = ("have no server of the group", "")
SERVERS = replace(MOMENT, host_of={"a": HostName("h1"), "b": HostName("h2"), "c": HostName("h2")})
NEAR = ("have a server that it should be apart from", "")
FAR = ("lack the servers that it should be beside", "")
DIFFERENT: Sequence[Case] = (
    ("no hint", spec(), host("h1"), None),
    ("another host", hinted(different_host="b"), host("h1"), None),
    ("its host", hinted(different_host="a"), host("h1"), NEAR),
    ("the host of one of them", hinted(different_host=["b", "a"]), host("h1"), NEAR),
    ("the host of none of them", hinted(different_host=["b", "c"]), host("h1"), None),
    ("a server that is nowhere", hinted(different_host="x"), host("h1"), None),
    ("no server at all", hinted(different_host=[]), host("h1"), None),
)
SAME: Sequence[Case] = (
    ("no hint", spec(), host("h1"), None),
    ("its host", hinted(same_host="a"), host("h1"), None),
    ("another host", hinted(same_host="b"), host("h1"), FAR),
    ("the host of one of them", hinted(same_host=["b", "a"]), host("h1"), None),
    ("a server that is nowhere", hinted(same_host="x"), host("h1"), FAR),
    ("no server at all", hinted(same_host=[]), host("h1"), None),
)
NEARBY = host(host_ip="192.0.2.9")
CIDR: Sequence[Case] = (
    ("no hint", spec(), host(), None),
    ("the same /24", hinted(build_near_host_ip="192.0.2.200"), NEARBY, None),
    (
        "the network that is given",
        hinted(build_near_host_ip="192.0.2.10", cidr="/30"),
        NEARBY,
        None,
    ),
    ("a width without a stroke", hinted(build_near_host_ip="192.0.2.10", cidr="30"), NEARBY, None),
    (
        "a wider network",
        hinted(build_near_host_ip="192.0.3.1", cidr="/23"),
        host(host_ip="192.0.2.1"),
        None,
    ),
    (
        "outside",
        hinted(build_near_host_ip="192.0.2.200", cidr="/30"),
        NEARBY,
        ("are outside of 192.0.2.200/30", "host has address 192.0.2.9"),
    ),
    (
        "a host without an address",
        hinted(build_near_host_ip="192.0.2.200"),
        host(),
        ("are outside of 192.0.2.0/24", "host has address unknown"),
    ),
    (
        "a host with an address of the other kind",
        hinted(build_near_host_ip="192.0.2.200"),
        host(host_ip="2001:db8::1"),
        ("are outside of 192.0.2.0/24", "host has address 2001:db8::1"),
    ),
    (
        "a hint that is no address",
        hinted(build_near_host_ip="near me"),
        NEARBY,
        ("cannot be judged, as near me/24 is no network", ""),
    ),
)


class NeighbourFiltersTest(FilterCase):
    """Each filter against its table."""

    def test_a_host_with_enough_servers_of_the_group_is_refused(self) -> None:
        ask, name = neighbour_filters.group_anti_affinity, "ServerGroupAntiAffinityFilter"
        two = grouped("anti-affinity", 2)
        for held, cases in (
            (members(h1=1), [("no group", spec(), host("h1"), None)]),
            (members(h1=1), [("another policy", BESIDE, host("h1"), None)]),
            (members(h1=1), [("a soft policy", grouped("soft-anti-affinity"), host("h1"), None)]),
            (members(), [("a new group", AWAY, host("h1"), None)]),
            (ELSEWHERE, [("elsewhere", AWAY, host("h1"), None)]),
            (members(h1=1), [("one here", AWAY, host("h1"), full(1, 1))]),
            (members(h1=1), [("one here of two", two, host("h1"), None)]),
            (members(h1=2), [("two here of two", two, host("h1"), full(2, 2))]),
        ):
            self.check(name, ask, cases, held)

    def test_a_host_without_servers_of_the_group_is_refused_where_there_are_some(self) -> None:
        ask, name = neighbour_filters.group_affinity, "ServerGroupAffinityFilter"
        for held, cases in (
            (ELSEWHERE, [("no group", spec(), host("h1"), None)]),
            (ELSEWHERE, [("another policy", AWAY, host("h1"), None)]),
            (ELSEWHERE, [("a soft policy", grouped("soft-affinity"), host("h1"), None)]),
            (members(), [("a new group", BESIDE, host("h1"), None)]),
            (members(h2=0), [("a group that was emptied", BESIDE, host("h1"), None)]),
            (members(h1=1), [("here", BESIDE, host("h1"), None)]),
            (members(h1=1, h2=2), [("here and there", BESIDE, host("h1"), None)]),
            (ELSEWHERE, [("elsewhere", BESIDE, host("h1"), ALONE)]),
        ):
            self.check(name, ask, cases, held)

    def test_a_host_with_a_server_that_the_hint_names_is_refused(self) -> None:
        self.check("DifferentHostFilter", neighbour_filters.different_host, DIFFERENT, SERVERS)

    def test_a_host_without_the_servers_that_the_hint_names_is_refused(self) -> None:
        self.check("SameHostFilter", neighbour_filters.same_host, SAME, SERVERS)

    def test_a_host_outside_of_the_network_that_the_hints_name_is_refused(self) -> None:
        name = "SimpleCIDRAffinityFilter"
        self.check(name, neighbour_filters.simple_cidr_affinity, CIDR)


HAS: dict[str, Any] = {
    "servers": 3,
    "capabilities": {"cpu_arch": "x86_64"},
    "hypervisor_version": 8002002,
}
OTHER = ("are not as the query wants", "")
UNREADABLE = ("cannot be judged, as the query cannot be read", "")
QUERIES: Sequence[tuple[str, Any, tuple[str, str] | None]] = (
    ("more than enough memory", '[">=", "$free_ram_mb", 1024]', None),
    ("just enough memory", '[">=", "$free_ram_mb", 3072]', None),
    ("too little memory", '[">=", "$free_ram_mb", 3073]', OTHER),
    ("free disk is MiB", '["=", "$free_disk_mb", 92160]', None),
    ("all that is there", '["=", "$total_usable_ram_mb", 4096]', None),
    ("CPUs", '["and", ["=", "$vcpus_total", 8], ["<", "$vcpus_used", 3]]', None),
    ("servers", '["<", "$num_instances", 3]', OTHER),
    ("one of two", '["or", ["<", "$num_instances", 3], ["<=", "$num_instances", 3]]', None),
    ("both of two", '["and", ["<", "$num_instances", 3], ["<=", "$num_instances", 3]]', OTHER),
    ("not", '["not", ["<", "$num_instances", 3]]', None),
    ("the name of the node", '["in", "$hypervisor_hostname", "a.example", "h1.example"]', None),
    ("another node", '["in", "$hypervisor_hostname", "a.example"]', OTHER),
    ("a capability", '["=", "$cpu_arch", "x86_64"]', None),
    ("between", '["<", 3000, "$free_ram_mb", 4000]', None),
    ("what the host does not know", '["=", "$magic", "yes"]', OTHER),
    ("a text against a number", '["<", "$num_instances", "many"]', OTHER),
    ("nothing", "", None),
    ("an empty list", "[]", None),
    ("a list that came in parts", ["=", "$num_instances", "3"], None),
    ("a nested list that came in parts", ["not", '["=", "$num_instances", 3]'], OTHER),
    ("no list", '{"=": 1}', UNREADABLE),
    ("no JSON", "free_ram > 3", UNREADABLE),
    ("an operator that there is not", '["~", "$host", "h1"]', UNREADABLE),
    ("an operator that is none", "[[], 1]", UNREADABLE),
    ("deeper than anybody means", "[" + '"not", [' * 30 + "]" * 31, UNREADABLE),
)


class JsonFilterTest(FilterCase):
    """What the ``query`` hint says, of a host with 3 GiB and 90 GiB of disk free."""

    def test_a_host_that_is_not_as_the_query_wants_is_refused(self) -> None:
        figures = {"vcpus": 8, "vcpus_used": 2, "memory_mb": 4096, "memory_mb_used": 1024}
        state = host("h1", figures=Figures(**figures, disk_gb=100, disk_gb_used=10), **HAS)
        cases = [(what, hinted(query=query), state, expected) for what, query, expected in QUERIES]
        self.check("JsonFilter", json_filter.json_filter, cases)
        self.check("JsonFilter", json_filter.json_filter, [("no hint", spec(), state, None)])
