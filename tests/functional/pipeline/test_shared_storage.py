"""Hosts that share their storage: a provider of its own offers it, in an aggregate with them."""

from typing import Any

from tests.functional.pipeline.moving_case import MovingCase

SHARED = "cccccccc-0000-4000-8000-000000000001"
AGGREGATE = "dddddddd-0000-4000-8000-000000000001"


class SharedStorageTest(MovingCase):
    """Three hosts, of one export of 100 GB."""

    def setUp(self) -> None:
        super().setUp()
        self.put("POST", "/resource_providers", {"name": "export", "uuid": SHARED})
        self.join(SHARED)
        self.put(
            "PUT",
            f"/resource_providers/{SHARED}/inventories",
            {
                "resource_provider_generation": self.generation(SHARED),
                "inventories": {"DISK_GB": {"total": 100}},
            },
        )
        self.put(
            "PUT",
            f"/resource_providers/{SHARED}/traits",
            {
                "resource_provider_generation": self.generation(SHARED),
                "traits": ["MISC_SHARES_VIA_AGGREGATE"],
            },
        )

    def put(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Ask Placement for a change."""
        answer = self.ask("placement", method, path, body)
        self.assertIn(answer.status_code, (200, 201, 204), answer.text)

    def generation(self, provider: str) -> int:
        """Return a provider's generation."""
        found = self.get("placement", f"/resource_providers/{provider}")
        return int(found["generation"])

    def join(self, provider: str) -> None:
        """Put a provider into the aggregate."""
        body = {
            "aggregates": [AGGREGATE],
            "resource_provider_generation": self.generation(provider),
        }
        self.put("PUT", f"/resource_providers/{provider}/aggregates", body)

    def providers(self) -> list[str]:
        """Return the hosts' providers."""
        found = self.get("placement", "/resource_providers")["resource_providers"]
        return [one["uuid"] for one in found if one["uuid"] != SHARED]

    def restart(self) -> None:
        """Let all hosts be restarted."""
        self.deployment.stop_part("compute")
        self.deployment.start_part("compute")

    def offers_disk(self, provider: str) -> bool:
        """Whether a provider offers disk by itself."""
        found = self.get("placement", f"/resource_providers/{provider}/inventories")
        return "DISK_GB" in found["inventories"]

    def used(self) -> dict[str, int]:
        """Return what is used of the export."""
        found = self.get("placement", f"/resource_providers/{SHARED}/usages")["usages"]
        return dict(found)

    def test_disks_are_claimed_of_what_is_shared_and_follow_their_servers(self) -> None:
        for provider in self.providers():
            self.join(provider)
        self.restart()
        self.until(
            "no host offers disk",
            lambda: not any(self.offers_disk(one) for one in self.providers()),
        )
        server = self.active("vm")
        self.assertEqual({"DISK_GB": 1}, self.used())
        self.asked_for(server, {"migrate": None})
        self.until_idle(server, "VERIFY_RESIZE")
        self.asked_for(server, {"confirmResize": None}, 204)
        self.until_idle(server, "ACTIVE")
        self.until("one claim is left", lambda: self.used() == {"DISK_GB": 1})
        self.put("DELETE", f"/allocations/{server}", {})
        self.until("the converger claims anew", lambda: self.used() == {"DISK_GB": 1})
        self.gone(server)
        self.assertEqual({"DISK_GB": 0}, self.used())

    def test_a_host_whose_own_disk_is_held_goes_on_offering_it(self) -> None:
        self.active("vm")
        for provider in self.providers():
            self.join(provider)
        self.restart()
        self.until(
            "the others offer none",
            lambda: sum(self.offers_disk(one) for one in self.providers()) == 1,
        )
