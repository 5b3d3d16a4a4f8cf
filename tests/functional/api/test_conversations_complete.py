"""That the conversations leave nothing out: every route, its refusals, both sides of every microversion.

They are only read here. What a request expects is what it is answered, or its conversation fails.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import testtools

from kilonova.api.microversions import ALWAYS, MAXIMUM, MINIMUM, VERSIONS, Version
from kilonova.api.resources import OLD_ROUTES, OWN_ROUTES, ROUTES
from kilonova.api.routing import NO_QUERY, ActOn, Route, Schemas
from kilonova.api.versions import negotiate
from kilonova.core.errors import KilonovaError
from tests.functional.api import conversation_files
from tests.functional.api.answers import ANSWERS
from tests.functional.api.answers.shapes import steps_of

_REFUSED = {
    "GET /os-hosts/{host}/startup": 501,
    "GET /os-hosts/{host}/shutdown": 501,
    "GET /os-hosts/{host}/reboot": 501,
    "POST /servers/{server_id}/action resetNetwork": 410,
    "POST /servers/{server_id}/action os-getRDPConsole": 410,
    "POST /servers/{server_id}/action shelveOffload": 409,
}
"""What is refused to everybody, and how."""

_PUT_IN = re.compile(r"(\$HISTORY\['[^']*'\]\.)?\$\w+\['[^']*'\]")
"""What gabbi puts something else for."""

Told = dict[str, set[tuple[Version, int]]]
"""Method and path (and action) -> the microversions at which it was asked, with the answers' statuses."""


def _patterns(mount: str, routes: Iterable[Route]) -> list[tuple[str, re.Pattern[str], str]]:
    """Return method, pattern and path of each route, those that hold the fewest names first."""
    ordered = sorted(routes, key=lambda route: (route.path.count("{"), route.path))
    return [
        (route.method, re.compile(mount + re.sub(r"{\w+}", "[^/]+", route.path)), route.path)
        for route in ordered
    ]


_PATTERNS = (
    *_patterns("/v2.1", (*ROUTES, *OLD_ROUTES)),
    *_patterns("/kilonova/v1", OWN_ROUTES),
)


def _told() -> Told:
    told: Told = defaultdict(set)
    for name in conversation_files.names():
        for test in conversation_files.read(name)["tests"]:
            method, url = next((key, url) for key, url in test.items() if key.isupper())
            path = _PUT_IN.sub("1", url).partition("?")[0]
            for its, pattern, route in _PATTERNS:
                if its == method and pattern.fullmatch(path):
                    told[_key(method, route, test.get("data"))].add(_answered(test))
                    break
    return told


def _key(method: str, path: str, body: object) -> str:
    action = next(iter(body), "") if path.endswith("/action") and isinstance(body, dict) else ""
    return f"{method} {path} {action}".strip()


def _answered(test: conversation_files.Doc) -> tuple[Version, int]:
    header = test["request_headers"].get("openstack-api-version", "compute 2.1")
    try:
        version = negotiate(header.rpartition(" ")[2])
    except KilonovaError:
        version = (0, 0)
    return version, int(test.get("status", 200))


def _before(version: Version) -> Version:
    return version[0], version[1] - 1


def _served() -> Iterator[tuple[str, Route, tuple[Schemas | None, ...]]]:
    """Return the key of every route and action, the route, and what says what may be asked."""
    for route in ROUTES:
        if not isinstance(route.handler, ActOn):
            yield f"{route.method} {route.path}", route, (route.body, route.query)
            continue
        for action, act in route.handler.acts.items():
            # Served when both are.
            narrowed = Route(
                route.method, route.path, None, act.handler, when=route.when & act.when
            )
            yield f"{route.method} {route.path} {action}", narrowed, (act.body,)


class CompleteTest(testtools.TestCase):
    """All conversations together."""

    told = _told()

    def _statuses(self, key: str) -> set[int]:
        return {status for _, status in self.told[key]}

    def test_every_route_and_action_succeeds_somewhere_and_is_refused_somewhere(self) -> None:
        self.assertEqual(set(), _REFUSED.keys() - ANSWERS.keys())
        for key in ANSWERS:
            statuses = self._statuses(key)
            succeeds = {s for s in statuses if s < 300} or {_REFUSED.get(key)} & statuses
            self.assertTrue(succeeds, f"{key} never succeeds")
            self.assertTrue({s for s in statuses if 400 <= s < 500}, f"{key} is never refused")

    def test_what_only_is_refused_never_succeeds(self) -> None:
        for key in _REFUSED:
            self.assertEqual(set(), {s for s in self._statuses(key) if s < 300}, key)

    def test_so_does_every_route_that_is_no_part_of_the_compute_api(self) -> None:
        for route in OWN_ROUTES:
            statuses = self._statuses(f"{route.method} {route.path}")
            self.assertTrue({s for s in statuses if s < 300}, route.path)
            self.assertTrue({s for s in statuses if 400 <= s < 500}, route.path)

    def test_what_is_gone_is_gone_up_to_its_last_microversion(self) -> None:
        for route in OLD_ROUTES:
            if route.rule is not None:
                continue
            told = self.told[f"{route.method} {route.path}"]
            if route.when is ALWAYS:
                self.assertIn(410, {status for _, status in told}, route.path)
                continue
            last = route.when.until
            self.assertLessEqual({(last, 410), ((last[0], last[1] + 1), 404)}, told, route.path)

    def test_every_microversion_is_asked_for_where_something_changes_and_just_below(self) -> None:
        for version in VERSIONS.keys() - {MINIMUM}:
            both = {version, _before(version)}
            keys = [key for key, told in self.told.items() if both <= {at for at, _ in told}]
            self.assertNotEqual([], keys, f"{version}: {VERSIONS[version]}")

    def test_routes_are_asked_on_both_sides_of_where_they_begin_end_or_take_something_else(
        self,
    ) -> None:
        for key, route, schemas in _served():
            edges = {route.when.since, (route.when.until[0], route.when.until[1] + 1)}
            # What every route refuses from 2.102 on is asked of all of them elsewhere.
            edges |= {v for s in schemas if s is not None and s is not NO_QUERY for v in s.edges}
            for version in {v for v in edges if MINIMUM < v <= MAXIMUM}:
                if version in route.when or _before(version) in route.when:
                    asked = {at for at, _ in self.told[key]}
                    self.assertLessEqual({version, _before(version)}, asked, key)

    def test_routes_succeed_on_both_sides_of_where_they_answer_something_else(self) -> None:
        for key, answer in ANSWERS.items():
            method, path, *_ = key.split(" ")
            spans = [route.when for route in ROUTES if (route.method, route.path) == (method, path)]
            answered = {at for at, status in self.told[key] if status < 300}
            for version in steps_of(answer.body) - {MINIMUM}:
                if any(version in span and _before(version) in span for span in spans):
                    self.assertLessEqual({version, _before(version)}, answered, key)
