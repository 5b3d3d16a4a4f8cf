"""Hypervisors, services and availability zones through the API."""

from typing import Any

import testscenarios

from kilonova.core.clock import utcnow
from kilonova.core.ids import CellUuid, HostName
from kilonova.db import aggregates, cells
from tests.functional.api.api_case import ANN, CELL, ApiCase

load_tests = testscenarios.load_tests_apply_scenarios

P1, P2 = (f"aaaaaaaa-0000-4000-8000-{number:012}" for number in (1, 2))
DEAD = CellUuid("dddddddd-dddd-4ddd-8ddd-dddddddddddd")


class HostsCase(ApiCase):
    """Two compute hosts, h1 and h2, in one cell."""

    counts = True

    def setUp(self) -> None:
        super().setUp()
        self.add_host("h1", 1, vcpus_used=2)
        self.add_host("h2", 2)

    def add_dead_cell(self) -> None:
        """Map a cell whose database cannot be opened, and a host in it."""
        self.add_cell(DEAD, "dead", f"sqlite:///{self.directory}/nothing/here.sqlite")
        cells.map_hosts(self.api_db, DEAD, [HostName("h9")])

    def services(self, query: str = "", **how: str) -> list[dict[str, Any]]:
        """Return what os-services lists."""
        found: list[dict[str, Any]] = self.asked(200, "GET", f"/os-services{query}", **how)[
            "services"
        ]
        return found


class HypervisorsTest(HostsCase):
    """What the hosts report."""

    def _ids(self, path: str, **how: str) -> list[Any]:
        found = self.asked(200, "GET", f"/os-hypervisors{path}", **how)["hypervisors"]
        return [one["id"] for one in found]

    def test_lists_name_uuids_from_2_53_on_and_numbers_before(self) -> None:
        self.assertEqual([P1, P2], self._ids(""))
        self.assertEqual([1, 2], self._ids("", version="2.52"))
        self.assertEqual([P1, P2], self._ids("/detail"))

    def test_a_hypervisor_is_shown_by_its_id(self) -> None:
        shown = self.asked(200, "GET", f"/os-hypervisors/{P1}", version="2.87")["hypervisor"]
        self.assertEqual("h1.example", shown["hypervisor_hostname"])
        self.assertEqual((2, {"arch": "x86_64"}), (shown["vcpus_used"], shown["cpu_info"]))
        self.assertEqual(("up", "enabled"), (shown["state"], shown["status"]))
        old = self.asked(200, "GET", "/os-hypervisors/1", version="2.27")["hypervisor"]
        self.assertEqual((1, '{"arch": "x86_64"}'), (old["id"], old["cpu_info"]))
        self.refused(400, "h1", "GET", "/os-hypervisors/h1")
        self.refused(404, P1[:-1] + "9", "GET", f"/os-hypervisors/{P1[:-1]}9")
        self.refused(404, "h1", "GET", "/os-hypervisors/h1", version="2.52")
        self.refused(404, "9", "GET", "/os-hypervisors/" + "9" * 5000, version="2.52")

    def test_pages_begin_with_2_33_and_the_marker_is_an_id(self) -> None:
        first = self.asked(200, "GET", "/os-hypervisors?limit=1")
        self.assertEqual([P1], [one["id"] for one in first["hypervisors"]])
        self.assertTrue(first["hypervisors_links"][0]["href"].endswith(f"?limit=1&marker={P1}"))
        self.assertEqual([P2], self._ids(f"?limit=1&marker={P1}"))
        self.assertEqual([2], self._ids("?limit=1&marker=1", version="2.33"))
        self.assertEqual([1, 2], self._ids("?limit=1", version="2.32"))
        self.refused(400, "marker", "GET", "/os-hypervisors?marker=77", version="2.33")
        self.refused(400, "uuid", "GET", "/os-hypervisors?marker=77")

    def test_hypervisors_are_found_by_a_part_of_their_name(self) -> None:
        self.assertEqual([P2], self._ids("?hypervisor_hostname_pattern=h2"))
        self.assertEqual([2], self._ids("/h2/search", version="2.52"))
        for path, version in (
            ("?hypervisor_hostname_pattern=nobody", "2.53"),
            ("/nobody/search", "2.52"),
            ("/nobody/servers", "2.52"),
        ):
            self.refused(404, "nobody", "GET", f"/os-hypervisors{path}", version=version)
        self.refused(400, "Paging", "GET", "/os-hypervisors?hypervisor_hostname_pattern=h&limit=1")
        self.refused(400, "pattern", "GET", "/os-hypervisors?hypervisor_hostname_pattern=h%25")
        self.refused(400, "colour", "GET", "/os-hypervisors?colour=blue")

    def test_servers_are_shown_when_asked_for(self) -> None:
        (shown,) = self.asked(
            200, "GET", "/os-hypervisors?hypervisor_hostname_pattern=h1&with_servers=true"
        )["hypervisors"]
        self.assertEqual([], shown["servers"])
        shown = self.asked(200, "GET", f"/os-hypervisors/{P1}", version="2.53")["hypervisor"]
        self.assertNotIn("servers", shown)
        self.refused(400, "with_servers", "GET", "/os-hypervisors?with_servers=maybe")

    def test_statistics_and_uptime_end_with_2_87(self) -> None:
        total = self.asked(200, "GET", "/os-hypervisors/statistics", version="2.87")
        self.assertEqual(16, total["hypervisor_statistics"]["vcpus"])
        self.refused(501, "uptime", "GET", f"/os-hypervisors/{P1}/uptime", version="2.87")
        self.refused(404, "", "GET", f"/os-hypervisors/{P1}/uptime", version="2.88")
        self.refused(404, "", "GET", "/os-hypervisors/statistics", version="2.88")

    def test_uptime_is_that_of_the_host(self) -> None:
        self.add_host("h3", 3, booted_at=utcnow())
        path = f"/os-hypervisors/{P1[:-1]}3"
        old = self.asked(200, "GET", f"{path}/uptime", version="2.87")["hypervisor"]
        self.assertEqual("up 0:00", old["uptime"])
        self.assertEqual("up 0:00", self.asked(200, "GET", path)["hypervisor"]["uptime"])

    def test_a_dead_cell_hides_its_hosts_and_fails_nothing(self) -> None:
        self.add_dead_cell()
        self.assertEqual([P1, P2], self._ids(""))

    def test_tenants_see_none_of_it(self) -> None:
        for path in ("/os-hypervisors", "/os-hypervisors/detail", "/os-services"):
            self.refused(403, "os_compute_api", "GET", path, token=ANN)
        self.refused(403, "detail", "GET", "/os-availability-zone/detail", token=ANN)


class ServicesTest(HostsCase):
    """What operators do to services."""

    def _uuid(self, host: str) -> str:
        (service,) = self.services(f"?host={host}")
        uuid: str = service["id"]
        return uuid

    def test_services_are_listed_and_filtered(self) -> None:
        found = self.services()
        self.assertEqual(["h1", "h2"], [one["host"] for one in found])
        self.assertEqual(
            {("nova-compute", "nova", "enabled", "up", False)},
            {
                (one["binary"], one["zone"], one["status"], one["state"], one["forced_down"])
                for one in found
            },
        )
        self.assertEqual(["h2"], [one["host"] for one in self.services("?host=h2")])
        self.assertEqual([], self.services("?binary=nova-conductor"))
        self.assertEqual([1, 2], [one["id"] for one in self.services(version="2.52")])
        self.refused(400, "colour", "GET", "/os-services?colour=blue")

    def test_what_is_wrong_is_named(self) -> None:
        path = f"/os-services/{self._uuid('h1')}"
        for body, says in (
            ({}, "status"),
            ({"status": "broken"}, "status"),
            ({"status": "enabled", "disabled_reason": "x"}, "disabled_reason"),
            ({"forced_down": "maybe"}, "forced_down"),
            ({"colour": "blue"}, "colour"),
            ({"status": "disabled", "disabled_reason": "x" * 256}, "disabled_reason"),
        ):
            self.refused(400, says, "PUT", path, body)
        self.refused(400, "uuid", "PUT", "/os-services/1", {"status": "enabled"})
        self.refused(404, DEAD, "PUT", f"/os-services/{DEAD}", {"status": "enabled"})

    def test_a_deleted_service_leaves_its_aggregates_and_its_cell(self) -> None:
        made = aggregates.create(self.api_db, "rack", "z1", utcnow())
        add = aggregates.Change(add_host=HostName("h1"))
        aggregates.change(self.api_db, made.number, add, utcnow())
        self.asked(204, "DELETE", f"/os-services/{self._uuid('h1')}")
        self.assertEqual(["h2"], [one["host"] for one in self.services()])
        self.assertEqual((), aggregates.get(self.api_db, made.number).hosts)
        self.assertEqual({"h2": CELL}, cells.mapped_hosts(self.api_db))
        self.refused(404, DEAD, "DELETE", f"/os-services/{DEAD}")
        self.refused(400, "uuid", "DELETE", "/os-services/x")

    def test_hosts_of_a_dead_cell_are_unknown_from_2_69_on(self) -> None:
        self.add_dead_cell()
        unknown = {"binary": "nova-compute", "host": "h9", "status": "UNKNOWN"}
        self.assertIn(unknown, self.services())
        self.assertEqual([unknown], self.services("?host=h9"))
        self.assertEqual([], self.services("?binary=nova-conductor"))
        self.assertEqual(2, len(self.services(version="2.68")))
        self.refused(503, "answer", "PUT", f"/os-services/{DEAD}", {"status": "enabled"})


class ZonesTest(HostsCase):
    """Zones are made by aggregates."""

    def _zones(self, path: str = "", **how: str) -> dict[str, Any]:
        found = self.asked(200, "GET", f"/os-availability-zone{path}", **how)
        return {one["zoneName"]: one for one in found["availabilityZoneInfo"]}

    def test_hosts_are_in_the_default_zone_or_in_their_aggregates(self) -> None:
        self.assertEqual(["nova"], list(self._zones(token=ANN)))
        made = aggregates.create(self.api_db, "rack", "z1", utcnow())
        add = aggregates.Change(add_host=HostName("h1"))
        aggregates.change(self.api_db, made.number, add, utcnow())
        zones = self._zones("/detail")
        self.assertEqual(
            {"nova": ["h2"], "z1": ["h1"]}, {z: list(zones[z]["hosts"]) for z in zones}
        )
        self.assertTrue(zones["z1"]["hosts"]["h1"]["nova-compute"]["available"])
        self.assertEqual({None}, {zone["hosts"] for zone in self._zones(token=ANN).values()})
        self.assertEqual(["z1"], [one["zone"] for one in self.services("?host=h1")])

    def test_a_zone_whose_hosts_are_disabled_is_not_available(self) -> None:
        for service in self.services():
            self.asked(200, "PUT", f"/os-services/{service['id']}", {"status": "disabled"})
        self.assertEqual({"available": False}, self._zones(token=ANN)["nova"]["zoneState"])
