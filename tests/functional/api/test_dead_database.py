"""What the API answers while its database does not."""

import re

from oslo_config import cfg

from kilonova.api.resources import ROUTES
from tests.functional.api.api_case import ApiCase


class DeadDatabaseTest(ApiCase):
    """The API's own database cannot be opened."""

    def _configuration(self, more: str) -> cfg.ConfigOpts:
        conf = super()._configuration(more)
        missing = f"sqlite:///{self.directory}/nothing/here.sqlite"
        conf.set_override("connection", missing, "api_database")
        return conf

    def test_reads_answer_503_and_name_no_url(self) -> None:
        for route in ROUTES:
            if route.method != "GET" or route.path.startswith(("/extensions", "/os-migrations")):
                continue
            path = route.path.replace("{before}", "2026-01-21 00:00:00")
            path = re.sub(r"{\w+}", "aaaaaaaa-0000-4000-8000-000000000001", path)
            # Aggregates, and below 2.53 hypervisors, are named by numbers.
            if "aggregate_id" in route.path or route.when.until < (2, 53):
                path = re.sub(r"{\w+}", "1", route.path)
            if route.path.startswith("/os-simple-tenant-usage"):
                path = f"{path}?start=2020-01-01T00:00:00"
            version = ".".join(str(part) for part in route.when.until)
            answer = self.ask("GET", path, version=version)
            self.assertEqual(503, answer.status_code, f"{path}: {answer.text}")
            self.assertNotIn("sqlite", answer.text)

    def test_writes_answer_503(self) -> None:
        flavor = {"name": "m1", "ram": 512, "vcpus": 1, "disk": 1}
        for method, path, body in (
            ("POST", "/flavors", {"flavor": flavor}),
            ("DELETE", "/flavors/1", None),
            ("DELETE", "/os-keypairs/k", None),
            ("POST", "/os-aggregates", {"aggregate": {"name": "x"}}),
            ("PUT", "/os-quota-sets/p", {"quota_set": {"cores": 1}}),
        ):
            self.refused(503, "database", method, path, body)

    def test_what_needs_no_database_is_answered(self) -> None:
        self.asked(200, "GET", "/extensions")
