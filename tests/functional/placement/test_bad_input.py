"""What no client should send: each is refused by the name of what is wrong, and changes nothing."""

import json
from typing import Any

import falcon.testing
import sqlalchemy as sa
import testscenarios

from kilonova.core import settings
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_claims, placement_inventories, placement_providers
from kilonova.db.migrate import METADATA
from kilonova.db.placement_claims import Claim
from kilonova.placement.wsgi import assemble
from tests.functional.placement.placement_case import PlacementCase

load_tests = testscenarios.load_tests_apply_scenarios

HOST = "aaaaaaaa-0000-4000-8000-000000000001"
CHILD = "aaaaaaaa-0000-4000-8000-000000000002"
SERVER = "bbbbbbbb-0000-4000-8000-000000000001"
OTHER = "bbbbbbbb-0000-4000-8000-000000000002"
RACK = "cccccccc-0000-4000-8000-000000000001"

Case = tuple[str, str, Any, str]
"""Method, path, body, and what the refusal must name."""


def _claim(resources: Any, **changed: Any) -> dict[str, Any]:
    return {
        "allocations": {HOST: {"resources": resources}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    } | changed


def _inventory(**changed: Any) -> dict[str, Any]:
    return {"resource_provider_generation": 2, "total": 8} | changed


_NUMBERS: tuple[Any, ...] = (-1, 2**31, 2**63, 2**64, 1.5, "8", None, True, [], {})
_ONE = f"/resource_providers/{HOST}/inventories/VCPU"
_MINE = f"/allocations/{OTHER}"

CASES: list[Case] = [
    *(
        ("PUT", _ONE, _inventory(**{field: number}), field)
        for field in ("total", "reserved", "min_unit", "max_unit", "step_size")
        for number in _NUMBERS
    ),
    *(("PUT", _ONE, _inventory(allocation_ratio=r), "allocation_ratio") for r in (-1, 1e39, "2")),
    *(
        ("PUT", _ONE, _inventory(resource_provider_generation=g), "resource_provider_generation")
        for g in (2**31, 2**63, -(2**63), "2", None)
    ),
    ("PUT", _ONE, _inventory(resource_provider_generation=-1), "generation conflict"),
    ("PUT", _ONE, _inventory(total=3), "inventories.VCPU: capacity 3, used 4"),
    ("PUT", _ONE, _inventory(allocation_ratio=0.25), "inventories.VCPU: capacity 2, used 4"),
    ("PUT", _ONE, _inventory(total=0), "total"),
    ("PUT", _ONE, _inventory(colour="red"), "colour"),
    *(("PUT", _MINE, _claim({"VCPU": number}), "VCPU") for number in (0, *_NUMBERS)),
    *(
        ("PUT", _MINE, _claim({"VCPU": 1}, consumer_generation=g), "consumer_generation")
        for g in (2**31, 2**63, "1", 1.5)
    ),
    ("PUT", _MINE, _claim({"VCPU": 1}, consumer_generation=-1), "consumer generation conflict"),
    ("PUT", _MINE, _claim({}), "resources"),
    ("PUT", _MINE, _claim({"vcpu": 1}), "vcpu"),
    ("PUT", _MINE, _claim({"VCPU\n": 1}), "VCPU"),
    ("PUT", _MINE, _claim({"VCPU": 1}, project_id=""), "project_id"),
    ("PUT", _MINE, _claim({"VCPU": 1}, user_id="u" * 256), "user_id"),
    ("PUT", _MINE, _claim({"VCPU": 1}, allocations={"host": {"resources": {"VCPU": 1}}}), "host"),
    ("PUT", "/allocations/0", _claim({"VCPU": 1}), "consumer_uuid"),
    ("PUT", _MINE, b"", "Malformed JSON"),
    ("PUT", _MINE, b"{", "Malformed JSON"),
    ("PUT", _MINE, b"\xff\xfe", "Malformed JSON"),
    ("PUT", _MINE, b"[" * 100_000, "Malformed JSON"),
    ("PUT", _MINE, b'{"project_id": NaN}', "Malformed JSON"),
    ("PUT", _MINE, _claim({"VCPU": 1}, project_id="p\0"), "NUL"),
    ("POST", "/resource_providers", {"name": "a\0b"}, "NUL"),
    ("POST", "/resource_providers", {"name": ""}, "name"),
    ("POST", "/resource_providers", {"name": ["a"]}, "name"),
    ("POST", "/resource_providers", [], "object"),
    ("POST", "/resource_providers", {"name": "x", "uuid": "{" + HOST + "}"}, "uuid"),
    (
        "PUT",
        f"/resource_providers/{HOST}",
        {"name": "host", "parent_provider_uuid": CHILD},
        "parent_provider_uuid",
    ),
    (
        "PUT",
        f"/resource_providers/{HOST}/traits",
        {"resource_provider_generation": 2, "traits": ["CUSTOM_" + "A" * 249]},
        "traits",
    ),
    ("PUT", f"/traits/CUSTOM_{'A' * 249}", None, "255"),
    ("PUT", "/resource_classes/CUSTOM_%00", None, "CUSTOM_"),
    ("DELETE", f"/resource_providers/{HOST}", None, HOST),
    ("DELETE", _ONE, None, "VCPU"),
    ("GET", "/resource_providers?name=%00", None, "name"),
    ("GET", "/resource_providers?name=%ff", None, "query string"),
    ("GET", "/resource_providers?" + "name=a&" * 3000, None, "query string"),
    ("GET", "/resource_providers?member_of=in:" + ",".join([RACK] * 1001), None, "member_of"),
    ("GET", "/resource_providers?required=in:" + ",".join(["A"] * 1001), None, "required"),
    ("GET", "/resource_providers?resources=" + ",".join(["VCPU:1"] * 1001), None, "resources"),
    ("GET", "/resource_providers?resources=VCPU:" + "9" * 5000, None, "resources"),
    (
        "GET",
        "/allocation_candidates?group_policy=none&"
        + "&".join(f"resources{n}=VCPU:1" for n in range(1, 100_001)),
        None,
        "query string",
    ),
    (
        "GET",
        "/allocation_candidates?resources_A=VCPU:1&same_subtree=_A,_B",
        None,
        "same_subtree",
    ),
    ("POST", "/kilonova/v1/claims", b'{"claims": [{}]}', "consumer"),
    ("POST", "/kilonova/v1/claims", {"free": ["x"] * 3, "claims": 3}, "claims"),
]


class BadInputTest(PlacementCase):
    """One test a refusal would be hundreds; they share one service that holds something."""

    def setUp(self) -> None:
        """Let a host have a child, two inventories, and somebody who uses one of them."""
        super().setUp()
        placement_providers.create(self.db, HOST, "host")
        placement_providers.create(self.db, CHILD, "child", HOST)
        inventories = {"VCPU": Inventory(total=8), "DISK_GB": Inventory(total=100)}
        placement_inventories.replace(self.db, HOST, 0, inventories)
        allocation = {HOST: {"VCPU": 4}}
        claim = Claim(consumer=SERVER, project_id="p", user_id="u", allocation=allocation)
        placement_claims.replace_all(self.db, [claim])
        conf = settings.new_config()
        conf([])
        conf.set_override("auth_strategy", "noauth2", "api")
        self.client = falcon.testing.TestClient(assemble(conf, self.db))

    def _everything(self) -> dict[str, list[Any]]:
        tables = METADATA["placement"].sorted_tables
        return {
            table.name: sorted(map(str, self.db.query(lambda c, t=table: c.execute(sa.select(t)))))
            for table in tables
        }

    def test_each_is_refused_by_name_and_changes_nothing(self) -> None:
        before = self._everything()
        headers = {
            "X-Auth-Token": "admin",
            "OpenStack-API-Version": "placement latest",
            "Content-Type": "application/json",
        }
        for method, where, body, named in CASES:
            path, _, query = where.partition("?")
            raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
            answer = self.client.simulate_request(
                method, path, query_string=query, body=raw, headers=headers
            )
            shown = f"{method} {path[:80]}?{query[:80]} {str(raw)[:200]}: {answer.text[:500]}"
            self.assertIn(answer.status_code, range(400, 500), shown)
            self.assertIn(named, answer.json["errors"][0]["detail"], shown)
        self.assertEqual(before, self._everything())
