"""Server groups through the API: at each microversion, within quotas, and with servers in them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kilonova.api.servers.create import MOST_AT_ONCE
from kilonova.core.clock import utcnow
from kilonova.core.ids import InstanceUuid
from kilonova.db import build_requests
from tests.functional.api.api_case import ADMIN, ANN, BOB, ApiCase
from tests.functional.compute.image_store import ServedImages

ROOT = "/os-server-groups"
NOBODYS = "11111111-1111-4111-8111-111111111111"


class GroupsCase(ApiCase):
    """What tests of groups do."""

    def options(self) -> str:
        return "[quota]\nserver_groups = 5\nserver_group_members = 3\n"

    def create(self, name: str = "g", token: str = ANN, **wanted: Any) -> dict[str, Any]:
        """Make a group and return it as it is shown."""
        body = {"server_group": {"name": name, "policy": "anti-affinity"} | wanted}
        made: dict[str, Any] = self.asked(200, "POST", ROOT, body, token=token)["server_group"]
        return made

    def show(self, uuid: str, version: str = "2.96", token: str = ANN) -> dict[str, Any]:
        """Return a group as it is shown."""
        path = f"{ROOT}/{uuid}"
        shown: dict[str, Any] = self.asked(200, "GET", path, version=version, token=token)
        return shown["server_group"]  # type: ignore[no-any-return]

    def names(self, query: str = "", token: str = ANN) -> list[str]:
        """Return the names of a page of groups."""
        found = self.asked(200, "GET", ROOT + query, token=token)["server_groups"]
        return [group["name"] for group in found]


class ServerGroupsTest(GroupsCase):
    """Groups by themselves."""

    def test_a_group_is_shown_as_each_microversion_has_it(self) -> None:
        made = self.create(rules={"max_server_per_host": "3"})
        rest = {"id": made["id"], "name": "g", "members": []}
        old = rest | {"policies": ["anti-affinity"], "metadata": {}}
        owned = {"project_id": "project-a", "user_id": "ann"}
        new = rest | owned | {"policy": "anti-affinity", "rules": {"max_server_per_host": 3}}
        self.assertEqual(new, made)
        for version, shown in (
            ("2.1", old),
            ("2.12", old),
            ("2.13", old | owned),
            ("2.63", old | owned),
            ("2.64", new),
        ):
            self.assertEqual(shown, self.show(made["id"], version), version)

    def test_a_group_that_names_no_number_has_no_rules(self) -> None:
        self.assertEqual({}, self.create()["rules"])
        self.assertEqual({}, self.create(rules={})["rules"])

    def test_policies_come_with_their_microversions(self) -> None:
        for version, wanted, status in (
            ("2.1", {"policies": ["affinity"]}, 200),
            ("2.14", {"policies": ["soft-affinity"]}, 400),
            ("2.15", {"policies": ["soft-affinity"]}, 200),
            ("2.63", {"policy": "affinity"}, 400),
            ("2.63", {"policies": ["affinity"], "rules": {}}, 400),
            ("2.64", {"policies": ["affinity"]}, 400),
            ("2.64", {"policy": "soft-anti-affinity"}, 200),
        ):
            body = {"server_group": {"name": "g"} | wanted}
            answer = self.ask("POST", ROOT, body, version=version, token=ANN)
            self.assertEqual(status, answer.status_code, f"{version} {wanted}: {answer.text}")

    def test_what_is_wrong_is_named_and_nothing_is_kept(self) -> None:
        for wanted, says in (
            ({"name": ""}, "name"),
            ({"name": " g"}, "name"),
            ({"policy": "nearby"}, "policy"),
            ({"policy": None}, "policy"),
            ({"rules": {"max_server_per_host": 0}}, "max_server_per_host"),
            ({"rules": {"max_server_per_host": "0"}}, "max_server_per_host"),
            ({"rules": {"max_server_per_host": "many"}}, "max_server_per_host"),
            ({"rules": {"max_server_per_host": 2**31}}, "max_server_per_host"),
            ({"rules": {"max": 1}}, "max"),
            ({"policy": "affinity", "rules": {"max_server_per_host": 1}}, "Only anti-affinity"),
            ({"colour": "blue"}, "colour"),
        ):
            body = {"server_group": {"name": "g", "policy": "anti-affinity"} | wanted}
            self.refused(400, says, "POST", ROOT, body, token=ANN)
        for policies in ([], ["affinity", "anti-affinity"], "affinity"):
            body = {"server_group": {"name": "g", "policies": policies}}
            self.refused(400, "policies", "POST", ROOT, body, version="2.1", token=ANN)
        self.assertEqual([], self.names())

    def test_lists_are_pages_of_the_project_in_order_of_creation(self) -> None:
        for name in ("b", "a", "c"):
            self.create(name)
        self.create("other", token=BOB)
        self.assertEqual(["b", "a", "c"], self.names())
        self.assertEqual(["b", "a"], self.names("?limit=2"))
        self.assertEqual(["a", "c"], self.names("?offset=1"))
        self.assertEqual(["a"], self.names("?limit=1&offset=1"))
        self.assertEqual([], self.names(f"?offset={'9' * 40}"))
        self.assertEqual(["b", "a", "c"], self.names("?limit=0"))
        for wrong in ("?limit=-1", "?offset=x"):
            self.refused(400, wrong[1:6], "GET", ROOT + wrong, token=ANN)

    def test_only_administrators_see_the_groups_of_all_projects(self) -> None:
        self.create("a")
        self.create("b", token=BOB)
        self.assertEqual(["a", "b"], self.names("?all_projects=1", ADMIN))
        self.assertEqual([], self.names("", ADMIN))
        self.assertEqual(["a"], self.names("?all_projects=1"))

    def test_a_group_is_its_projects_and_administrators(self) -> None:
        path = f"{ROOT}/{self.create()['id']}"
        for method in ("GET", "DELETE"):
            self.refused(403, "os-server-groups", method, path, token=BOB)
        self.assertEqual("g", self.asked(200, "GET", path, token=ADMIN)["server_group"]["name"])

    def test_a_group_that_is_not_there_is_not_found(self) -> None:
        gone = self.create()["id"]
        self.asked(204, "DELETE", f"{ROOT}/{gone}", token=ANN)
        for uuid in (gone, NOBODYS, "nonsense"):
            for method in ("GET", "DELETE"):
                says = f"Instance group {uuid} could not be found."
                self.refused(404, says, method, f"{ROOT}/{uuid}", token=ANN)

    def test_groups_are_counted_exactly_and_a_deleted_one_makes_room(self) -> None:
        body = {"server_group": {"name": "g", "policy": "affinity"}}

        def attempt(_number: int) -> int:
            return self.ask("POST", ROOT, body, token=ANN).status_code

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(attempt, range(12)))
        self.assertEqual((5, 7), (statuses.count(200), statuses.count(403)))
        says = "Quota exceeded for server_groups: Requested 1, but already used 5 of 5"
        self.refused(403, says, "POST", ROOT, body, token=ANN)
        self.create(token=BOB)
        self.assertEqual(5, self._used())
        first = self.asked(200, "GET", ROOT, token=ANN)["server_groups"][0]
        self.asked(204, "DELETE", f"{ROOT}/{first['id']}", token=ANN)
        self.assertEqual(4, self._used())
        self.create()

    def _used(self) -> int:
        """Return how many groups the project uses, which all who tell it tell alike."""
        limits = self.asked(200, "GET", "/limits", token=ANN)["limits"]["absolute"]
        detail = self.asked(200, "GET", "/os-quota-sets/project-a/detail")["quota_set"]
        self.assertEqual(limits["totalServerGroupsUsed"], detail["server_groups"]["in_use"])
        self.assertEqual(5, detail["server_groups"]["limit"])
        return int(limits["totalServerGroupsUsed"])

    def test_a_limit_below_the_groups_that_are_there_needs_force(self) -> None:
        for _ in range(2):
            self.create()
        path = "/os-quota-sets/project-a"
        self.refused(400, "server_groups", "PUT", path, {"quota_set": {"server_groups": 1}})
        self.asked(200, "PUT", path, {"quota_set": {"server_groups": 1, "force": True}})
        body = {"server_group": {"name": "g", "policy": "affinity"}}
        self.refused(403, "2 of 1 server_groups", "POST", ROOT, body, token=ANN)


class MembersTest(GroupsCase):
    """Servers that are created in groups."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return super().options() + images.options

    def setUp(self) -> None:
        super().setUp()
        flavor = {"id": "1", "name": "small", "vcpus": 1, "ram": 512, "disk": 1}
        self.asked(200, "POST", "/flavors", {"flavor": flavor})
        self.group = self.create()["id"]

    def body(self, group: object, low: int = 1, high: int = 1) -> dict[str, Any]:
        """Return what makes servers in a group."""
        server = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        server |= {"min_count": low, "max_count": high}  # type: ignore[dict-item]
        return {"server": server, "os:scheduler_hints": {"group": group}}

    def boot(self, group: object, low: int = 1, high: int = 1) -> str:
        """Create servers in a group; return the first's UUID."""
        made = self.asked(202, "POST", "/servers", self.body(group, low, high), token=ANN)
        return str(made["server"]["id"])

    def server(self, uuid: str, version: str = "2.96") -> dict[str, Any]:
        """Return a server as it is shown."""
        shown = self.asked(200, "GET", f"/servers/{uuid}", version=version, token=ANN)
        return shown["server"]  # type: ignore[no-any-return]

    def test_a_server_is_a_member_of_the_group_that_its_hint_names(self) -> None:
        uuid = self.boot(self.group)
        self.assertEqual([uuid], self.show(self.group)["members"])
        self.assertEqual([self.group], self.server(uuid, "2.71")["server_groups"])
        self.assertNotIn("server_groups", self.server(uuid, "2.70"))
        (listed,) = self.asked(200, "GET", "/servers/detail", token=ANN)["servers"]
        self.assertNotIn("server_groups", listed)
        other = self.boot(self.group.upper())
        self.assertEqual([uuid, other], self.show(self.group)["members"])

    def test_what_scheduling_needs_of_the_group_goes_with_the_server(self) -> None:
        group = self.create(rules={"max_server_per_host": 2})["id"]
        uuid = InstanceUuid(self.boot(group))
        (pending,) = build_requests.take(self.api_db, [uuid], "driver", utcnow())
        rule = pending.spec.group
        assert rule is not None
        self.assertEqual(
            (group, "anti-affinity", 2),
            (rule.group_uuid, rule.policy, rule.max_server_per_host),
        )
        self.assertEqual(rule, pending.instance.wishes.group)

    def test_a_group_that_there_is_not_or_that_is_anothers_is_refused_by_name(self) -> None:
        others = self.create(token=BOB)["id"]
        for named, says in (
            (NOBODYS, f"Instance group {NOBODYS} could not be found."),
            (others, f"Instance group {others} could not be found."),
            ([self.group], "group"),
            ("nonsense", "group"),
            (5, "group"),
        ):
            self.refused(400, says, "POST", "/servers", self.body(named), token=ANN)
        self.assertEqual([], self.asked(200, "GET", "/servers", token=ANN)["servers"])

    def test_a_deleted_server_is_a_member_no_more(self) -> None:
        first, second = self.boot(self.group), self.boot(self.group)
        self.asked(204, "DELETE", f"/servers/{first}", token=ANN)
        self.assertEqual([second], self.show(self.group)["members"])

    def test_a_deleted_group_leaves_its_servers(self) -> None:
        uuid = self.boot(self.group)
        self.asked(204, "DELETE", f"{ROOT}/{self.group}", token=ANN)
        self.assertEqual([], self.server(uuid)["server_groups"])
        self.asked(204, "DELETE", f"/servers/{uuid}", token=ANN)

    def test_members_are_counted_exactly_whoever_asks_at_once(self) -> None:
        def attempt(_number: int) -> int:
            return self.ask("POST", "/servers", self.body(self.group), token=ANN).status_code

        with ThreadPoolExecutor(6) as threads:
            statuses = list(threads.map(attempt, range(6)))
        self.assertEqual((3, 3), (statuses.count(202), statuses.count(403)))
        self.assertEqual(3, len(self.show(self.group)["members"]))
        says = "Quota exceeded for server_group_members: Requested 1, but already used 3 of 3"
        self.refused(403, says, "POST", "/servers", self.body(self.group), token=ANN)

    def test_of_many_servers_as_many_are_created_as_the_group_has_room_for(self) -> None:
        self.boot(self.group, 1, MOST_AT_ONCE)
        self.assertEqual(3, len(self.show(self.group)["members"]))
        other = self.create()["id"]
        self.refused(403, "Requested 4", "POST", "/servers", self.body(other, 4, 9), token=ANN)
        self.assertEqual([], self.show(other)["members"])

    def test_a_users_limit_of_members_counts_for_him(self) -> None:
        path = "/os-quota-sets/project-a?user_id=ann"
        self.asked(200, "PUT", path, {"quota_set": {"server_group_members": 1}})
        self.boot(self.group)
        self.refused(403, "1 of 1", "POST", "/servers", self.body(self.group), token=ANN)
