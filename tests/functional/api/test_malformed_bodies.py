"""Bodies that nobody should send: refused by name, and nothing of them is kept.

Each route's good body is spoilt at a random place, from a fixed seed.
"""

import copy
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kilonova.api import plans
from kilonova.api.microversions import MAXIMUM
from kilonova.api.resources import OWN_ROUTES
from kilonova.api.servers import tasks
from tests.functional.api.bodies import ACTIONS, BODIES, server
from tests.functional.api.population import ACTIVE, VOLUME, Populated
from tests.functional.compute.image_store import ServedImages

NEWEST = ".".join(map(str, MAXIMUM))
EXAMPLES = 50
"""Bodies for each route, twice: some that may still be good, and some that are surely not."""

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.sampled_from(["", " ", "a\0b", "\udc80", "x" * 256, "0", "-1", "1e3", "null", "../.."])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3)
    ),
    max_leaves=5,
)
_OPEN = ("metadata", "meta", "extra_specs", "scheduler_hints", "hw:cpu_policy")
"""What may hold keys of any name, or is one."""

_NOBODY = re.compile(
    r"No answer to \w+ within|No block storage service|image store does not answer"
)

Steps = tuple[str | int, ...]


def places(body: Any, here: Steps = ()) -> Iterator[Steps]:
    """Yield the way to each value in a body, the whole of it first."""
    yield here
    if isinstance(body, dict):
        for key in body:
            yield from places(body[key], (*here, key))
    elif isinstance(body, list):
        for number, inner in enumerate(body):
            yield from places(inner, (*here, number))


def at(body: Any, steps: Steps) -> Any:
    """Return the value at a place."""
    for step in steps:
        body = body[step]
    return body


def put(body: Any, steps: Steps, value: Any) -> Any:
    """Return a body with another value at a place."""
    if not steps:
        return value
    spoilt = copy.deepcopy(body)
    at(spoilt, steps[:-1])[steps[-1]] = value
    return spoilt


def spoilt(body: Any) -> st.SearchStrategy[Any]:
    """Return bodies with anything at all at some place of a good one."""
    somewhere = st.sampled_from([*places(body)])
    return st.builds(lambda steps, value: put(body, steps, value), somewhere, _JSON)


def malformed(body: Any) -> st.SearchStrategy[Any]:
    """Return bodies with a key too many where none may be, or no object where one must be."""
    closed = [
        steps
        for steps in places(body)
        if isinstance(at(body, steps), dict) and not any(w in str(s) for s in steps for w in _OPEN)
    ]
    keys = st.text(min_size=1, max_size=20).map(lambda name: f"?{name}")
    not_objects = st.booleans() | st.integers() | st.text(min_size=1) | st.lists(_SCALARS)
    if not closed:
        return not_objects
    more = st.builds(
        lambda steps, key, value: put(body, steps, at(body, steps) | {key: value}),
        st.sampled_from(closed),
        keys,
        _JSON,
    )
    less = st.builds(
        lambda steps, value: put(body, steps, value), st.sampled_from(closed), not_objects
    )
    return more | less


class MalformedBodiesTest(Populated):
    """Every route that takes a body, with an administrator's rights."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return (
            super().options() + images.options + "[quota]\ninstances = -1\ncores = -1\nram = -1\n"
        )

    def setUp(self) -> None:
        super().setUp()
        self.patch(tasks, "HOST_SECONDS", 0.01)
        self.patch(plans, "_TIMEOUT", 0.01)
        self._files = [
            sqlite3.connect(self.directory / f"{name}.sqlite") for name in ("api", "cell")
        ]
        for file in self._files:
            self.addCleanup(file.close)

    def _commits(self) -> list[int]:
        """Return numbers that change whenever the API commits something."""
        return [file.execute("PRAGMA data_version").fetchone()[0] for file in self._files]

    def _routes(self) -> Iterator[tuple[str, str, Any]]:
        yield "POST", "/v2.1/servers", server(self.image)
        for key, body in BODIES.items():
            method, path = key.split(" ")
            yield method, f"/v2.1{self._path(path)}", body
        for path, bodies in ACTIONS.items():
            for body in bodies:
                yield "POST", f"/v2.1{self._path(path)}", body
        for key, body in self._own().items():
            method, path = key.split(" ")
            yield method, f"/kilonova/v1{path.replace('{desired_id}', 'web')}", body

    def _own(self) -> dict[str, Any]:
        """Return a good body for each route beside the Compute API that takes one."""
        one = {"flavorRef": "1", "imageRef": self.image, "networks": "none"}
        desired = {"desired": {"name": "web", "count": 1}, "server": one}
        more = {"metadata": {"a": "b"}, "config_drive": True, "availability_zone": "z1"}
        return {
            "POST /desired": desired,
            "PUT /desired/{desired_id}": {"desired": {"count": 2}, "server": one | more},
            "POST /tasks": {"task": {"kind": "vitals", "filters": {"host": "h1"}}},
            "POST /plans": {"server": one | more | {"min_count": 1, "max_count": 2}},
        }

    def _path(self, path: str) -> str:
        (service,) = self.asked(200, "GET", "/os-services")["services"]
        for name, value in (
            ("server_id", ACTIVE),
            ("flavor_id", "2"),
            ("aggregate_id", str(self.aggregate)),
            ("service_id", service["id"]),
            ("project_id", "project-a"),
            ("name", "default"),
            ("tag", "red"),
            ("volume_id", VOLUME),
            ("host", "h1"),
            ("migration_id", "1"),
            ("key", "colour" if "metadata" in path else "hw:cpu_policy"),
        ):
            path = path.replace(f"{{{name}}}", value)
        self.assertNotIn("{", path)
        return path

    def _tell(self, method: str, path: str, body: Any) -> int:
        headers = {
            "X-Auth-Token": "admin:project-a",
            "OpenStack-API-Version": f"compute {NEWEST}",
            "Content-Type": "application/json",
        }
        before = self._commits()
        answer = self.client.simulate_request(method, path, body=json.dumps(body), headers=headers)
        status = answer.status_code
        if status == 503 and _NOBODY.search(answer.text):
            # A good body after all: there is nobody to answer it.
            return 202
        self.assertLess(status, 500, f"{method} {path} {body!r}: {answer.text}")
        if status >= 400:
            self.assertEqual(before, self._commits(), f"{method} {path} {body!r}: kept something")
            (fault,) = answer.json.values()
            self.assertEqual(status, fault["code"])
            self.assertTrue(fault["message"])
        return status

    def _try(
        self,
        strategy: Callable[[Any], st.SearchStrategy[Any]],
        expect: Callable[[int], bool],
    ) -> None:
        for method, path, good in self._routes():
            self._send(method, path, strategy(good), expect)

    def _send(
        self,
        method: str,
        path: str,
        bodies: st.SearchStrategy[Any],
        expect: Callable[[int], bool],
    ) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(bodies)
        def send(body: Any) -> None:
            status = self._tell(method, path, body)
            self.assertTrue(expect(status), f"{method} {path} {body!r}: {status}")

        send()

    def test_every_route_beside_the_compute_api_that_takes_a_body_is_tried(self) -> None:
        taking = {f"{r.method} {r.path}" for r in OWN_ROUTES if r.method in ("POST", "PUT")}
        self.assertEqual(taking, self._own().keys())

    def test_what_is_surely_malformed_is_refused(self) -> None:
        self._try(malformed, lambda status: 400 <= status < 500)

    def test_what_is_spoilt_anywhere_breaks_nothing(self) -> None:
        self._try(spoilt, lambda status: status < 500)
