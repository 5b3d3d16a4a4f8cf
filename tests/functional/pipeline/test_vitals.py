"""How servers are, in a whole deployment: what hosts see reaches operators."""

from typing import Any

import requests

from kilonova.compute import monitor
from kilonova.embedded.identity import project_id
from tests.functional.pipeline.case import PipelineCase


class VitalsTest(PipelineCase):
    """Two hosts that tell of their servers with every sign of life."""

    hosts = 2
    more = "report_interval = 1\n"
    script = [{"step": "uses", "server": "busy", "uses": {"cpu": 0.5, "memory": 9}}]

    def setUp(self) -> None:
        self.patch(monitor, "INTERVAL", 0.2)
        self.patch(monitor, "NEWS_EVERY", 0.0)
        super().setUp()

    def own(
        self, method: str, path: str, body: Any = None, user: str = "admin"
    ) -> requests.Response:
        """Ask below ``/kilonova/v1`` as a user."""
        root = self.deployment.options.urls["compute"].removesuffix("/v2.1") + "/kilonova/v1"
        headers = {"X-Auth-Token": f"{user}:{project_id(user)}"}
        return requests.request(method, root + path, json=body, headers=headers, timeout=60)

    def vitals(self) -> dict[str, Any]:
        """Return what is told of servers, by their names."""
        told = self.own("GET", "/vitals").json()
        return {one["name"]: one for one in told["vitals"]}

    def test_what_hosts_see_is_told_of_every_server(self) -> None:
        for name in ("idle", "busy"):
            self.until_status(self.create(name), "ACTIVE")
        self.until(
            "both are seen to work",
            lambda: all((one["cpu"] or {}).get("total") for one in self.vitals().values()),
        )
        told = self.vitals()
        idle, busy = told["idle"], told["busy"]
        self.assertTrue(30 < busy["cpu"]["total"] < 70, busy["cpu"])
        self.assertTrue(1 < idle["cpu"]["total"] < 20, idle["cpu"])
        self.assertEqual(([], ["memory"]), (idle["above"], busy["above"]))
        self.assertEqual({"used": 32, "size": 128}, idle["memory"])
        self.assertEqual("ACTIVE", busy["status"])

    def test_a_server_that_was_stopped_or_deleted_is_told_as_it_is(self) -> None:
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.until("it is seen", lambda: self.vitals()["vm"]["power"] == "running")
        self.ask("compute", "POST", f"/servers/{uuid}/action", {"os-stop": None})
        self.until("it is off", lambda: self.vitals()["vm"]["power"] == "shutdown")
        self.assertIsNone(self.vitals()["vm"]["cpu"])
        self.ask("compute", "DELETE", f"/servers/{uuid}")
        self.until("it is gone", lambda: self.vitals() == {})
