"""Migrations through the API: which are listed, in what order and pages, with what at each microversion."""

from datetime import datetime, timedelta
from typing import Any

from kilonova.core import migration as mig
from kilonova.core.ids import CellUuid, HostName, NodeName, ProjectId, ProviderUuid, UserId
from kilonova.core.migration import Kind, Migration, Progress, Stage
from kilonova.core.scheduling import Destination
from kilonova.core.states import TaskState, VmState
from kilonova.db import instances, moves
from tests.functional.api.api_case import ANN, CELL
from tests.functional.api.population import ACTIVE, FAILED, FLAVOR, GONE, REQUEST, Populated

MANAGER = "manager,member,reader"
START = datetime(2026, 5, 1, 12, 0, 0)
VERSIONS = ("2.1", "2.22", "2.23", "2.58", "2.59", "2.65", "2.66", "2.79", "2.80", "2.104")


def destination(host: str) -> Destination:
    """Return a host as a move's destination."""
    return Destination(
        host=HostName(host),
        node=NodeName(f"{host}.example"),
        cell_uuid=CellUuid(CELL),
        provider_uuid=ProviderUuid(f"provider of {host}"),
        availability_zone="z1",
        allocation={},
    )


class MigrationsCase(Populated):
    """``add`` writes a migration of the server that is ACTIVE."""

    def add(self, number: int, kind: Kind, stage: Stage, **changed: Any) -> str:
        """Write a migration, made ``number`` minutes after the start, and return its UUID."""
        at = START + timedelta(minutes=number)
        made = Migration(
            **{
                "uuid": f"eeeeeeee-0000-4000-8000-{number:012}",
                "instance_uuid": ACTIVE,
                "kind": kind,
                "source_host": HostName("h1"),
                "source_node": NodeName("h1.example"),
                "source_zone": "z1",
                "old_flavor": FLAVOR,
                "new_flavor": FLAVOR,
                "vm_state": VmState.ACTIVE,
                "epoch": 1,
                "guest_epoch": 1,
                "request_id": REQUEST,
                "user_id": UserId("root"),
                "project_id": ProjectId("project-a"),
                "created_at": at,
                "updated_at": at,
                "destination": destination("h2"),
            }
            | changed
        )
        written = mig.at(made, stage, at) if stage is not Stage.ENDED else mig.ended(made, at)
        self.cell_db.write(lambda connection: moves.insert(connection, written))
        return made.uuid

    def listed(self, query: str = "", version: str = "2.104") -> list[dict[str, Any]]:
        """Return the migrations that a query lists."""
        found: list[dict[str, Any]] = self.asked(
            200, "GET", f"/os-migrations{query}", version=version
        )["migrations"]
        return found


class ListTest(MigrationsCase):
    """``/os-migrations``."""

    def test_it_says_the_address_of_where_a_server_is_moved_to_unless_that_is_live(self) -> None:
        self.add_host("h2", 2, host_ip="192.0.2.2")
        self.add(1, Kind.RESIZE, Stage.ENDED)
        self.add(2, Kind.LIVE, Stage.ENDED)
        self.add(3, Kind.MIGRATION, Stage.ENDED, destination=destination("vanished"))
        shown = {one["id"]: one["dest_host"] for one in self.listed()}
        self.assertEqual([None, None, "192.0.2.2"], [shown[n] for n in sorted(shown, reverse=True)])

    def test_there_is_none_at_first(self) -> None:
        for version in VERSIONS:
            self.assertEqual([], self.listed(version=version))

    def test_what_is_shown_comes_with_its_version(self) -> None:
        uuid = self.add(1, Kind.LIVE, Stage.SENDING)
        for version in VERSIONS:
            (shown,) = self.listed(version=version)
            number = int(version.partition(".")[2])
            self.assertEqual(number >= 23, "migration_type" in shown)
            self.assertEqual(number >= 23, "links" in shown)
            self.assertEqual(uuid if number >= 59 else None, shown.get("uuid"))
            self.assertEqual("root" if number >= 80 else None, shown.get("user_id"))
        self.assertEqual(("running", "h1", "h2"), tuple(
            shown[name] for name in ("status", "source_compute", "dest_compute")
        ))  # fmt: skip
        self.assertEqual("2026-05-01T12:01:00.000000", shown["created_at"])
        self.assertEqual(1, shown["old_instance_type_id"])
        self.assertTrue(shown["links"][0]["href"].endswith(f"/servers/{ACTIVE}/migrations/1"))

    def test_only_what_is_a_migration_is_listed_and_only_live_ones_in_progress_are_linked(
        self,
    ) -> None:
        self.add(1, Kind.SHELVE, Stage.SENDING)
        self.add(2, Kind.UNSHELVE, Stage.FINISHING)
        self.add(3, Kind.LIVE, Stage.ENDED)
        self.add(4, Kind.RESIZE, Stage.FINISHED)
        self.add(5, Kind.EVACUATION, Stage.CLEARING)
        shown = [(one["migration_type"], one["status"], "links" in one) for one in self.listed()]
        self.assertEqual(
            [
                ("evacuation", "done", False),
                ("resize", "finished", False),
                ("live-migration", "error", False),
            ],
            shown,
        )

    def test_filters_choose_and_unknown_ones_are_refused_from_2_59(self) -> None:
        self.add(1, Kind.RESIZE, Stage.FINISHED)
        self.add(2, Kind.LIVE, Stage.SENDING, source_host=HostName("h3"))
        self.add(3, Kind.MIGRATION, Stage.ACCEPTED, destination=None)
        for query, found in (
            ("", 3),
            ("?host=h1", 2),
            ("?host=h2", 2),
            ("?host=h3", 1),
            ("?source_compute=h1", 2),
            ("?status=finished", 1),
            ("?status=nonsense", 0),
            ("?migration_type=live-migration", 1),
            (f"?instance_uuid={ACTIVE}", 3),
            (f"?instance_uuid={GONE}", 0),
            ("?hidden=1", 0),
            ("?hidden=0", 3),
        ):
            for version in ("2.1", "2.59", "2.104"):
                self.assertEqual(found, len(self.listed(query, version)), query)
        for query, found in (("?user_id=root", 3), ("?project_id=project-b", 0)):
            self.assertEqual(found, len(self.listed(query, "2.80")))
            self.assertEqual(3, len(self.listed(query, "2.1")))

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
        wrong = "changes-since=2021-01-01T00:00:00Z&changes-before=2020-01-01T00:00:00Z"
        self.refused(400, "less than or equal", "GET", f"/os-migrations?{wrong}", version="2.66")

    def test_changes_are_of_a_period(self) -> None:
        for number in (1, 2, 3):
            self.add(number, Kind.RESIZE, Stage.FINISHED)
        for query, found in (
            ("?changes-since=2026-05-01T12:02:00Z", 2),
            ("?changes-before=2026-05-01T12:02:00Z", 2),
            ("?changes-since=2026-05-01T12:02:00Z&changes-before=2026-05-01T12:02:00Z", 1),
        ):
            self.assertEqual(found, len(self.listed(query)), query)
        self.assertEqual(3, len(self.listed("?changes-since=2026-05-01T12:02:00Z", "2.58")))

    def test_pages_follow_each_other_the_newest_first(self) -> None:
        uuids = [self.add(number, Kind.RESIZE, Stage.FINISHED) for number in range(1, 6)]
        newest_first = list(reversed(uuids))
        read: list[str] = []
        path = "/os-migrations?limit=2"
        while path:
            page = self.asked(200, "GET", path)
            read += [one["uuid"] for one in page["migrations"]]
            links = page.get("migrations_links", [])
            path = links[0]["href"].partition("/v2.1")[2] if links else ""
        self.assertEqual(newest_first, read)
        self.assertEqual(5, len(self.listed("?limit=2", "2.58")))
        self.assertNotIn("migrations_links", self.asked(200, "GET", "/os-migrations?limit=9"))

    def test_managers_see_them_and_members_do_not(self) -> None:
        for path in ("/os-migrations", f"/servers/{ACTIVE}/migrations"):
            self.refused(403, "migrations", "GET", path, token=ANN)
            answer = self.ask("GET", path, token=ANN, roles=MANAGER)
            self.assertEqual(200, answer.status_code)

    def test_a_manager_sees_those_of_his_project_and_no_host(self) -> None:
        mine = self.add(1, Kind.LIVE, Stage.SENDING)
        other = ProjectId("project-b")
        theirs = self.add(2, Kind.LIVE, Stage.SENDING, instance_uuid=FAILED, project_id=other)
        hosts = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")

        def listed(path: str, version: str = "2.104") -> list[dict[str, Any]]:
            answer = self.ask("GET", path, token=ANN, roles=MANAGER, version=version)
            self.assertEqual(200, answer.status_code, answer.text)
            found: list[dict[str, Any]] = answer.json["migrations"]
            return found

        for path, version in (
            ("/os-migrations", "2.104"),
            ("/os-migrations", "2.59"),
            ("/os-migrations?project_id=project-a", "2.104"),
            ("/os-migrations?project_id=project-b", "2.58"),
            (f"/servers/{ACTIVE}/migrations", "2.104"),
        ):
            (one,) = listed(path, version)
            self.assertEqual(mine, one.get("uuid", mine), path)
            self.assertEqual({None}, {one[name] for name in hosts}, path)
        path = "/os-migrations?project_id=project-b"
        refused = self.ask("GET", path, token=ANN, roles=MANAGER, version="2.104")
        self.assertEqual(403, refused.status_code)
        by_admin = {one["uuid"]: one["source_compute"] for one in self.listed()}
        self.assertEqual({mine: "h1", theirs: "h1"}, by_admin)


class OfServerTest(MigrationsCase):
    """``/servers/{id}/migrations``."""

    path = f"/servers/{ACTIVE}/migrations"

    def test_a_server_that_does_not_move_has_none(self) -> None:
        self.assertEqual({"migrations": []}, self.asked(200, "GET", self.path, version="2.23"))
        self.refused(404, "", "GET", self.path, version="2.22")
        self.refused(404, "migration 1", "GET", f"{self.path}/1")
        self.refused(404, GONE, "GET", f"/servers/{GONE}/migrations")

    def test_a_live_one_in_progress_tells_how_far_it_is(self) -> None:
        progress = Progress(memory_total=9, memory_processed=4, memory_remaining=5, disk_total=1)
        self.add(1, Kind.LIVE, Stage.SENDING, progress=progress)
        for version in ("2.23", "2.58", "2.59", "2.80", "2.104"):
            (listed,) = self.asked(200, "GET", self.path, version=version)["migrations"]
            shown = self.asked(200, "GET", f"{self.path}/1", version=version)["migration"]
            self.assertEqual(listed, shown)
        self.assertEqual((9, 4, 5, 1), tuple(
            shown[f"{name}_bytes"]
            for name in ("memory_total", "memory_processed", "memory_remaining", "disk_total")
        ))  # fmt: skip

    def test_others_are_not_shown_and_it_is_said_why(self) -> None:
        self.add(1, Kind.RESIZE, Stage.FINISHED)
        self.add(2, Kind.LIVE, Stage.ENDED)
        self.assertEqual([], self.asked(200, "GET", self.path)["migrations"])
        self.refused(404, "not live-migration", "GET", f"{self.path}/1")
        self.refused(404, "not in progress", "GET", f"{self.path}/2")
        self.refused(404, "is not found for server", "GET", f"{self.path}/3")

    def moving(self) -> None:
        """Let the server be on its way."""
        instances.update(self.cell_db, ACTIVE, {"task_state": TaskState.MIGRATING})

    def test_one_that_runs_is_aborted_and_one_that_is_prepared_from_2_65(self) -> None:
        self.add(1, Kind.LIVE, Stage.SENDING)
        self.add(2, Kind.LIVE, Stage.PREPARING)
        self.refused(409, "task_state None", "DELETE", f"{self.path}/1")
        self.moving()
        self.refused(404, "", "DELETE", f"{self.path}/1", version="2.23")
        self.refused(400, "is preparing", "DELETE", f"{self.path}/2", version="2.64")
        self.refused(404, "3 could not be found", "DELETE", f"{self.path}/3")
        self.asked(202, "DELETE", f"{self.path}/1", version="2.24")
        self.asked(202, "DELETE", f"{self.path}/2", version="2.65")
        stored = {one.number: one.wish for one in moves.unfinished(self.cell_db, [ACTIVE])}
        self.assertEqual({1: "abort", 2: "abort"}, stored)

    def test_one_that_runs_is_forced(self) -> None:
        self.add(1, Kind.LIVE, Stage.SENDING)
        self.add(2, Kind.LIVE, Stage.PREPARING)
        self.moving()
        force = {"force_complete": None}
        self.refused(404, "", "POST", f"{self.path}/1/action", force, version="2.21")
        self.refused(400, "is preparing", "POST", f"{self.path}/2/action", force)
        self.refused(400, "no such action", "POST", f"{self.path}/1/action", {"x": None})
        self.asked(202, "POST", f"{self.path}/1/action", force, version="2.22")
        (first, _) = moves.unfinished(self.cell_db, [ACTIVE])
        self.assertEqual("force", first.wish)
