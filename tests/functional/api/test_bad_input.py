"""Input that no route should stumble over: each is refused by a 4xx with a sentence."""

import re
from urllib.parse import quote

import testscenarios

from kilonova.api.resources import ROUTES
from kilonova.api.routing import Route
from kilonova.core.clock import utcnow
from tests.functional.api.api_case import ApiCase

load_tests = testscenarios.load_tests_apply_scenarios

LONG = "x" * 2000
ODD_NAMES = (
    "\0",
    "a\0b",
    "é",
    "\U0001f600",
    LONG,
    "%",
    "'",
    '"',
    " ",
    "-1",
    "9" * 400,
    "None",
    "..",
)
ODD_BODIES = (None, [], {}, "text", 5, True, {"\0": 1}, {"a": {"b": ["\0"]}}, {"": None})


def _version(route: Route) -> str:
    return ".".join(str(part) for part in route.when.until)


class BadInputTest(ApiCase):
    """Every route, with administrators' rights."""

    def setUp(self) -> None:
        super().setUp()
        self.add_host("h1", booted_at=utcnow())

    def _tell(self, method: str, path: str, body: object, version: str) -> None:
        answer = self.ask(method, path, body, version=version)
        self.assertLess(answer.status_code, 500, f"{method} {path[:80]} {body}: {answer.text}")

    def test_odd_names_in_paths_break_nothing(self) -> None:
        for route in ROUTES:
            if "{" not in route.path:
                continue
            for name in ODD_NAMES:
                path = re.sub(r"{\w+}", quote(name, safe=""), route.path)
                self._tell(route.method, path, {"a": "b"}, _version(route))

    def test_odd_bodies_break_nothing(self) -> None:
        for route in ROUTES:
            if route.method not in {"POST", "PUT"}:
                continue
            for body in ODD_BODIES:
                self._tell(route.method, re.sub(r"{\w+}", "1", route.path), body, _version(route))

    def test_odd_queries_break_nothing(self) -> None:
        names = (
            "limit",
            "marker",
            "sort_key",
            "user_id",
            "tenant_id",
            "start",
            "end",
            "host",
            "name",
        )
        for route in ROUTES:
            if route.method != "GET":
                continue
            path = re.sub(r"{\w+}", "1", route.path)
            for name in names:
                for value in ODD_NAMES:
                    query = f"{path}?{name}={quote(value, safe='')}"
                    for version in (_version(route), "2.40"):
                        self._tell("GET", query, None, version)

    def test_a_nul_is_refused_by_the_name_of_its_field(self) -> None:
        body = {"aggregate": {"name": "x", "availability_zone": "a\0b"}}
        self.refused(400, "availability_zone", "POST", "/os-aggregates", body)
        self.refused(400, "host", "GET", "/os-services?host=%00")
        self.refused(404, "", "GET", "/flavors/%00")
        self.asked(200, "POST", "/os-aggregates", {"aggregate": {"name": "not a \\u0000"}})
