"""What is no part of the API any more, what never was one here, and the audit that no host runs."""

import re
from datetime import datetime
from typing import Any

from kilonova.api.audit_logs import last_month
from kilonova.api.resources import OLD_ROUTES
from tests.functional.api.api_case import ADMIN, ANN
from tests.functional.api.population import ACTIVE, IMAGE, Populated


class GoneTest(Populated):
    """Clients that are older than the API."""

    def test_what_was_removed_is_gone_at_every_microversion(self) -> None:
        for method, path in (
            ("GET", "/os-agents"),
            ("GET", "/os-cells/detail"),
            ("POST", "/os-certificates"),
            ("GET", "/os-cloudpipe"),
            ("GET", f"/servers/{ACTIVE}/consoles"),
            ("GET", f"/servers/{ACTIVE}/os-virtual-interfaces"),
            ("GET", "/os-fixed-ips/192.0.2.1"),
            ("GET", "/os-floating-ip-dns"),
            ("GET", "/os-floating-ips-bulk"),
            ("GET", "/os-fping"),
            ("GET", "/os-security-group-default-rules"),
            ("POST", "/os-networks"),
        ):
            for version in ("2.1", "2.35", "2.36", "2.104"):
                says = "removed from the Compute API"
                self.refused(410, says, method, path, version=version, token=ANN)

    def test_what_was_passed_on_is_gone_up_to_its_last_microversion_and_not_found_then(
        self,
    ) -> None:
        for path, owner in (
            ("/os-networks", "network service"),
            ("/os-tenant-networks/1", "network service"),
            ("/os-security-groups", "network service"),
            ("/os-floating-ips", "network service"),
            ("/os-floating-ip-pools", "network service"),
            ("/os-volumes/detail", "volume service"),
            ("/os-snapshots", "volume service"),
            ("/images", "image service"),
            ("/os-baremetal-nodes", "bare metal service"),
        ):
            self.refused(410, owner, "GET", path, version="2.1", token=ANN)
            self.refused(410, owner, "GET", path, version="2.35", token=ANN)
            self.asked(404, "GET", path, version="2.36", token=ANN)
        metadata = f"/images/{IMAGE.image_id}/metadata"
        self.refused(410, "image service", "GET", metadata, version="2.38")
        self.asked(404, "GET", metadata, version="2.39")

    def test_nothing_of_it_is_told_without_a_token(self) -> None:
        for route in OLD_ROUTES:
            path = re.sub(r"{\w+}", "1", route.path)
            answer = self.client.simulate_request(route.method, f"/v2.1{path}")
            self.assertEqual(401, answer.status_code, f"{route.method} {path}")

    def test_a_project_in_the_path_is_told_from_what_is_gone(self) -> None:
        answer = self.ask("GET", "/project-a/os-cells/detail", token=ANN)
        self.assertEqual(410, answer.status_code)

    def test_the_console_of_a_vanished_hypervisor_is_gone(self) -> None:
        body = {"os-getRDPConsole": {"type": "rdp-html5"}}
        path = f"/servers/{ACTIVE}/action"
        self.refused(410, "gone", "POST", path, body, version="2.5", token=ANN)
        self.refused(400, "no such action", "POST", path, body, version="2.6", token=ANN)


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


class AbsentTest(Populated):
    """What other services have, and these servers do not."""

    def test_servers_have_no_shares_and_get_none(self) -> None:
        path = f"/servers/{ACTIVE}/shares"
        self.assertEqual({"shares": []}, self.asked(200, "GET", path, version="2.97", token=ANN))
        self.asked(404, "GET", path, version="2.96", token=ANN)
        body = {"share": {"share_id": IMAGE.image_id, "tag": "home"}}
        says = "no share service is configured"
        self.refused(400, says, "POST", path, body, version="2.97", token=ANN)
        self.asked(400, "POST", path, {"share": {"share_id": "x"}}, version="2.97", token=ANN)
        for method in ("GET", "DELETE"):
            one = f"{path}/{IMAGE.image_id}"
            self.refused(404, "not attached", method, one, version="2.97", token=ANN)

    def test_servers_are_in_no_security_group(self) -> None:
        path = f"/servers/{ACTIVE}/os-security-groups"
        for version in ("2.1", "2.104"):
            shown = self.asked(200, "GET", path, version=version, token=ANN)
            self.assertEqual({"security_groups": []}, shown)


class AuditTest(Populated):
    """The audit of usage, which hosts here do not run."""

    def test_every_host_has_still_to_run_it(self) -> None:
        path = "/os-instance_usage_audit_log/2026-01-21 00:00:00"
        log = self.asked(200, "GET", path)["instance_usage_audit_log"]
        self.assertEqual(
            ("2025-12-01 00:00:00", "2026-01-01 00:00:00", ["h1"], 1, 0),
            (
                log["period_beginning"],
                log["period_ending"],
                log["hosts_not_run"],
                log["num_hosts_not_run"],
                log["num_hosts_done"],
            ),
        )
        self.assertEqual("0 of 1 hosts done. 0 errors.", log["overall_status"])
        now = self.asked(200, "GET", "/os-instance_usage_audit_log")["instance_usage_audit_logs"]
        self.assertEqual(["h1"], now["hosts_not_run"])

    def test_it_is_for_administrators_and_of_a_time(self) -> None:
        path = "/os-instance_usage_audit_log"
        self.refused(403, "audit-log:list", "GET", path, token=ANN)
        for wrong in ("yesterday", "2026-13-01 00:00:00"):
            says = f"Invalid timestamp for date {wrong}"
            self.refused(400, says, "GET", f"{path}/{wrong}", token=ADMIN)

    def test_the_month_before_january_is_december(self) -> None:
        self.assertEqual(
            (datetime(2025, 12, 1), datetime(2026, 1, 1)), last_month(datetime(2026, 1, 31, 5))
        )
        self.assertEqual(
            (datetime(2026, 2, 1), datetime(2026, 3, 1)), last_month(datetime(2026, 3, 31))
        )
