"""What is no part of the API any more, and the audit that no host runs."""

import re
from datetime import datetime
from typing import Any

import testtools

from kilonova.api.audit_logs import last_month
from kilonova.api.resources import OLD_ROUTES
from tests.functional.api.api_case import ANN
from tests.functional.api.population import ACTIVE, Populated


class GoneTest(Populated):
    """Clients that are older than the API."""

    def test_nothing_of_it_is_told_without_a_token(self) -> None:
        for route in OLD_ROUTES:
            path = re.sub(r"{\w+}", "1", route.path)
            answer = self.client.simulate_request(route.method, f"/v2.1{path}")
            self.assertEqual(401, answer.status_code, f"{route.method} {path}")

    def test_a_project_in_the_path_is_told_from_what_is_gone(self) -> None:
        answer = self.ask("GET", "/project-a/os-cells/detail", token=ANN)
        self.assertEqual(410, answer.status_code)


class OldNameTest(Populated):
    """Servers as ``/os-volumes_boot``."""

    def ask_old(self, method: str, path: str, version: str, body: Any = None) -> Any:
        """Return the answer to Ann; what it must look like is only written down for the new name."""
        headers = {"X-Auth-Token": ANN, "OpenStack-API-Version": f"compute {version}"}
        return self.client.simulate_request(
            method, f"/v2.1/os-volumes_boot{path}", json=body, headers=headers
        )

    def test_it_is_answered_as_servers_are_up_to_2_102(self) -> None:
        for path in ("", "/detail", f"/{ACTIVE}"):
            new = self.asked(200, "GET", f"/servers{path}", version="2.102", token=ANN)
            self.assertEqual(new, self.ask_old("GET", path, "2.102").json)
            self.assertEqual(404, self.ask_old("GET", path, "2.103").status_code)

    def test_what_is_wrong_is_refused_under_it_too(self) -> None:
        answer = self.ask_old("POST", "", "2.1", {"server": {"name": "x"}})
        self.assertEqual(400, answer.status_code)
        self.assertIn("flavorRef", answer.text)


class AuditTest(testtools.TestCase):
    """The audit of usage, which hosts here do not run."""

    def test_the_month_before_january_is_december(self) -> None:
        self.assertEqual(
            (datetime(2025, 12, 1), datetime(2026, 1, 1)), last_month(datetime(2026, 1, 31, 5))
        )
        self.assertEqual(
            (datetime(2026, 2, 1), datetime(2026, 3, 1)), last_month(datetime(2026, 3, 31))
        )
