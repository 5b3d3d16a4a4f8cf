"""Quotas and limits through the API."""

from typing import Any

import sqlalchemy as sa

from kilonova.db.api_schema import QuotaUsage
from kilonova.db.statements import table_of
from tests.functional.api.api_case import ADMIN, ANN, ApiCase

SET = "/os-quota-sets/project-a"
CLASS = "/os-quota-class-sets/default"


class QuotasTest(ApiCase):
    """What administrators set is what projects see."""

    def options(self) -> str:
        return "[quota]\ninstances = 5\n"

    def _use(self, **used: int) -> None:
        row = {"project_id": "project-a", "instances": 0, "cores": 0, "ram": 0} | used
        self.api_db.write(lambda c: c.execute(sa.insert(table_of(QuotaUsage)).values(row)))

    def _set(self, query: str = "", **limits: Any) -> dict[str, Any]:
        changed: dict[str, Any] = self.asked(200, "PUT", f"{SET}{query}", {"quota_set": limits})
        return changed["quota_set"]  # type: ignore[no-any-return]

    def _limits(self, version: str = "2.96", token: str = ANN, query: str = "") -> dict[str, Any]:
        document = self.asked(200, "GET", f"/limits{query}", version=version, token=token)
        self.assertEqual([], document["limits"]["rate"])
        return document["limits"]["absolute"]  # type: ignore[no-any-return]

    def test_without_any_the_configured_limits_hold(self) -> None:
        shown = self.asked(200, "GET", SET, token=ANN)["quota_set"]
        self.assertEqual(("project-a", 5, 20), (shown["id"], shown["instances"], shown["cores"]))
        self.assertEqual(shown, self.asked(200, "GET", f"{SET}/defaults")["quota_set"])

    def test_what_is_set_is_shown_everywhere(self) -> None:
        changed = self._set(cores="40", ram=-1)
        self.assertNotIn("id", changed)
        shown = self.asked(200, "GET", SET, token=ANN)["quota_set"]
        self.assertEqual((40, -1, 5), (shown["cores"], shown["ram"], shown["instances"]))
        self.assertEqual(40, self._limits()["maxTotalCores"])
        self.assertEqual(20, self.asked(200, "GET", f"{SET}/defaults")["quota_set"]["cores"])
        self.asked(202, "DELETE", SET)
        self.assertEqual(20, self._limits()["maxTotalCores"])

    def test_details_and_limits_show_what_is_used(self) -> None:
        self._use(instances=2, cores=4, ram=1024)
        detail = self.asked(200, "GET", f"{SET}/detail", token=ANN)["quota_set"]
        self.assertEqual({"limit": 20, "in_use": 4, "reserved": 0}, detail["cores"])
        limits = self._limits()
        self.assertEqual(
            (2, 4, 1024),
            (limits["totalInstancesUsed"], limits["totalCoresUsed"], limits["totalRAMUsed"]),
        )

    def test_a_limit_below_what_is_used_needs_force(self) -> None:
        self._use(cores=4)
        self.refused(400, "cores", "PUT", SET, {"quota_set": {"cores": 3}})
        self._set(cores=4)
        self.assertEqual(3, self._set(cores=3, force=True)["cores"])
        self.assertEqual(-1, self._set(cores=-1)["cores"])

    def test_a_users_limits_lie_below_the_projects(self) -> None:
        self._set("?user_id=ann", key_pairs=7)
        shown = self.asked(200, "GET", f"{SET}?user_id=ann")["quota_set"]
        self.assertEqual(7, shown["key_pairs"])
        self.assertEqual(100, self.asked(200, "GET", SET)["quota_set"]["key_pairs"])
        for limits, says in (({"key_pairs": 101}, "key_pairs"), ({"cores": 1}, "cores")):
            self.refused(400, says, "PUT", f"{SET}?user_id=ann", {"quota_set": limits})

    def test_what_is_wrong_is_named_and_nothing_is_set(self) -> None:
        for name, value in (
            ("cores", -2),
            ("cores", "many"),
            ("cores", 2**31),
            ("cores", 1.5),
            ("cores", [1]),
            ("force", "perhaps"),
            ("colours", 1),
            ("floating_ips", 1),
            ("injected_files", 1),
        ):
            self.refused(400, name, "PUT", SET, {"quota_set": {"ram": 1, name: value}})
        self.assertEqual(51200, self.asked(200, "GET", SET)["quota_set"]["ram"])
        self.asked(200, "PUT", SET, {"quota_set": {"injected_files": 1}}, version="2.56")
        shown = self.asked(200, "PUT", SET, {"quota_set": {"floating_ips": 9}}, version="2.35")
        self.assertEqual(
            (-1, 1), (shown["quota_set"]["floating_ips"], shown["quota_set"]["injected_files"])
        )

    def test_projects_see_their_own_only_and_set_nothing(self) -> None:
        for method, path, body in (
            ("GET", "/os-quota-sets/project-b", None),
            ("GET", "/os-quota-sets/project-b/detail", None),
            ("PUT", SET, {"quota_set": {"cores": 99}}),
            ("DELETE", SET, None),
            ("GET", CLASS, None),
            ("PUT", CLASS, {"quota_class_set": {"cores": 99}}),
        ):
            self.refused(403, "os-quota", method, path, body, token=ANN)
        self.refused(403, "other_project", "GET", "/limits?tenant_id=project-b", token=ANN)
        self._limits(query="?tenant_id=project-a")

    def test_administrators_see_the_limits_of_any_project(self) -> None:
        self._set(cores=40)
        self.assertEqual(
            40, self._limits(token=ADMIN, query="?tenant_id=project-a")["maxTotalCores"]
        )
        self.assertEqual(20, self._limits(token=ADMIN)["maxTotalCores"])

    def test_the_default_class_is_everybodys_default(self) -> None:
        body = {"quota_class_set": {"cores": 30}}
        self.assertEqual(30, self.asked(200, "PUT", CLASS, body)["quota_class_set"]["cores"])
        self.assertEqual(30, self._limits()["maxTotalCores"])
        self.assertEqual(30, self.asked(200, "GET", f"{SET}/defaults")["quota_set"]["cores"])
        shown = self.asked(200, "GET", CLASS)["quota_class_set"]
        self.assertEqual(("default", 30, 5), (shown["id"], shown["cores"], shown["instances"]))
        self.refused(400, "colours", "PUT", CLASS, {"quota_class_set": {"colours": 1}})

    def test_limits_refuse_unknown_parameters_from_2_75_on(self) -> None:
        self.refused(400, "colour", "GET", "/limits?colour=blue", version="2.75")
        self._limits(version="2.74", query="?colour=blue")
