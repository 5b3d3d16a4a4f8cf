"""Migrations in a cell's database: stages go on by compare-and-set, with servers, on every database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import testscenarios

from kilonova.core import migration as mig
from kilonova.core.ids import CellUuid, HostName, NodeName, ProviderUuid
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration, Moved, MoveReport, Progress, Stage
from kilonova.core.quota import Limits
from kilonova.core.scheduling import Destination
from kilonova.core.states import TaskState, VmState
from kilonova.db import (
    acceptance,
    build_requests,
    instances,
    migration_lists,
    moved_parts,
    moves,
    quotas,
    request_specs,
    resizes,
)
from kilonova.db.acceptance import Lot
from kilonova.db.migration_lists import MigrationQuery
from kilonova.db.moves import Next
from tests.functional.db.api_database import NOW, flavor
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, PROJECT, REQUEST, USER, accepted, placed

load_tests = testscenarios.load_tests_apply_scenarios

H3 = HostName("h3")
LATER = NOW + timedelta(seconds=30)


class MovesCase(DatabaseCase):
    """One server that is ACTIVE on h1."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        one = placed(vm_state=VmState.ACTIVE, task_state=None)
        instances.insert(self.cell, [one])
        self.server = one.instance

    def add(self, stage: Stage, number: int = 1, **changed: Any) -> Migration:
        """Write a migration of the server from h1 to h2, and return it as it is stored."""
        destination = Destination(
            host=H2,
            node=NodeName("h2.example"),
            cell_uuid=CellUuid("cell"),
            provider_uuid=ProviderUuid("provider"),
            availability_zone="nova",
            allocation={},
        )
        fields: dict[str, Any] = {
            "uuid": f"00000000-0000-4000-9000-{number:012}",
            "instance_uuid": self.server.uuid,
            "kind": Kind.MIGRATION,
            "source_host": H1,
            "source_node": NodeName("h1.example"),
            "source_zone": "nova",
            "old_flavor": flavor(),
            "new_flavor": flavor(),
            "vm_state": VmState.ACTIVE,
            "epoch": 1,
            "guest_epoch": 1,
            "request_id": REQUEST,
            "user_id": USER,
            "project_id": PROJECT,
            "created_at": NOW + timedelta(seconds=number),
            "updated_at": NOW,
            "destination": destination,
            "attempt": 1,
        }
        made = mig.at(Migration(**fields | changed), stage, NOW)
        self.cell.write(lambda connection: moves.insert(connection, made))
        found = moves.get(self.cell, made.uuid)
        assert found is not None
        return found

    def get(self) -> Instance:
        """Return the server as it is."""
        found = instances.get(self.cell, self.server.uuid)
        assert found is not None
        return found


class ChangeTest(MovesCase):
    """From one stage to the next."""

    def _on(self, migration: Migration, server: Instance) -> Next:
        moved = msgspec.structs.replace(
            server,
            host=H2,
            flavor=flavor(vcpus=4),
            epoch=server.epoch + 1,
            begun_epoch=server.epoch + 1,
            task_state=TaskState.RESIZE_FINISH,
        )
        return Next(migration=mig.at(migration, Stage.FINISHING, LATER), instance=moved)

    def test_the_stage_and_the_server_change_together(self) -> None:
        seen = self.add(Stage.SENDING)
        self.assertIsNotNone(moves.change(self.cell, seen, self._on))
        after, server = moves.get(self.cell, seen.uuid), self.get()
        assert after is not None
        self.assertEqual(
            (Stage.FINISHING, "post-migrating", LATER),
            (after.stage, after.status, after.updated_at),
        )
        self.assertEqual(
            (H2, 4, 2, 2, TaskState.RESIZE_FINISH),
            (server.host, server.flavor.vcpus, server.epoch, server.begun_epoch, server.task_state),
        )

    def test_who_comes_late_changes_nothing(self) -> None:
        seen = self.add(Stage.SENDING)
        moves.change(self.cell, seen, self._on)
        for late in (seen, msgspec.structs.replace(seen, stage=Stage.FINISHING, attempt=0)):
            self.assertIsNone(moves.change(self.cell, late, self._on))
        self.assertEqual(2, self.get().epoch)

    def test_one_of_many_at_once_changes_it(self) -> None:
        seen = self.add(Stage.SENDING)
        start = threading.Barrier(4)

        def race(_: int) -> bool:
            start.wait()
            return moves.change(self.cell, seen, self._on) is not None

        with ThreadPoolExecutor(4) as pool:
            self.assertEqual(1, sum(pool.map(race, range(4))))
        self.assertEqual(2, self.get().epoch)

    def test_a_server_that_is_being_deleted_stays_as_it_is(self) -> None:
        seen = self.add(Stage.SENDING)
        instances.update(self.cell, self.server.uuid, {"task_state": TaskState.DELETING})
        self.assertIsNone(moves.change(self.cell, seen, self._on))
        again = moves.get(self.cell, seen.uuid)
        assert again is not None
        self.assertEqual((Stage.SENDING, H1), (again.stage, self.get().host))

        def end(migration: Migration, _server: Instance) -> Next:
            return Next(migration=mig.ended(migration, LATER))

        self.assertIsNotNone(moves.change(self.cell, seen, end))
        self.assertEqual((), moves.unfinished(self.cell, [self.server.uuid]))

    def test_one_driver_at_a_time_looks_for_a_destination(self) -> None:
        seen = self.add(Stage.ACCEPTED)
        self.assertIsNotNone(moves.take(self.cell, seen.uuid, "a", NOW))
        self.assertIsNotNone(moves.take(self.cell, seen.uuid, "a", NOW))
        self.assertIsNone(moves.take(self.cell, seen.uuid, "b", NOW))
        self.assertIsNone(moves.change(self.cell, seen, self._on, driver="b"))
        over = NOW + moves.LEASE + timedelta(seconds=1)
        self.assertIsNotNone(moves.take(self.cell, seen.uuid, "b", over))
        self.assertIsNone(moves.change(self.cell, seen, self._on, driver="a"))
        moves.release(self.cell, seen.uuid, "b")
        self.assertIsNotNone(moves.take(self.cell, seen.uuid, "c", NOW))
        self.assertIsNotNone(moves.change(self.cell, seen, self._on, driver="c"))
        self.assertIsNone(moves.take(self.cell, seen.uuid, "c", NOW))


class HearTest(MovesCase):
    """What hosts say."""

    def hear(self, seen: Migration, host: HostName, moved: Moved, **changed: Any) -> bool:
        """Return whether a host's word is taken."""
        report = MoveReport(
            migration=seen.uuid, stage=seen.stage, attempt=seen.attempt, moved=moved
        )
        said = msgspec.structs.replace(report, **changed)
        return self.cell.write(lambda c: moves.hear(c, host, said, LATER))

    def test_only_the_host_that_has_to_act_is_heard(self) -> None:
        for number, (stage, host, other) in enumerate(
            (
                (Stage.PREPARING, H2, H1),
                (Stage.SENDING, H1, H2),
                (Stage.FINISHING, H2, H1),
                (Stage.CLEARING, H1, H2),
                (Stage.UNDOING, H2, H1),
                (Stage.RESTORING, H1, H2),
                (Stage.ABANDONING, H2, H1),
            )
        ):
            seen = self.add(stage, number)
            self.assertTrue(self.hear(seen, host, Moved.BEGUN), stage)
            for wrong in (other, H3):
                self.assertFalse(self.hear(seen, wrong, Moved.BEGUN), stage)
            self.assertFalse(self.hear(seen, host, Moved.DONE, attempt=2))
            self.assertFalse(self.hear(seen, host, Moved.DONE, stage=Stage.FINISHED))

    def test_of_a_server_that_is_being_deleted_nothing_is_begun_but_to_remove_it(self) -> None:
        acting = [stage for stage in Stage if stage in mig.ACTS]
        moving = [self.add(stage, number) for number, stage in enumerate(acting)]
        for change in ("deleting", "deleted"):
            if change == "deleting":
                instances.update(self.cell, self.server.uuid, {"task_state": TaskState.DELETING})
            else:
                instances.mark_deleted(self.cell, [self.server.uuid], LATER)
            begun = {one.stage for one in moving if self.hear(one, one.acting() or H3, Moved.BEGUN)}
            self.assertEqual({Stage.CLEARING, Stage.UNDOING, Stage.ABANDONING}, begun, change)
            for one in moving:
                self.assertTrue(self.hear(one, one.acting() or H3, Moved.DONE))

    def test_a_word_renews_and_tells_how_far_it_is(self) -> None:
        seen = self.add(Stage.SENDING)
        self.assertEqual((seen.uuid,), tuple(m.uuid for m in moves.stuck(self.cell, LATER)))
        progress = Progress(memory_total=9, memory_processed=4)
        self.assertTrue(self.hear(seen, H1, Moved.GOES_ON, progress=progress))
        after = moves.get(self.cell, seen.uuid)
        assert after is not None
        self.assertEqual((progress, LATER), (after.progress, after.updated_at))
        self.assertEqual((), moves.stuck(self.cell, LATER))

    def test_one_that_is_to_be_aborted_is_told_so_when_it_says_that_it_goes_on(self) -> None:
        seen = self.add(Stage.SENDING)
        self.assertTrue(moves.wish(self.cell, seen, "abort"))
        self.assertFalse(self.hear(seen, H1, Moved.GOES_ON))
        self.assertTrue(self.hear(seen, H1, Moved.CANCELLED))
        self.assertFalse(moves.wish(self.cell, msgspec.structs.replace(seen, attempt=9), "abort"))


class LookTest(MovesCase):
    """What others ask of migrations."""

    def test_a_host_that_starts_leaves_alone_what_a_move_needs(self) -> None:
        for stage, on_source, on_destination in (
            (Stage.ACCEPTED, True, False),
            (Stage.PREPARING, True, True),
            (Stage.SENDING, True, True),
            (Stage.FINISHING, True, True),
            (Stage.FINISHED, True, False),
            (Stage.CLEARING, False, False),
            (Stage.UNDOING, True, True),
            (Stage.RESTORING, True, True),
            (Stage.ABANDONING, True, True),
        ):
            seen = self.add(stage, list(Stage).index(stage))
            for host, expected in ((H1, on_source), (H2, on_destination), (H3, False)):
                self.assertEqual(expected, bool(moved_parts.moving(self.cell, host)), (stage, host))
            moves.change(self.cell, seen, lambda m, _: Next(migration=mig.ended(m, LATER)))
            self.assertEqual((), moved_parts.moving(self.cell, H1))

    def test_what_a_dead_host_has_of_an_evacuated_server_is_nobodys(self) -> None:
        going = self.add(Stage.FINISHING, kind=Kind.EVACUATION)
        self.assertEqual((), moved_parts.moving(self.cell, H1))
        self.assertEqual((self.server.uuid,), moved_parts.moving(self.cell, H2))
        self.assertEqual({self.server.uuid}, moved_parts.evacuated_from(self.cell, H1))
        self.assertEqual(frozenset(), moved_parts.evacuated_from(self.cell, H2))
        moves.change(
            self.cell, going, lambda m, _: Next(migration=mig.at(m, Stage.CLEARING, LATER))
        )
        self.assertEqual(
            frozenset(), moved_parts.evacuated_from(self.cell, H1), "it has come elsewhere"
        )

    def test_lists_are_filtered_and_go_on_where_they_ended(self) -> None:
        made = [self.add(Stage.FINISHED, number) for number in range(1, 5)]
        self.add(Stage.SENDING, 9, kind=Kind.SHELVE)
        newest = [one.uuid for one in reversed(made)]

        def listed(**wanted: Any) -> list[str]:
            found = migration_lists.list_migrations(self.cell, MigrationQuery(**wanted))
            return [one.uuid for one in found]

        self.assertEqual(newest, listed())
        self.assertEqual(newest[:2], listed(limit=2))
        after = (made[2].created_at, made[2].uuid)
        self.assertEqual(newest[2:], listed(after=after))
        self.assertEqual(newest, listed(host="h2", equal={"status": "finished"}))
        self.assertEqual([], listed(host="h3"))
        self.assertEqual([], listed(changed_since=LATER))
        self.assertEqual(newest, listed(changed_before=LATER))

    def test_a_live_one_is_found_by_its_number_below_its_server_alone(self) -> None:
        live = self.add(Stage.SENDING, kind=Kind.LIVE)
        self.assertEqual((live,), migration_lists.in_progress(self.cell, self.server.uuid))
        found = migration_lists.of_server(self.cell, self.server.uuid, live.number)
        self.assertEqual(live, found)
        self.assertIsNone(migration_lists.of_server(self.cell, self.server.uuid, live.number + 1))

    def test_an_ended_one_is_settled_once(self) -> None:
        seen = self.add(Stage.CLEARING)
        self.assertEqual((), moves.unsettled(self.cell))
        moves.change(self.cell, seen, lambda m, _: Next(migration=mig.ended(m, LATER)))
        self.assertEqual([seen.uuid], [one.uuid for one in moves.unsettled(self.cell)])
        moves.settle(self.cell, seen.uuid)
        self.assertEqual((), moves.unsettled(self.cell))


class SizesTest(DatabaseCase):
    """What servers count for as they change their size."""

    def test_the_larger_size_counts_until_one_is_settled(self) -> None:
        api = self.open("api", "api")
        limits = Limits(cores=4)
        (one,) = accepted(1)
        acceptance.accept(api, [Lot([one], limits)])
        uuid = one.instance.uuid

        def counted() -> tuple[int, int]:
            used = quotas.used_by(api, PROJECT)
            return used.cores, used.ram

        small, wide = flavor(), flavor(vcpus=3)
        first = counted()
        resizes.grow(api, uuid, wide, limits)
        self.assertEqual((3, first[1]), counted())
        resizes.grow(api, uuid, small, limits)
        self.assertEqual((3, first[1]), counted())
        self.assertRaisesRegex(
            Exception, "Quota exceeded", resizes.grow, api, uuid, flavor(vcpus=9), limits
        )
        self.assertEqual((3, first[1]), counted())
        for _ in range(2):
            resizes.resize(api, uuid, wide)
        self.assertEqual((3, first[1]), counted())
        spec = request_specs.spec_of(api, uuid)
        assert spec is not None
        self.assertEqual(wide, spec.flavor)
        resizes.resize(api, uuid, small)
        self.assertEqual(first, counted())
        self.assertTrue(build_requests.withdraw(api, uuid))
        self.assertEqual((0, 0), counted())
        resizes.resize(api, uuid, wide)
        self.assertEqual((0, 0), counted())
