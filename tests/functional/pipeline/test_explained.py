"""How decisions came about, as operators and tenants are told, and what would become of servers."""

from typing import Any

import requests

from kilonova.embedded.identity import project_id
from tests.functional.pipeline.case import PipelineCase

HOSTS = 3
EACH = 4
"""Servers of the smallest flavor that a host holds."""


class ExplainedTest(PipelineCase):
    """Three hosts with room for four small servers each."""

    hosts = HOSTS
    more = "reserved_host_memory_mb = 0\n[quota]\ninstances = 20\n"
    plays = {"memory_mb": EACH * 128}

    def own(
        self, method: str, path: str, body: Any = None, user: str = "admin"
    ) -> requests.Response:
        """Ask below ``/kilonova/v1`` as a user."""
        root = self.deployment.options.urls["compute"].removesuffix("/v2.1") + "/kilonova/v1"
        headers = {"X-Auth-Token": f"{user}:{project_id(user)}"}
        return requests.request(method, root + path, json=body, headers=headers, timeout=60)

    def plan(self, count: int = 1, user: str = "admin", **more: Any) -> dict[str, Any]:
        """Return the plan for so many servers."""
        server = {"flavorRef": "1", "imageRef": self.image, "min_count": count} | more
        answer = self.own("POST", "/plans", {"server": server}, user)
        self.assertEqual(200, answer.status_code, answer.text)
        told: dict[str, Any] = answer.json()["plan"]
        return told

    def decisions(self, query: str = "") -> list[dict[str, Any]]:
        """Return the decisions that a query finds."""
        answer = self.own("GET", f"/decisions{query}")
        self.assertEqual(200, answer.status_code, answer.text)
        found: list[dict[str, Any]] = answer.json()["decisions"]
        return found

    def flavor(self, name: str, **changed: Any) -> str:
        """Make a flavor and return its id."""
        flavor = {"name": name, "id": name, "vcpus": 1, "ram": 128, "disk": 1} | changed
        self.ask("compute", "POST", "/flavors", {"flavor": flavor})
        return name

    def test_a_decision_is_kept_with_what_it_was_about(self) -> None:
        uuid = self.create("vm")
        host = self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        (told,) = self.decisions(f"?server={uuid}")
        request = self.action(uuid, "create")["request_id"]
        self.assertEqual([{"id": uuid, "request_id": request, "host": host}], told["servers"])
        self.assertEqual([told], self.decisions(f"?request_id={request}"))
        self.assertEqual("1 of 1 servers fit", told["sentence"])
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, told["resources"])
        self.assertEqual((3, 3, []), (told["considered"], told["passed"], told["refused"]))
        self.assertEqual([{"asked": 1, "granted": 1, "refused": {}}], told["claims"])
        self.assertEqual(
            ["candidates", "filter", "pick", "claim"], [stage["name"] for stage in told["stages"]]
        )
        self.assertIn(host, {one["host"] for one in told["best"]})
        for one in told["best"]:
            self.assertAlmostEqual(one["total"], sum(one["parts"].values()), places=2)

    def test_one_decision_is_about_all_servers_of_a_pass(self) -> None:
        self.create("many", min_count=HOSTS * EACH + 2, max_count=HOSTS * EACH + 2)
        self.until(
            "all have ended",
            lambda: {s["status"] for s in self.servers()} == {"ACTIVE", "ERROR"},
        )
        (told,) = self.decisions()
        placed = {one["id"] for one in told["servers"] if one["host"]}
        self.assertEqual((14, 12, 12), (told["asked"], told["placed"], len(placed)))
        self.assertEqual(
            "12 of 14 servers fit; for the others 0 of 3 hosts fit: 3 lack MEMORY_MB",
            told["sentence"],
        )
        for server in self.servers():
            fault = server.get("fault", {}).get("message", "")
            self.assertEqual("" if server["id"] in placed else _NONE, fault)

    def test_why_no_host_fits_is_told_in_numbers_to_operators_alone(self) -> None:
        uuid = self.create("big", flavorRef=self.flavor("big", ram=EACH * 128 + 100))
        fault = self.until_status(uuid, "ERROR")["fault"]
        self.assertEqual(_NONE, fault["message"])
        self.assertEqual(_NONE, self.action(uuid, "create")["message"])
        (told,) = self.decisions(f"?server={uuid}")
        self.assertEqual(["MEMORY_MB"], told["exhausted"])
        (reason,) = told["refused"]
        self.assertEqual("needs 612 MB, the best has 512 free", reason["nearest_miss"])
        self.assertEqual((3, 100), (reason["hosts"], reason["short_by"]))
        self.assertIn(reason["nearest_miss"], fault["details"])
        self.assertEqual([None], [one["host"] for one in told["servers"]])
        self.assertEqual(403, self.own("GET", "/decisions", user="demo").status_code)

    def test_a_plan_says_what_a_create_then_does_and_takes_nothing(self) -> None:
        for count, fits in ((1, 1), (HOSTS * EACH, HOSTS * EACH), (HOSTS * EACH + 3, HOSTS * EACH)):
            told = self.plan(count)
            self.assertEqual((count, fits), (told["asked"], told["placed"]))
            self.assertEqual(fits, sum(one["fits"] for one in told["servers"]))
        hosts = [one["host"] for one in told["servers"] if one["fits"]]
        self.assertEqual([EACH] * HOSTS, [hosts.count(host) for host in set(hosts)])
        self.assertEqual(["MEMORY_MB"], told["exhausted"])
        (reason,) = told["refused"]
        self.assertEqual(
            (HOSTS, "needs 128 MB, the best has 0 free"), (reason["hosts"], reason["nearest_miss"])
        )
        self.assertEqual([], told["claims"])
        self.assertEqual({}, self.held())
        self.assertEqual(([], []), (self.servers(), self.decisions()))
        self.assertEqual(0, self.quota_used())
        # What was only planned is in nobody's way.
        self.create("vm", min_count=HOSTS * EACH, max_count=HOSTS * EACH)
        self.until(
            "all are ACTIVE",
            lambda: [s["status"] for s in self.servers()] == ["ACTIVE"] * HOSTS * EACH,
        )
        told = self.plan()
        self.assertEqual(0, told["placed"])
        self.assertEqual("0 of 3 hosts fit: 3 lack MEMORY_MB", told["sentence"])

    def test_tenants_are_told_whether_and_why_but_no_host_and_no_figures(self) -> None:
        told = self.plan(HOSTS * EACH + 1 - 4, user="demo", max_count=9)
        self.assertEqual({"fits": True, "availability_zone": "nova"}, told["servers"][0])
        uuid = self.create("vm")
        host = self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        told = self.plan(user="demo", flavorRef=self.flavor("big", ram=EACH * 128 + 100))
        self.assertEqual(
            {
                "sentence": "0 of 3 hosts fit: 3 lack MEMORY_MB",
                "asked": 1,
                "placed": 0,
                "considered": 3,
                "flavor": "big",
                "resources": {"VCPU": 1, "MEMORY_MB": 612, "DISK_GB": 1},
                "exhausted": ["MEMORY_MB"],
                "refused": [{"refused_by": "MEMORY_MB", "hosts": 3, "sentence": "lack MEMORY_MB"}],
                "servers": [{"fits": False, "availability_zone": None}],
            },
            told,
        )
        self.assertNotIn(host, str(told))

    def test_a_plan_is_refused_for_what_a_create_is_refused_for(self) -> None:
        good = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        nowhere = "11111111-1111-4111-8111-111111111111"
        for changed, hints, status, says in (
            ({"flavorRef": "none"}, {}, 400, "Flavor none"),
            ({"imageRef": nowhere}, {}, 400, "requested image"),
            ({"availability_zone": "mars"}, {}, 400, "availability_zone"),
            ({"min_count": 5000}, {}, 400, "min_count"),
            ({"min_count": 21}, {}, 403, "instances"),
            ({"colour": "blue"}, {}, 400, "colour"),
            ({"host": "elsewhere"}, {}, 400, "elsewhere"),
            ({}, {"group": nowhere}, 400, "group"),
        ):
            body = {"server": good | changed, "os:scheduler_hints": hints}
            planned = self.own("POST", "/plans", body)
            created = self.ask("compute", "POST", "/servers", body)
            self.assertEqual((status, status), (planned.status_code, created.status_code), changed)
            self.assertEqual(planned.json(), created.json())
            self.assertIn(says, planned.text)

    def test_a_plan_is_for_the_zone_the_host_and_the_hints_that_are_named(self) -> None:
        first = self.create("first")
        host = self.until_status(first, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        server = {"flavorRef": "1", "imageRef": self.image, "host": host}
        self.until(
            "the host is mapped to its cell",
            lambda: self.own("POST", "/plans", {"server": server}).status_code == 200,
        )
        (place,) = self.plan(host=host)["servers"]
        self.assertEqual((host, "nova"), (place["host"], place["availability_zone"]))
        told = self.plan(EACH, host=host)
        self.assertEqual(EACH - 1, told["placed"])
        self.assertIn("are not the host that was asked for", told["sentence"])

    def _plan_in(self, group: str, count: int) -> tuple[int, str]:
        """Return how many of so many servers of a group would fit, and the sentence for the others."""
        server = {"flavorRef": "1", "imageRef": self.image, "min_count": count}
        body = {"server": server, "os:scheduler_hints": {"group": group}}
        answer = self.own("POST", "/plans", body)
        self.assertEqual(200, answer.status_code, answer.text)
        told = answer.json()["plan"]
        return told["placed"], told.get("sentence") or ""

    def test_a_plan_keeps_the_rule_of_a_group_and_takes_nobodys_place_in_it(self) -> None:
        wanted = {"server_group": {"name": "g", "policy": "anti-affinity"}}
        made = self.ask("compute", "POST", "/os-server-groups", wanted)
        group = made.json()["server_group"]["id"]
        for _ in range(2):
            self.assertEqual(HOSTS, self._plan_in(group, HOSTS + 1)[0])
        server = {"name": "vm", "flavorRef": "1", "imageRef": self.image, "networks": "none"}
        body = {"server": server | {"min_count": 2}, "os:scheduler_hints": {"group": group}}
        self.assertEqual(202, self.ask("compute", "POST", "/servers", body).status_code)
        self.until(
            "both are ACTIVE", lambda: [s["status"] for s in self.servers()] == ["ACTIVE"] * 2
        )
        placed, sentence = self._plan_in(group, 2)
        self.assertEqual(1, placed)
        self.assertIn("2 have as many servers of the group as may be", sentence)
        crowd = self.own("POST", "/plans", {**body, "server": server | {"min_count": 9}})
        self.assertEqual(403, crowd.status_code)
        self.assertIn("already used 2 of 10 server_group_members", crowd.text)

    def test_a_plan_without_a_scheduler_is_refused_as_unavailable(self) -> None:
        self.deployment.stop_part("scheduler")
        from kilonova.api import plans  # noqa: PLC0415

        self.patch(plans, "_TIMEOUT", 0.2)
        server = {"flavorRef": "1", "imageRef": self.image}
        self.assertEqual(503, self.own("POST", "/plans", {"server": server}).status_code)


_NONE = "No valid host was found. 0 of 3 hosts fit: 3 lack MEMORY_MB."
