"""Host aggregates and zones through every service: Placement has them, and servers go where they say."""

from datetime import timedelta
from typing import Any

from kilonova.conductor import patience
from tests.functional.pipeline.case import PipelineCase


class AggregatesTest(PipelineCase):
    """Three hosts; Placement is asked for zones, and a request without one goes to zone z1."""

    hosts = 3
    more = "default_schedule_zone = z1\n[scheduler]\nrequest_filters = availability_zone\n"

    def setUp(self) -> None:
        self.patch(patience, "MIRRORED_EVERY", timedelta(seconds=0.2))
        super().setUp()
        nodes = self.get("compute", "/os-hypervisors/detail")["hypervisors"]
        self.provider_of = {node["service"]["host"]: node["id"] for node in nodes}
        self.first, self.second, self.third = sorted(self.provider_of)

    def aggregate(self, name: str, zone: str | None = None) -> dict[str, Any]:
        """Make an aggregate."""
        body = {"aggregate": {"name": name, "availability_zone": zone}}
        answer = self.ask("compute", "POST", "/os-aggregates", body)
        self.assertEqual(200, answer.status_code, answer.text)
        made: dict[str, Any] = answer.json()["aggregate"]
        return made

    def move(self, aggregate: dict[str, Any], action: str, host: str) -> None:
        """Add a host, or remove it."""
        path = f"/os-aggregates/{aggregate['id']}/action"
        answer = self.ask("compute", "POST", path, {action: {"host": host}})
        self.assertEqual(200, answer.status_code, answer.text)

    def told(self, host: str) -> set[str]:
        """Return the aggregates that Placement has a host in."""
        path = f"/resource_providers/{self.provider_of[host]}/aggregates"
        return set(self.get("placement", path)["aggregates"])

    def test_placement_has_them_at_once_and_leaves_what_is_not_ours(self) -> None:
        foreign = "ffffffff-0000-4000-8000-000000000001"
        path = f"/resource_providers/{self.provider_of[self.first]}/aggregates"
        held = self.get("placement", path)
        body = {
            "aggregates": [foreign],
            "resource_provider_generation": held["resource_provider_generation"],
        }
        self.assertEqual(200, self.ask("placement", "PUT", path, body).status_code)
        one, other = self.aggregate("one", "z1"), self.aggregate("other")
        self.move(one, "add_host", self.first)
        self.move(other, "add_host", self.first)
        self.assertEqual({foreign, one["uuid"], other["uuid"]}, self.told(self.first))
        self.move(one, "remove_host", self.first)
        self.assertEqual({foreign, other["uuid"]}, self.told(self.first))
        self.assertEqual(set(), self.told(self.second))

    def test_what_placement_could_not_be_told_it_is_told_when_it_is_back(self) -> None:
        one = self.aggregate("one", "z1")
        self.move(one, "add_host", self.second)
        self.deployment.stop_part("placement")
        self.move(one, "add_host", self.first)
        self.move(one, "remove_host", self.second)
        self.deployment.start_part("placement")
        self.until("one is told", lambda: self.told(self.first) == {one["uuid"]})
        self.until("the other is told", lambda: self.told(self.second) == set())

    def test_a_server_goes_to_the_zone_that_it_names_or_to_that_of_the_configuration(self) -> None:
        one, two = self.aggregate("one", "z1"), self.aggregate("two", "z2")
        self.move(one, "add_host", self.first)
        self.move(two, "add_host", self.second)
        for zone, host in (("z1", self.first), ("z2", self.second), (None, self.first)):
            more = {} if zone is None else {"availability_zone": zone}
            shown = self.until_status(self.create("vm", **more), "ACTIVE")
            self.assertEqual(host, shown["OS-EXT-SRV-ATTR:host"])
            self.assertEqual(zone or "z1", shown["OS-EXT-AZ:availability_zone"])
        # The zone of hosts that no aggregate puts into one.
        shown = self.until_status(self.create("vm", availability_zone="nova"), "ACTIVE")
        self.assertEqual(self.third, shown["OS-EXT-SRV-ATTR:host"])
