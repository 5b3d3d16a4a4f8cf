"""Server groups through every service: where their servers go, at any concurrency, and why not all do."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.functional.pipeline.case import PipelineCase

_QUOTA = "[quota]\ninstances = -1\ncores = -1\nram = -1\nserver_group_members = -1\n"


class GroupCase(PipelineCase):
    """What tests of groups do."""

    more = _QUOTA

    def group(self, policy: str, **rules: int) -> str:
        """Make a server group and return its UUID."""
        wanted = {"name": policy, "policy": policy} | ({"rules": rules} if rules else {})
        answer = self.ask("compute", "POST", "/os-server-groups", {"server_group": wanted})
        self.assertEqual(200, answer.status_code, answer.text)
        return str(answer.json()["server_group"]["id"])

    def members(self, group: str) -> list[str]:
        """Return a group's members as the API shows them."""
        shown = self.get("compute", f"/os-server-groups/{group}")["server_group"]
        return list(shown["members"])

    def create_in(self, group: str, count: int = 1, **more: Any) -> None:
        """Create servers in a group by one request."""
        server = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        server |= {"min_count": count, "max_count": count} | more
        body = {"server": server, "os:scheduler_hints": {"group": group}}
        answer = self.ask("compute", "POST", "/servers", body)
        self.assertEqual(202, answer.status_code, answer.text)

    def create_at_once(self, group: str, count: int) -> None:
        """Create servers in a group by so many requests at once."""
        with ThreadPoolExecutor(count) as clients:
            list(clients.map(lambda _: self.create_in(group), range(count)))

    def ended(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many servers are built, or not, and return them."""
        self.until("all have ended", lambda: self._ended() == count, seconds=60)
        return self.servers()

    def _ended(self) -> int:
        return sum(server["status"] in ("ACTIVE", "ERROR") for server in self.servers())

    def hosts_of(self, servers: Sequence[dict[str, Any]]) -> Counter[str]:
        """Return how many servers each host has; all of them are ACTIVE."""
        failed = [s["fault"]["message"] for s in servers if s["status"] != "ACTIVE"]
        self.assertEqual([], failed)
        return Counter(server["OS-EXT-SRV-ATTR:host"] for server in servers)


class FiveHosts(GroupCase):
    """Five equal hosts."""

    hosts = 5

    def test_five_servers_that_are_to_be_apart_take_five_hosts_at_once(self) -> None:
        group = self.group("anti-affinity")
        self.create_at_once(group, 5)
        hosts = self.hosts_of(self.ended(5))
        self.assertEqual([1] * 5, sorted(hosts.values()), hosts)
        self.assertEqual({server["id"] for server in self.servers()}, set(self.members(group)))
        for server in self.servers():
            self.assertEqual([group], self.server(server["id"])["server_groups"])

    def test_a_sixth_has_no_host_until_one_of_the_others_is_gone(self) -> None:
        group = self.group("anti-affinity")
        self.create_in(group, 6)
        servers = self.ended(6)
        (failed,) = [server for server in servers if server["status"] == "ERROR"]
        self.assertEqual(
            "No valid host was found. 0 of 5 hosts fit: "
            "5 have as many servers of the group as may be.",
            failed["fault"]["message"],
        )
        gone = next(server for server in servers if server["status"] == "ACTIVE")
        self.delete(gone["id"])
        self.delete(failed["id"])
        self.assertNotIn(gone["id"], self.members(group))
        self.create_in(group)
        self.assertEqual([1] * 5, sorted(self.hosts_of(self.ended(5)).values()))

    def test_two_on_each_host_are_two_and_no_third(self) -> None:
        group = self.group("anti-affinity", max_server_per_host=2)
        self.create_at_once(group, 4)
        self.create_in(group, 6)
        hosts = self.hosts_of(self.ended(10))
        self.assertEqual([2] * 5, sorted(hosts.values()), hosts)
        self.create_in(group)
        statuses = Counter(server["status"] for server in self.ended(11))
        self.assertEqual({"ACTIVE": 10, "ERROR": 1}, statuses)

    def test_servers_that_belong_together_share_one_host_whoever_comes_first(self) -> None:
        group = self.group("affinity")
        self.create_at_once(group, 5)
        self.create_in(group, 2)
        hosts = self.hosts_of(self.ended(7))
        self.assertEqual([7], list(hosts.values()), hosts)

    def test_soft_wishes_are_met_as_far_as_there_is_room(self) -> None:
        apart = self.group("soft-anti-affinity")
        self.create_at_once(apart, 5)
        self.assertEqual([1] * 5, sorted(self.hosts_of(self.ended(5)).values()))
        self.create_in(apart, 5)
        self.assertEqual([2] * 5, sorted(self.hosts_of(self.ended(10)).values()))

    def test_what_likes_to_be_together_is(self) -> None:
        together = self.group("soft-affinity")
        self.create_in(together)
        self.ended(1)
        self.create_in(together, 3)
        self.assertEqual([4], list(self.hosts_of(self.ended(4)).values()))

    def test_a_group_that_is_deleted_leaves_its_servers_and_rules_no_more(self) -> None:
        group = self.group("anti-affinity")
        self.create_in(group, 5)
        self.hosts_of(self.ended(5))
        answer = self.ask("compute", "DELETE", f"/os-server-groups/{group}")
        self.assertEqual(204, answer.status_code)
        (first, *_) = self.servers()
        self.assertEqual([], self.server(first["id"])["server_groups"])
        self.assertEqual(5, len(self.servers()))


class SmallHosts(GroupCase):
    """Two hosts, one of which is soon full."""

    hosts = 2

    def test_servers_that_belong_together_say_so_when_their_host_is_full(self) -> None:
        group = self.group("affinity")
        self.create_in(group)
        (first,) = self.ended(1)
        free = self._free_memory(first["OS-EXT-SRV-ATTR:hypervisor_hostname"])
        flavor = {"name": "rest", "id": "9", "vcpus": 1, "ram": free + 1, "disk": 1}
        self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        self.create_in(group, flavorRef="9")
        (failed,) = [s for s in self.ended(2) if s["status"] == "ERROR"]
        self.assertEqual(
            "No valid host was found. 0 of 2 hosts fit: "
            "1 lacks MEMORY_MB, 1 has no server of the group.",
            failed["fault"]["message"],
        )

    def _free_memory(self, node: str) -> int:
        path = f"/resource_providers?name={node}"
        (provider,) = self.get("placement", path)["resource_providers"]
        base = f"/resource_providers/{provider['uuid']}"
        inventory = self.get("placement", f"{base}/inventories")["inventories"]["MEMORY_MB"]
        used = self.get("placement", f"{base}/usages")["usages"]["MEMORY_MB"]
        room = (inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"]
        return int(room) - int(used)


class FailingHosts(GroupCase):
    """Builds that fail once, and go to hosts that the group's rule allows."""

    hosts = 4
    script = [
        {"step": "spawn", "server": "vm-2", "times": 1, "error": "out of luck"},
        {"step": "spawn", "server": "never", "error": "out of luck"},
    ]

    def test_a_failed_build_goes_to_a_host_that_no_other_member_has(self) -> None:
        group = self.group("anti-affinity")
        self.create_in(group, 3)
        hosts = self.hosts_of(self.ended(3))
        self.assertEqual([1] * 3, sorted(hosts.values()), hosts)
        (moved,) = [server for server in self.servers() if server["name"] == "vm-2"]
        self.assertEqual(["Error", "Success"], self.builds(moved["id"]))

    def test_one_that_failed_everywhere_is_in_no_other_members_way(self) -> None:
        group = self.group("affinity")
        self.create_in(group, name="never")
        self.ended(1)
        self.create_in(group, 2, name="others")
        others = [server for server in self.ended(3) if server["name"] != "never"]
        self.assertEqual([2], list(self.hosts_of(others).values()))


class ManySchedulers(GroupCase):
    """Twelve hosts, and four conductors and schedulers that know nothing of each other's picks."""

    hosts = 12

    def setUp(self) -> None:
        """Start the others."""
        super().setUp()
        for part in ("scheduler", "conductor") * 3:
            another = self.deployment._parts[part]()
            another.start()
            self.addCleanup(another.stop)

    def test_requests_at_once_fill_all_hosts_and_no_host_twice(self) -> None:
        groups = [self.group("anti-affinity") for _ in range(3)]
        with ThreadPoolExecutor(12) as clients:
            list(clients.map(lambda n: self.create_in(groups[n % 3]), range(36)))
        self.hosts_of(self.ended(36))
        for group in groups:
            members = [self.server(uuid) for uuid in self.members(group)]
            self.assertEqual([1] * 12, list(self.hosts_of(members).values()))

    def test_more_requests_than_hosts_leave_as_many_as_are_too_many(self) -> None:
        group = self.group("anti-affinity")
        self.create_at_once(group, 15)
        servers = self.ended(15)
        active = [server for server in servers if server["status"] == "ACTIVE"]
        self.assertEqual([1] * 12, list(self.hosts_of(active).values()))
        sentences = {server["fault"]["message"] for server in servers if server not in active}
        self.assertEqual(
            {
                "No valid host was found. 0 of 12 hosts fit: "
                "12 have as many servers of the group as may be."
            },
            sentences,
        )
        self.until("only what runs is allocated", lambda: self.held().get("VCPU") == 12)

    def test_those_that_belong_together_meet_whoever_schedules_them(self) -> None:
        group = self.group("affinity")
        self.create_at_once(group, 8)
        self.assertEqual([8], list(self.hosts_of(self.ended(8)).values()))


class LargeFleet(GroupCase):
    """More hosts than a decision looks at."""

    hosts = 8
    more = f"{_QUOTA}[scheduler]\nmax_placement_results = 1\n"

    def test_the_hosts_of_the_members_are_looked_at_in_any_case(self) -> None:
        for policy in ("affinity", "soft-affinity"):
            group = self.group(policy)
            for _ in range(4):
                self.create_in(group)
                self.until("it has ended", lambda: self._ended() == len(self.servers()))
            members = [self.server(uuid) for uuid in self.members(group)]
            self.assertEqual([4], list(self.hosts_of(members).values()), policy)
