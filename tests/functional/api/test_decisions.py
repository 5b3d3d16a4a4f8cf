"""What is no part of the Compute API: its root, decisions, and who may ask for plans."""

import re
from datetime import timedelta
from typing import Any

import falcon.testing

from kilonova.api.resources import OWN_ROUTES
from kilonova.core.clock import utcnow
from kilonova.core.decision_record import (
    ClaimRound,
    Decided,
    DecisionRecord,
    Scored,
    Stage,
)
from kilonova.core.ids import HostName, InstanceUuid, NodeName, RequestId
from kilonova.core.scheduling import Reason
from kilonova.db import decisions
from tests.functional.api.api_case import ADMIN, ANN, ApiCase

ROOT = "/kilonova/v1"
ONE = InstanceUuid("aaaaaaaa-0000-4000-8000-000000000001")
TWO = InstanceUuid("aaaaaaaa-0000-4000-8000-000000000002")
REQUEST = RequestId("req-cccccccc-0000-4000-8000-000000000001")
BEGAN = utcnow()
RECORD = DecisionRecord(
    servers=2,
    placed=1,
    considered=12,
    passed=1,
    flavor="m1.large",
    wanted={"VCPU": 2, "MEMORY_MB": 4096},
    refused=(
        Reason(
            refused_by="MEMORY_MB",
            sentence="lack MEMORY_MB",
            hosts=9,
            nearest_miss="needs 4096 MB, the best has 3584 free",
            short_by=512.0,
        ),
        Reason(refused_by="AvailabilityZoneFilter", sentence="are in another zone", hosts=3),
    ),
    best=(
        Scored(
            host=HostName("h1"),
            node=NodeName("h1.example"),
            total=1 / 3,
            parts={"RAMWeigher": 1 / 3},
        ),
    ),
    claims=(ClaimRound(asked=2, granted=1, refused={"no room": 1}),),
    stages=(Stage(name="claim", began_at=BEGAN, seconds=0.0123456789),),
)
SENTENCE = (
    "1 of 2 servers fit; for the others 0 of 12 hosts fit: 9 lack MEMORY_MB, 3 are in another zone"
)


class OwnApiCase(ApiCase):
    """Asks below ``/kilonova/v1``."""

    def own(
        self, method: str, path: str, body: Any = None, *, token: str = ADMIN, roles: str = ""
    ) -> falcon.testing.Result:
        """Ask under a token, which may come with other roles than usual."""
        headers = {"X-Auth-Token": token} | ({"X-Roles": roles} if roles else {})
        return self.client.simulate_request(method, ROOT + path, json=body, headers=headers)

    def own_asked(self, status: int, method: str, path: str, body: Any = None, **how: str) -> Any:
        """Ask, expect a status, and return the body."""
        result = self.own(method, path, body, **how)
        self.assertEqual(status, result.status_code, f"{method} {path}: {result.text}")
        return result.json


class DecisionsTest(OwnApiCase):
    """Two decisions: one about two servers of a request, an older one about the first of them."""

    def setUp(self) -> None:
        super().setUp()
        first = Decided(instance_uuid=ONE, request_id=REQUEST, host=HostName("h1"))
        second = Decided(instance_uuid=TWO, request_id=REQUEST)
        earlier = Decided(instance_uuid=ONE, request_id=RequestId("req-0"), host=HostName("h9"))
        for servers, at in (([earlier], BEGAN - timedelta(hours=1)), ([first, second], BEGAN)):
            self.api_db.write(lambda c, s=servers, t=at: decisions.insert(c, RECORD, s, t))

    def found(self, query: str) -> list[list[str]]:
        """Return the requests of the decisions that a query finds."""
        told = self.own_asked(200, "GET", f"/decisions{query}")["decisions"]
        return [[server["request_id"] for server in one["servers"]] for one in told]

    def test_a_decision_is_told_whole(self) -> None:
        (told,) = self.own_asked(200, "GET", f"/decisions?server={TWO}")["decisions"]
        shown = self.own_asked(200, "GET", f"/decisions/{told['id']}")["decision"]
        self.assertEqual(told, shown)
        started = BEGAN.strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.assertEqual(
            {
                "id": told["id"],
                "created_at": started,
                "servers": [
                    {"id": ONE, "request_id": REQUEST, "host": "h1"},
                    {"id": TWO, "request_id": REQUEST, "host": None},
                ],
                "sentence": SENTENCE,
                "asked": 2,
                "placed": 1,
                "considered": 12,
                "passed": 1,
                "flavor": "m1.large",
                "resources": {"VCPU": 2, "MEMORY_MB": 4096},
                "exhausted": ["MEMORY_MB"],
                "refused": [
                    {
                        "refused_by": "MEMORY_MB",
                        "hosts": 9,
                        "sentence": "lack MEMORY_MB",
                        "nearest_miss": "needs 4096 MB, the best has 3584 free",
                        "short_by": 512.0,
                    },
                    {
                        "refused_by": "AvailabilityZoneFilter",
                        "hosts": 3,
                        "sentence": "are in another zone",
                        "nearest_miss": "",
                        "short_by": 0.0,
                    },
                ],
                "best": [
                    {
                        "host": "h1",
                        "node": "h1.example",
                        "total": 0.3333,
                        "parts": {"RAMWeigher": 0.3333},
                    }
                ],
                "claims": [{"asked": 2, "granted": 1, "refused": {"no room": 1}}],
                "stages": [{"name": "claim", "start_time": started, "seconds": 0.012346}],
            },
            told,
        )

    def test_decisions_are_found_by_server_and_by_request_newest_first(self) -> None:
        both, earlier = [REQUEST, REQUEST], ["req-0"]
        for query, expected in (
            ("", [both, earlier]),
            ("?limit=1", [both]),
            (f"?server={ONE}", [both, earlier]),
            (f"?server={TWO}", [both]),
            ("?request_id=req-0", [earlier]),
            (f"?request_id={REQUEST}&server={ONE}", [both]),
            ("?request_id=req-9", []),
            ("?server=nobody", []),
        ):
            self.assertEqual(expected, self.found(query), query)

    def test_a_decision_that_is_not_there_says_that_none_is_kept_for_ever(self) -> None:
        for odd in ("nothing", "%00", "x" * 500, "é"):
            fault = self.own_asked(404, "GET", f"/decisions/{odd}")["itemNotFound"]
            self.assertEqual(404, fault["code"])
        fault = self.own_asked(404, "GET", "/decisions/nothing")["itemNotFound"]
        self.assertIn("no decision nothing", fault["message"])
        self.assertIn("30 days", fault["message"])

    def test_a_query_that_means_nothing_is_refused_by_name(self) -> None:
        for query, says in (
            ("?limit=0", "limit"),
            ("?limit=101", "limit"),
            ("?limit=many", "limit"),
            ("?colour=blue", "colour"),
            ("?server=a&server=b", "server"),
            ("?server=%00", "NUL"),
        ):
            fault = self.own_asked(400, "GET", f"/decisions{query}")["badRequest"]
            self.assertIn(says, fault["message"])

    def test_only_administrators_see_decisions(self) -> None:
        (told, *_) = self.own_asked(200, "GET", "/decisions")["decisions"]
        for path in ("/decisions", f"/decisions?server={ONE}", f"/decisions/{told['id']}"):
            fault = self.own_asked(403, "GET", path, token=ANN)["forbidden"]
            self.assertIn("kilonova:decisions", fault["message"])


class OwnRootTest(OwnApiCase):
    """What holds for every path below the root."""

    def test_the_version_document_needs_no_token_and_nothing_else_is_answered_without(self) -> None:
        for path in ("", "/"):
            answer = self.client.simulate_get(ROOT + path)
            self.assertEqual(200, answer.status_code)
            self.assertEqual(
                ("v1", "CURRENT"), (answer.json["version"]["id"], answer.json["version"]["status"])
            )
        for route in OWN_ROUTES:
            path = re.sub(r"{\w+}", "1", route.path)
            answer = self.client.simulate_request(route.method, ROOT + path)
            self.assertEqual(401, answer.status_code, path)

    def test_there_are_no_microversions_and_every_answer_has_its_request_id(self) -> None:
        headers = {"X-Auth-Token": ADMIN, "OpenStack-API-Version": "compute 9.9"}
        answer = self.client.simulate_get(f"{ROOT}/decisions", headers=headers)
        self.assertEqual(200, answer.status_code)
        self.assertNotIn("openstack-api-version", answer.headers)
        self.assertRegex(answer.headers["x-openstack-request-id"], r"^req-[0-9a-f-]{36}$")

    def test_what_is_of_the_one_root_is_not_of_the_other(self) -> None:
        for path in (f"{ROOT}/servers", "/v2.1/decisions", "/v2.1/plans", f"{ROOT}/nothing"):
            answer = self.client.simulate_get(path, headers={"X-Auth-Token": ADMIN})
            self.assertEqual(404, answer.status_code, path)
        answer = self.own("DELETE", "/decisions")
        self.assertEqual(404, answer.status_code)
        for path in ("/kilonova", "/kilonova/v2/decisions"):
            answer = self.client.simulate_get(path, headers={"X-Auth-Token": ADMIN})
            self.assertEqual(300, answer.status_code, path)

    def test_every_rule_of_these_routes_can_refuse_administrators(self) -> None:
        path = self.directory / "policy.yaml"
        rules = {route.rule for route in OWN_ROUTES}
        path.write_text("".join(f'"{rule}": "!"\n' for rule in rules))
        self.conf.set_override("policy_file", str(path), "oslo_policy")
        for route in OWN_ROUTES:
            below = re.sub(r"{\w+}", "1", route.path)
            fault = self.own_asked(403, route.method, below, {"server": {}})["forbidden"]
            self.assertIn(str(route.rule), fault["message"])
