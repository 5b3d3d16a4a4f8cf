"""Migrations through the API: there are none yet, and lists say so at every microversion."""

from tests.functional.api.api_case import ANN
from tests.functional.api.population import ACTIVE, GONE, Populated


class MigrationsTest(Populated):
    """Servers that never moved."""

    def test_there_is_none(self) -> None:
        for version in ("2.1", "2.23", "2.59", "2.66", "2.80", "2.104"):
            listed = self.asked(200, "GET", "/os-migrations", version=version)
            self.assertEqual({"migrations": []}, listed)

    def test_parameters_come_with_their_versions(self) -> None:
        for query, first in (
            ("limit=1", 59),
            ("changes-since=2020-01-01T00:00:00Z", 59),
            ("changes-before=2020-01-01T00:00:00Z", 66),
            ("user_id=ann", 80),
            ("project_id=project-a", 80),
        ):
            path = f"/os-migrations?{query}"
            self.asked(200, "GET", path, version=f"2.{first}")
            self.asked(200, "GET", path, version="2.58")
            if first > 59:
                name = query.partition("=")[0]
                self.refused(400, name, "GET", path, version=f"2.{first - 1}")
        for query in ("marker=1", "limit=x", "changes-since=yesterday", "colour=blue"):
            name = query.partition("=")[0]
            self.refused(400, "", "GET", f"/os-migrations?{query}", version="2.59")
            self.asked(200, "GET", f"/os-migrations?{name}=1", version="2.58")

    def test_a_server_has_none_in_progress(self) -> None:
        path = f"/servers/{ACTIVE}/migrations"
        self.assertEqual({"migrations": []}, self.asked(200, "GET", path, version="2.23"))
        self.refused(404, "", "GET", path, version="2.22")
        self.refused(404, "migration 1", "GET", f"{path}/1")
        self.refused(404, GONE, "GET", f"/servers/{GONE}/migrations")

    def test_managers_see_them_and_members_do_not(self) -> None:
        for path in ("/os-migrations", f"/servers/{ACTIVE}/migrations"):
            self.refused(403, "migrations", "GET", path, token=ANN)
            answer = self.ask("GET", path, token=ANN, roles="manager,member,reader")
            self.assertEqual(200, answer.status_code)
