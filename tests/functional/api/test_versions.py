"""Every route at every microversion that changed something: the client checks each answer."""

import re
from collections.abc import Iterator

from kilonova.api.microversions import VERSIONS
from kilonova.api.resources import ROUTES
from kilonova.api.routing import Route
from kilonova.api.servers import tasks
from tests.functional.api.answers import ANSWERS
from tests.functional.api.answers.shapes import Version, steps_of
from tests.functional.api.api_case import ADMIN, ANN
from tests.functional.api.bodies import ACTIONS
from tests.functional.api.population import (
    IMAGE,
    PROVIDER,
    REQUEST,
    SERVERS,
    VOLUME,
    Populated,
)

_NAMES = {
    "flavor_id": ("1", "2"),
    "project_id": ("project-a",),
    "alias": ("os-services",),
    "request_id": (REQUEST,),
    "server_id": SERVERS,
    "network": ("public",),
    "port_id": ("99999999-9999-4999-8999-999999999999",),
    "migration_id": ("1",),
    "tag": ("red",),
    "volume_id": (VOLUME,),
    "snapshot_id": (VOLUME,),
    "host": ("h1",),
    "token": ("nobody's",),
    "before": ("2026-01-21 00:00:00",),
    "share_id": (IMAGE.image_id,),
}

_NOT_DONE = ("/startup", "/shutdown", "/reboot")
"""What is refused of hosts that there are."""


def steps(route: Route) -> list[Version]:
    """Return the microversions at which a route's answer changes, those just before, and the ends."""
    told = ANSWERS[f"{route.method} {route.path}"]
    changes = steps_of(told.body) | {route.when.since}
    changes |= {(major, minor - 1) for major, minor in changes} | {route.when.until}
    return sorted(version for version in changes if version in route.when)


class VersionsTest(Populated):
    """Reads of everything, by its owner and by an administrator."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(tasks, "HOST_SECONDS", 0.01)

    def _paths(self, route: Route, version: Version) -> Iterator[str]:
        names = _NAMES | {
            "aggregate_id": (str(self.aggregate),),
            "hypervisor_id": (PROVIDER if version >= (2, 53) else "1",),
            "group_id": (self.group,),
            "key": ("colour" if "metadata" in route.path else "hw:cpu_policy",),
            "name": ("k" if "keypairs" in route.path else "default",),
        }
        if route.path.endswith(("/search", "/servers")):
            names |= {"hypervisor_id": ("h1",)}
        paths = [route.path]
        for name in re.findall(r"{(\w+)}", route.path):
            paths = [path.replace(f"{{{name}}}", one) for path in paths for one in names[name]]
        yield from paths

    def test_every_read_answers_as_its_microversion_says(self) -> None:
        served = 0
        for route in ROUTES:
            for version in steps(route) if route.method == "GET" else ():
                shown = ".".join(map(str, version))
                for path in self._paths(route, version):
                    statuses = {
                        self.ask("GET", path, version=shown, token=token).status_code
                        for token in (ANN, ADMIN)
                    }
                    # No host answers what only a host knows, and what has no cell has no host.
                    expected = {403, 409, 503} if path.endswith("/diagnostics") else set()
                    expected |= {501} if path.endswith(_NOT_DONE) else set()
                    self.assertLessEqual(statuses, {200, 204, 403, 404} | expected, path)
                    served += bool(statuses & {200, 204})
        self.assertGreater(served, 300)

    def test_every_route_says_what_it_answers(self) -> None:
        told = {" ".join(key.split(" ")[:2]) for key in ANSWERS}
        self.assertEqual(set(), {f"{r.method} {r.path}" for r in ROUTES} ^ told)

    def test_a_route_that_a_microversion_lacks_is_not_found(self) -> None:
        for route in ROUTES:
            others = [r for r in ROUTES if (r.method, r.path) == (route.method, route.path)]
            for version in VERSIONS:
                if any(version in r.when for r in others):
                    continue
                path = re.sub(r"{\w+}", "1", route.path)
                answer = self.ask(route.method, path, version=".".join(map(str, version)))
                self.assertEqual(404, answer.status_code, f"{route.method} {path} {version}")

    def test_no_route_takes_unknown_query_parameters_from_2_102_on(self) -> None:
        for route in ROUTES:
            if route.when.until < (2, 102) or route.path in ACTIONS:
                continue
            path = re.sub(r"{\w+}", "1", route.path) + "?colour=blue"
            self.refused(400, "colour", route.method, path, {}, version="2.102")
