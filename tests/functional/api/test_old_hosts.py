"""Hosts as old clients ask for them."""

from tests.functional.api.api_case import ANN
from tests.functional.api.population import Populated

OLD = "2.42"


class OldHostsTest(Populated):
    """Host h1 in zone z1, with servers of project-a."""

    def test_they_are_listed_with_what_runs_there(self) -> None:
        self.add_host("h2", 2)
        one = {"host_name": "h1", "service": "compute", "zone": "z1"}
        other = {"host_name": "h2", "service": "compute", "zone": "nova"}
        for query, expected in (
            ("", [one, other]),
            ("?zone=z1", [one]),
            ("?zone=", [one, other]),
            ("?service=compute&zone=nova", [other]),
            ("?service=conductor", []),
            ("?unknown=1", [one, other]),
        ):
            listed = self.asked(200, "GET", f"/os-hosts{query}", version="2.1")["hosts"]
            self.assertEqual(expected, sorted(listed, key=lambda host: host["host_name"]))

    def test_what_one_has_is_told_in_all_and_by_project(self) -> None:
        told = self.asked(200, "GET", "/os-hosts/h1", version=OLD)["host"]
        rows = {row["resource"]["project"]: row["resource"] for row in told}
        self.assertEqual(["(total)", "(used_now)", "(used_max)", "project-a"], list(rows))
        self.assertEqual({"h1"}, {row["host"] for row in rows.values()})
        total = {"host": "h1", "project": "(total)", "cpu": 8, "memory_mb": 8192, "disk_gb": 100}
        self.assertEqual(total, rows["(total)"])
        # The server that is ACTIVE; the others are deleted, or nowhere.
        self.assertEqual((1, 512, 1), _amounts(rows["project-a"]))
        self.assertEqual((1, 512, 1), _amounts(rows["(used_max)"]))

    def test_one_is_disabled_and_enabled(self) -> None:
        for status, shown in (("Disable", "disabled"), ("ENABLE", "enabled")):
            answer = self.asked(200, "PUT", "/os-hosts/h1", {"status": status}, version=OLD)
            self.assertEqual({"host": "h1", "status": shown}, answer)
            (service,) = self.asked(200, "GET", "/os-services?host=h1")["services"]
            self.assertEqual(shown, service["status"])

    def test_what_cannot_be_is_refused(self) -> None:
        maintenance = {"maintenance_mode": "enable"}
        self.refused(501, "maintenance", "PUT", "/os-hosts/h1", maintenance, version=OLD)
        for body in ({}, {"status": "off"}, {"more": 1}, {"status": 1}):
            self.refused(400, "", "PUT", "/os-hosts/h1", body, version=OLD)
        for action in ("startup", "shutdown", "reboot"):
            self.refused(501, "power", "GET", f"/os-hosts/h1/{action}", version=OLD)
            self.refused(404, "h9", "GET", f"/os-hosts/h9/{action}", version=OLD)
        self.refused(404, "h9", "GET", "/os-hosts/h9", version=OLD)
        for body in ({"status": "enable"}, {"status": "enable"} | maintenance, maintenance):
            self.refused(404, "h9", "PUT", "/os-hosts/h9", body, version=OLD)
        self.refused(403, "os-hosts:list", "GET", "/os-hosts", version=OLD, token=ANN)
        self.refused(404, "", "GET", "/os-hosts", version="2.43")


def _amounts(row: dict[str, int]) -> tuple[int, int, int]:
    return row["cpu"], row["memory_mb"], row["disk_gb"]
