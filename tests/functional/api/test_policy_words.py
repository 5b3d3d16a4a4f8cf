"""The words in which policy rules are written, changed by a policy file."""

from tests.functional.api.population import ACTIVE, Populated

CAROL = {"token": "carol:project-c"}
LOCK = {"lock": {"locked_reason": "r"}}


class PolicyWordsTest(Populated):
    """Chiefs are administrators here, and everybody in a project is a reader of it."""

    def options(self) -> str:
        path = self.directory / "policy.yaml"
        path.write_text(
            '"context_is_admin": "role:admin or role:chief"\n'
            '"project_reader_api": "project_id:%(project_id)s"\n'
            '"os_compute_api:os-aggregates:index": "rule:admin_api"\n'
            '"os_compute_api:os-services:list": "rule:admin_or_owner"\n'
        )
        return super().options() + f"[oslo_policy]\npolicy_file = {path}\n"

    def test_who_counts_as_an_administrator_sees_and_changes_what_is_anothers(self) -> None:
        path = f"/servers/{ACTIVE}"
        for roles, status in (("chief", 200), ("member,reader", 404)):
            self.asked(status, "GET", path, roles=roles, **CAROL)
            body = {"server": {"name": f"of-{status}"}}
            self.asked(status, "PUT", path, body, roles=roles, **CAROL)
        self.asked(202, "POST", f"{path}/action", LOCK, roles="chief", **CAROL)
        server = self.asked(200, "GET", path, roles="chief", **CAROL)["server"]
        self.assertEqual(("of-200", True), (server["name"], server["locked"]))
        self.assertEqual("h1", server["OS-EXT-SRV-ATTR:host"])
        listed = self.asked(200, "GET", "/servers?all_tenants=1", roles="chief", **CAROL)
        self.assertIn(ACTIVE, {one["id"] for one in listed["servers"]})
        flavors = self.asked(200, "GET", "/flavors?is_public=None", roles="chief", **CAROL)
        self.assertEqual({"1", "2"}, {one["id"] for one in flavors["flavors"]})

    def test_older_words_of_a_policy_file_mean_what_they_did(self) -> None:
        for roles, aggregates in (("chief", 200), ("admin", 200), ("member,reader", 403)):
            self.asked(aggregates, "GET", "/os-aggregates", roles=roles, **CAROL)
            self.asked(200, "GET", "/os-services", roles=roles, **CAROL)

    def test_who_reads_a_project_needs_no_role(self) -> None:
        own = {"token": "ann:project-a", "roles": "stranger"}
        self.asked(200, "GET", f"/servers/{ACTIVE}", **own)
        self.asked(403, "PUT", f"/servers/{ACTIVE}", {"server": {"name": "x"}}, **own)
