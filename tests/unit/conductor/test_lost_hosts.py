"""What becomes of a move whose acting host does not answer: every kind, every stage, silent, dead, gone."""

import itertools

import msgspec
import testtools

from kilonova.conductor import move_plan
from kilonova.conductor.lost_hosts import Course, Heard, holds_up, way_of
from kilonova.core.migration import ACTS, Kind, Stage
from kilonova.core.states import VmState
from tests.unit.conductor.test_move_plan import (
    COLD,
    NOW,
    RUNS,
    arrived_server,
    move,
    said,
    server,
)

BEFORE, AFTER = 3, 4
"""The server's epoch before the destination was told to make the guest, and after that."""
BUILT = (Kind.EVACUATION, Kind.UNSHELVE)


class LostHostsTest(testtools.TestCase):
    """The table."""

    def course(self, kind: Kind, stage: Stage, heard: Heard, epoch: int = BEFORE) -> Course:
        """Return how a move from h1 to h2 goes on, of a server in its third or fourth epoch."""
        return way_of(move(kind, stage), epoch, heard).course

    def test_a_host_that_answers_is_told_again(self) -> None:
        for kind, stage in itertools.product(Kind, ACTS):
            self.assertIs(Course.TELL, self.course(kind, stage, Heard.ANSWERS))

    def test_who_waits_and_who_is_left_out_is_told_why(self) -> None:
        for kind, stage, heard in itertools.product(Kind, ACTS, Heard):
            way = way_of(move(kind, stage), AFTER, heard)
            if way.course in (Course.WAIT, Course.FAIL):
                self.assertTrue(way.why.endswith("."), (kind, stage, heard))

    def test_a_silent_host_that_may_have_the_guest_or_its_disk_is_waited_for(self) -> None:
        for kind in (*COLD, Kind.LIVE, Kind.SHELVE):
            for stage in (Stage.SENDING, Stage.RESTORING):
                self.assertIs(Course.WAIT, self.course(kind, stage, Heard.SILENT))
        for kind in (*COLD, Kind.LIVE, *BUILT):
            self.assertIs(Course.WAIT, self.course(kind, Stage.FINISHING, Heard.SILENT, AFTER))
            self.assertIs(Course.WAIT, self.course(kind, Stage.UNDOING, Heard.SILENT, AFTER))

    def test_a_silent_destination_that_was_not_told_to_make_the_guest_is_left_out(self) -> None:
        for kind in (*COLD, Kind.LIVE):
            self.assertIs(Course.FAIL, self.course(kind, Stage.PREPARING, Heard.SILENT))
            self.assertIs(Course.PASS, self.course(kind, Stage.UNDOING, Heard.SILENT))

    def test_what_a_dead_source_did_not_send_is_its_own(self) -> None:
        for kind, expected in (
            (Kind.RESIZE, Stage.UNDOING),
            (Kind.MIGRATION, Stage.UNDOING),
            (Kind.SHELVE, Stage.RESTORING),
        ):
            sending = move(kind, Stage.SENDING)
            self.assertIs(Course.FAIL, way_of(sending, BEFORE, Heard.DEAD).course)
            self.assertIs(expected, move_plan.failed_stage(sending))

    def test_a_running_guest_whose_source_died_is_looked_for_at_its_destination(self) -> None:
        sending = move(Kind.LIVE, Stage.SENDING)
        self.assertIs(Course.PASS, way_of(sending, BEFORE, Heard.DEAD).course)
        looked_for = move(Kind.LIVE, Stage.FINISHING, unsent=True)
        found = move_plan.failed(looked_for, arrived_server(), said(looked_for), NOW)
        self.assertIs(Stage.UNDOING, found.migration.stage)
        self.assertIs(Course.FAIL, way_of(looked_for, AFTER, Heard.DEAD).course)

    def test_a_guest_that_lost_its_memory_on_its_way_is_its_destinations(self) -> None:
        looked_for = move(Kind.LIVE, Stage.FINISHING, unsent=True)
        told = msgspec.structs.replace(said(looked_for), left=True)
        found = move_plan.failed(looked_for, arrived_server(), told, NOW)
        assert found.instance is not None
        self.assertEqual(
            (Stage.CLEARING, "h2", VmState.ERROR),
            (found.migration.stage, found.instance.host, found.instance.vm_state),
        )

    def test_a_running_guest_that_came_is_its_destinations_though_that_dies(self) -> None:
        came = move(Kind.LIVE, Stage.FINISHING)
        self.assertIs(Course.PASS, way_of(came, AFTER, Heard.DEAD).course)
        found = move_plan.done(came, arrived_server(), RUNS, NOW)
        assert found.instance is not None
        self.assertEqual(
            (Stage.CLEARING, "h2", VmState.ACTIVE, None),
            (
                found.migration.stage,
                found.instance.host,
                found.instance.vm_state,
                found.instance.task_state,
            ),
        )

    def test_a_dead_destination_that_was_to_make_the_guest_of_what_was_sent_is_left_out(
        self,
    ) -> None:
        for kind in (*COLD, *BUILT):
            self.assertIs(Course.FAIL, self.course(kind, Stage.FINISHING, Heard.DEAD, AFTER))
        for kind in (*COLD, Kind.LIVE):
            self.assertIs(Course.PASS, self.course(kind, Stage.UNDOING, Heard.DEAD, AFTER))

    def test_nobody_but_the_source_has_what_is_to_be_restored(self) -> None:
        for kind, heard in itertools.product(
            (*COLD, Kind.LIVE, Kind.SHELVE), set(Heard) - {Heard.ANSWERS}
        ):
            self.assertIs(Course.WAIT, self.course(kind, Stage.RESTORING, heard))

    def test_nobody_waits_for_what_is_only_removed(self) -> None:
        for kind, stage in itertools.product(set(Kind) - {Kind.SHELVE}, ACTS):
            removes = stage in (Stage.CLEARING, Stage.ABANDONING)
            self.assertEqual(not removes, holds_up(move(kind, stage)))
            if removes:
                self.assertIs(Course.WAIT, self.course(kind, stage, Heard.DEAD, AFTER))
                self.assertIs(Course.PASS, self.course(kind, stage, Heard.GONE, AFTER))

    def test_a_server_that_is_an_image_leaves_its_dead_host(self) -> None:
        clearing = move(Kind.SHELVE, Stage.CLEARING)
        self.assertTrue(holds_up(clearing))
        self.assertIs(Course.WAIT, way_of(clearing, BEFORE, Heard.SILENT).course)
        self.assertIs(Course.PASS, way_of(clearing, BEFORE, Heard.DEAD).course)
        found = move_plan.done(clearing, server(), RUNS, NOW)
        assert found.instance is not None
        self.assertEqual(
            (None, VmState.SHELVED_OFFLOADED), (found.instance.host, found.instance.vm_state)
        )
