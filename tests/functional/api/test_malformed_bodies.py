"""Bodies that nobody should send: refused by name, and nothing of them is kept.

Each route's good body is spoilt in ways that are drawn from a fixed seed.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import testscenarios
from falcon.testing import StartResponseMock, create_environ
from hypothesis import HealthCheck, given, settings

from kilonova.api import plans
from kilonova.api.microversions import MAXIMUM
from kilonova.api.resources import OWN_ROUTES
from kilonova.api.servers import tasks
from tests.functional.api.bodies import ACTIONS, BODIES, OLD_ACTIONS, server
from tests.functional.api.flaws import Flaw, GoodBody, anywhere, flaws
from tests.functional.api.population import ACTIVE, VOLUME, Populated
from tests.functional.compute.image_store import ServedImages
from tests.functional.db.databases import DatabaseCase

load_tests = testscenarios.load_tests_apply_scenarios

NEWEST = ".".join(map(str, MAXIMUM))
_LAST = {"/os-hosts/{host}": "2.42"}
MALFORMED = 1000
"""Different bodies for each route that are surely malformed."""
DRAWN = 2500
"""Flaws that are enough for that. Drawing takes longer than asking, so all routes share what is drawn."""
STORED = 30
"""How many flaws are tried on every kind of database, with all rows compared."""
SPOILT = 50
"""Bodies for each route that may still be good."""

_NOBODY = re.compile(
    r"No answer to \w+ within|No block storage service|image store does not answer"
)


class Place(NamedTuple):
    """Where a body is sent."""

    method: str
    path: str
    version: str = NEWEST


def drawn(number: int) -> settings:
    """Return the settings for so many examples, the same in every run."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


class BodiesCase(Populated):
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

    def routes(self) -> Iterator[tuple[Place, Any]]:
        """Yield each route with a good body, and a body for each action."""
        yield Place("POST", "/v2.1/servers"), server(self.image)
        for key, body in BODIES.items():
            method, path = key.split(" ")
            yield Place(method, f"/v2.1{self._path(path)}", _LAST.get(path, NEWEST)), body
        for path, bodies in ACTIONS.items():
            for body in bodies:
                yield Place("POST", f"/v2.1{self._path(path)}"), body
        for body in OLD_ACTIONS:
            yield Place("POST", f"/v2.1/servers/{ACTIVE}/action", "2.5"), body
        for key, body in self.own().items():
            method, path = key.split(" ")
            yield Place(method, f"/kilonova/v1{path.replace('{desired_id}', 'web')}"), body

    def own(self) -> dict[str, Any]:
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

    def tell(self, place: Place, body: Any) -> int:
        """Send a body and return the status, which is no 5xx; a refusal says why."""
        headers = {
            "X-Auth-Token": "admin:project-a",
            "OpenStack-API-Version": f"compute {place.version}",
            "Content-Type": "application/json",
        }
        # Without the client, which checks on every request that this is a WSGI application.
        told = StartResponseMock()
        asked = create_environ(
            place.path, method=place.method, body=json.dumps(body), headers=headers
        )
        answer = b"".join(self.client.app(asked, told))
        status = int(told.status.partition(" ")[0])
        if status == 503 and _NOBODY.search(answer.decode()):
            # A good body after all: there is nobody to answer it.
            return 202
        self.assertLess(status, 500, f"{place} {body!r}: {answer!r}")
        if status >= 400:
            (fault,) = json.loads(answer).values()
            self.assertEqual(status, fault["code"])
            self.assertTrue(fault["message"])
        return status


class MalformedBodiesTest(BodiesCase):
    """On SQLite, which tells whether anything was written."""

    scenarios = DatabaseCase.scenarios[:1]

    def setUp(self) -> None:
        super().setUp()
        self._files = [
            sqlite3.connect(self.directory / f"{name}.sqlite") for name in ("api", "cell", "cell0")
        ]
        for file in self._files:
            self.addCleanup(file.close)
        self._known = self._commits()

    def _commits(self) -> list[int]:
        """Return numbers that change whenever the API commits something."""
        return [file.execute("PRAGMA data_version").fetchone()[0] for file in self._files]

    def tell(self, place: Place, body: Any) -> int:
        """Send a body and return the status; what was refused is not stored."""
        status = super().tell(place, body)
        now = self._commits()
        if status >= 400:
            self.assertEqual(self._known, now, f"{place} {body!r}: kept something")
        self._known = now
        return status

    def test_every_route_beside_the_compute_api_that_takes_a_body_is_tried(self) -> None:
        taking = {f"{r.method} {r.path}" for r in OWN_ROUTES if r.method in ("POST", "PUT")}
        self.assertEqual(taking, self.own().keys())

    def test_what_is_surely_malformed_is_refused(self) -> None:
        told: dict[tuple[Place, GoodBody], set[str]] = {
            (place, GoodBody(good)): set() for place, good in self.routes()
        }

        @drawn(DRAWN)
        @given(flaws)
        def send(flaw: Flaw) -> None:
            for (place, good), texts in told.items():
                body = good.spoilt(flaw)
                text = json.dumps(body)
                if text not in texts and len(texts) < MALFORMED:
                    status = self.tell(place, body)
                    self.assertTrue(400 <= status < 500, f"{place} {body!r}: {status}")
                    texts.add(text)

        send()
        self.assertEqual({MALFORMED}, {len(texts) for texts in told.values()})

    def test_what_is_spoilt_anywhere_breaks_nothing(self) -> None:
        for place, good in self.routes():
            self._send_spoilt(place, good)

    def _send_spoilt(self, place: Place, good: Any) -> None:
        @drawn(SPOILT)
        @given(anywhere(good))
        def send(body: Any) -> None:
            self.tell(place, body)

        send()


class StoredTest(BodiesCase):
    """On every kind of database."""

    def test_of_what_is_surely_malformed_no_row_is_left(self) -> None:
        routes = [(place, GoodBody(good)) for place, good in self.routes()]
        before = self.stored()

        @drawn(STORED)
        @given(flaws)
        def send(flaw: Flaw) -> None:
            for place, good in routes:
                self.assertGreaterEqual(self.tell(place, good.spoilt(flaw)), 400)
            self.assertEqual(before, self.stored())

        send()
