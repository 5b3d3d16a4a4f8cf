"""What people can do with what is not theirs, and readers with anything: nothing."""

import re
from collections.abc import Iterator
from typing import Any

from kilonova.api.resources import ROUTES
from kilonova.api.routing import Route
from kilonova.api.servers import tasks
from tests.functional.api.answers import ANSWERS
from tests.functional.api.api_case import ADMIN, ANN, BOB
from tests.functional.api.bodies import ACTIONS, BODIES, OLD_ACTIONS, server
from tests.functional.api.population import IMAGE, PROVIDER, REQUEST, SERVERS, VOLUME, Populated

_EVERYBODYS = frozenset(
    {
        "GET /extensions/{alias}",
        # The defaults are the same for every project.
        "GET /os-quota-sets/{project_id}/defaults",
    }
)
_HIS_OWN = frozenset({"POST /os-keypairs", "DELETE /os-keypairs/{name}"})
"""What policy lets every user do, whatever his role: his key pairs."""


_NO_VOLUMES = "No block storage service is configured"
_EXPECTED = (404, 409, 410, 503)
"""What good bodies come to: a state refuses some actions, one is gone, and no host and no image store
answers."""
_NO_NETWORKS = re.compile("no (network|share) service is configured")
_LIVES = "is still in use"
"""Of a host from which no server is evacuated."""
_NOT_READ = ("/migrations", "/migrations/{migration_id}", "/diagnostics")
"""What of servers readers do not see."""


def bodies_of(route: Route) -> tuple[Any, ...]:
    """Return the good bodies of a route; None for one that takes none."""
    if route.path in ACTIONS:
        return ACTIONS[route.path]
    if (route.method, route.path) == ("POST", "/servers"):
        return (server(IMAGE.image_id),)
    return (BODIES.get(f"{route.method} {route.path}"),)


class TenantsTest(Populated):
    """Everything here is project-a's, or the operators'."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(tasks, "HOST_SECONDS", 0.01)
        (service,) = self.asked(200, "GET", "/os-services")["services"]
        self._ids = {
            "server_id": SERVERS,
            "flavor_id": ("2",),
            "project_id": ("project-a",),
            "request_id": (REQUEST,),
            "aggregate_id": (str(self.aggregate),),
            "hypervisor_id": (PROVIDER,),
            "service_id": (service["id"],),
            "name": ("k",),
            "alias": ("os-services",),
            "network": ("public",),
            "port_id": ("99999999-9999-4999-8999-999999999999",),
            "migration_id": ("1",),
            "tag": ("red", "new"),
            "volume_id": (VOLUME,),
            "snapshot_id": (VOLUME,),
            "host": ("h1",),
            "token": ("nobody's",),
            "before": ("2026-01-21 00:00:00",),
            "share_id": (IMAGE.image_id,),
            "group_id": (self.group,),
        }

    def _requests(self, token: str, roles: str | None = None) -> Iterator[tuple[str, int, str]]:
        """Ask every route for everything that is here, with good bodies."""
        for route in ROUTES:
            if route.method == "PUT" and route.when.until < (2, 85):
                # Its successor stands for it: the same path and rule, another body.
                continue
            key = "colour" if "metadata" in route.path else "hw:cpu_policy"
            paths = [route.path.replace("{key}", key)]
            for name in re.findall(r"{(\w+)}", paths[0]):
                paths = [p.replace(f"{{{name}}}", one) for p in paths for one in self._ids[name]]
            for path in paths:
                for body in bodies_of(route):
                    version = ".".join(map(str, route.when.until))
                    answer = self.ask(
                        route.method, path, body, version=version, token=token, roles=roles
                    )
                    yield f"{route.method} {route.path}", answer.status_code, answer.text

    def test_what_is_anothers_is_not_found_or_forbidden_and_stays_as_it_is(self) -> None:
        before = self.stored()
        for key, status, text in self._requests(BOB):
            if "{" in key and key not in _EVERYBODYS:
                self.assertIn(status, (403, 404), f"{key}: {text}")
                self.assertNotIn("vm-", text)
        for path in ("/os-keypairs", "/os-keypairs/k"):
            self.asked(403, "GET", f"{path}?user_id=ann", token=BOB)
        self.asked(403, "GET", "/limits?tenant_id=project-a", token=BOB)
        self.asked(403, "DELETE", "/os-keypairs/k?user_id=ann", token=BOB)
        body = {"keypair": {"name": "x", "public_key": "y", "user_id": "ann"}}
        self.asked(403, "POST", "/os-keypairs", body, token=BOB)
        after = self.stored()
        self.assertEqual(before.keys(), after.keys())
        for table, rows in before.items():
            self.assertLessEqual(rows, after[table], table)

    def test_a_reader_changes_nothing(self) -> None:
        before = self.stored()
        for key, status, text in self._requests(ANN, roles="reader"):
            if not key.startswith("GET") and key not in _HIS_OWN:
                self.assertEqual(403, status, f"{key}: {text}")
            if key.startswith("GET /servers") and not key.endswith(_NOT_READ):
                self.assertIn(status, (200, 204, 404), f"{key}: {text}")
        changed = {table for table, rows in self.stored().items() if rows != before[table]}
        self.assertLessEqual(changed, {"api.key_pairs", "api.key_pair_usages"})

    def test_somebody_without_a_role_sees_no_server_and_changes_nothing(self) -> None:
        before = self.stored()
        for key, status, text in self._requests(ANN, roles="stranger"):
            if "/servers" in key and key not in _HIS_OWN:
                self.assertEqual(403, status, f"{key}: {text}")
        changed = {table for table, rows in self.stored().items() if rows != before[table]}
        self.assertLessEqual(changed, {"api.key_pairs", "api.key_pair_usages"})

    def test_the_good_bodies_are_good(self) -> None:
        """Otherwise the refusals above prove nothing."""
        told = {key for key in ANSWERS if not key.startswith(("GET", "DELETE"))}
        old = {f"POST /servers/{{server_id}}/action {next(iter(b))}" for b in OLD_ACTIONS}
        given = {f"POST {path} {next(iter(b))}" for path, all_ in ACTIONS.items() for b in all_}
        self.assertEqual(told - {"POST /servers"}, given | old | BODIES.keys())
        self.add_host("h2", 2)
        refused = {
            key: (status, text)
            for key, status, text in self._requests(ADMIN)
            if key.startswith(("POST", "PUT")) and status >= 400 and status not in _EXPECTED
            if not _NO_NETWORKS.search(text) and _NO_VOLUMES not in text and _LIVES not in text
        }
        self.assertEqual({}, refused)
