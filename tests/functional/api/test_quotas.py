"""Quotas and limits through the API."""

from typing import Any

import sqlalchemy as sa

from kilonova.core.quota import Limits
from kilonova.db.acceptance import Lot, accept
from kilonova.db.api_schema import QuotaUsage
from kilonova.db.statements import table_of
from tests.functional.api.api_case import ADMIN, ANN, ApiCase
from tests.functional.db.servers import accepted

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
        self._set("?user_id=ann", key_pairs=7, cores=8)
        shown = self.asked(200, "GET", f"{SET}?user_id=ann")["quota_set"]
        self.assertEqual((7, 8, 5), (shown["key_pairs"], shown["cores"], shown["instances"]))
        others = self.asked(200, "GET", f"{SET}?user_id=bob")["quota_set"]
        self.assertEqual(others, self.asked(200, "GET", SET)["quota_set"])
        self.assertEqual((100, 20), (others["key_pairs"], others["cores"]))
        for limits, says in (({"key_pairs": 101}, "key_pairs"), ({"cores": -1}, "cores")):
            self._refused_limits("?user_id=ann", f"for {says} must be less than", **limits)

    def test_the_users_of_a_project_share_its_limits_out(self) -> None:
        self._set("?user_id=ann", cores=8)
        self._refused_limits("?user_id=bob", "cores must be less than or equal to 12", cores=13)
        self._set("?user_id=bob", cores=12)
        self._refused_limits("?user_id=ann", "less than or equal to 8", cores=9)
        self._refused_limits("", "greater than or equal to already used and reserved 20", cores=19)
        self._set("?user_id=ann", cores=50, force=True)
        self._set("", cores=1, force="true")
        self._refused_limits("?user_id=ann", "less than or equal to -11", cores=2)
        self._set("", cores=-1)
        self._set("?user_id=ann", cores=-1)

    def test_a_users_limits_do_not_lie_below_what_he_uses(self) -> None:
        self._boot(2)
        self._refused_limits("?user_id=ann", "used and reserved 2", instances=1)
        self._set("?user_id=ann", instances=2)
        self._set("?user_id=bob", instances=0)
        detail = self.asked(200, "GET", f"{SET}/detail?user_id=ann", token=ANN)["quota_set"]
        self.assertEqual({"limit": 2, "in_use": 2, "reserved": 0}, detail["instances"])
        self.assertEqual({"limit": 20, "in_use": 2, "reserved": 0}, detail["cores"])
        detail = self.asked(200, "GET", f"{SET}/detail?user_id=bob")["quota_set"]
        self.assertEqual({"limit": 0, "in_use": 0, "reserved": 0}, detail["instances"])
        self._set("?user_id=ann", instances=1, force=True)

    def test_the_limits_of_the_asker_are_those_of_the_project(self) -> None:
        self._boot(1)
        self._set("?user_id=ann", instances=1)
        limits = self._limits()
        self.assertEqual((5, 1), (limits["maxTotalInstances"], limits["totalInstancesUsed"]))

    def test_a_user_has_the_projects_limits_again(self) -> None:
        self._set(cores=15)
        self._set("?user_id=ann", cores=8)
        self._set("?user_id=bob", cores=3)
        self.asked(202, "DELETE", f"{SET}?user_id=ann")
        shown = [self.asked(200, "GET", f"{SET}?user_id={u}")["quota_set"] for u in ("ann", "bob")]
        self.assertEqual([15, 3], [limits["cores"] for limits in shown])

    def _boot(self, count: int) -> None:
        accept(self.api_db, [Lot(accepted(count), Limits())])

    def _refused_limits(self, query: str, says: str, **limits: Any) -> None:
        self.refused(400, says, "PUT", f"{SET}{query}", {"quota_set": limits})

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
            (9, 1), (shown["quota_set"]["floating_ips"], shown["quota_set"]["injected_files"])
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
