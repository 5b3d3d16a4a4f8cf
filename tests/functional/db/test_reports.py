"""What hosts report, late, repeated, reordered or from a build that no longer counts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import testscenarios

from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import ActionEvent, Fault, Instance, Nic
from kilonova.core.report import BuildFailure, InstanceReport, Tried
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db import actions, builds, instances, reports
from kilonova.db.actions import ActionQuery
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase, statements_of
from tests.functional.db.servers import H1, H2, REQUEST, destination, placed

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(seconds=5)
BUILD = "compute__do_build_and_run_instance"
TO = (destination(H2, "z2"), destination(H1, "z1"))
FAULT = Fault(code=500, message="no luck", created_at=LATER, details="at h1")


class ReportsCase(DatabaseCase):
    """One server waits on h1 to be built under epoch 1."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        self.uuid = self.place()

    def place(self, **changed: Any) -> InstanceUuid:
        """Write a server and return its UUID."""
        one = placed(**changed)
        instances.insert(self.cell, [one])
        return one.instance.uuid

    def instance(self, uuid: InstanceUuid | None = None) -> Instance:
        """Return a server as it is."""
        found = instances.get(self.cell, uuid or self.uuid, with_deleted=True)
        assert found is not None
        return found

    def report(self, **fields: Any) -> InstanceReport:
        """Return a report of the server's first build."""
        usual = {"instance_uuid": self.uuid, "epoch": 1, "request_id": REQUEST}
        return InstanceReport(**usual | fields)

    def begins(self, builder: str = "token", **fields: Any) -> InstanceReport:
        """Return the report with which a build begins."""
        event = ActionEvent(name=BUILD, started_at=NOW, host=H1)
        return self.report(
            **{"builder": builder, "task_state": TaskState.SPAWNING, "events": (event,)} | fields
        )

    def succeeded(self, **fields: Any) -> InstanceReport:
        """Return the report of a build that is done."""
        events = (
            ActionEvent(name="compute_spawn", started_at=NOW, finished_at=LATER, result="Success"),
            ActionEvent(name=BUILD, started_at=NOW, finished_at=LATER, result="Success", host=H1),
        )
        done = {
            "vm_state": VmState.ACTIVE,
            "task_state": None,
            "power_state": PowerState.RUNNING,
            "launched_at": LATER,
            "root_device_name": "/dev/vda",
            "events": events,
        }
        return self.report(**done | fields)

    def apply(self, *some: InstanceReport, host: HostName = H1) -> tuple[int, ...]:
        """Apply reports and return the indexes of the refused ones."""
        return reports.apply(self.cell, host, some, LATER).refused

    def events(self) -> list[tuple[str, str | None]]:
        """Return the events of the server's creation, by name."""
        action = actions.get_action(self.cell, self.uuid, REQUEST)
        assert action is not None
        return sorted((event.name, event.result) for event in action.events)

    def picture(self) -> tuple[Instance, object, object]:
        """Return all that a report could change."""
        faults = instances.newest_faults(self.cell, [self.uuid])
        return self.instance(), self.events(), faults

    def assert_refused(self, *some: InstanceReport, host: HostName = H1) -> None:
        """Assert that reports are refused, all of them, and change nothing."""
        before = self.picture()
        self.assertEqual(tuple(range(len(some))), self.apply(*some, host=host))
        self.assertEqual(before, self.picture())


class ApplyTest(ReportsCase):
    """A report that counts is applied; one that does not changes nothing."""

    def test_a_build_begins_and_succeeds(self) -> None:
        self.assertEqual((), self.apply(self.begins()))
        self.assertEqual(TaskState.SPAWNING, self.instance().task_state)
        self.assertEqual([(BUILD, None)], self.events())
        self.assertEqual((), self.apply(self.succeeded()))
        done = self.instance()
        self.assertEqual(
            (VmState.ACTIVE, None, PowerState.RUNNING, LATER, "/dev/vda", LATER),
            (
                done.vm_state,
                done.task_state,
                done.power_state,
                done.launched_at,
                done.root_device_name,
                done.updated_at,
            ),
        )
        self.assertEqual([(BUILD, "Success"), ("compute_spawn", "Success")], self.events())

    def test_what_a_report_does_not_say_stays_as_it_was(self) -> None:
        self.apply(self.begins(), self.succeeded())
        self.assertEqual((), self.apply(self.report(power_state=PowerState.SHUTDOWN)))
        after = self.instance()
        self.assertEqual(
            (VmState.ACTIVE, PowerState.SHUTDOWN, LATER, "/dev/vda"),
            (after.vm_state, after.power_state, after.launched_at, after.root_device_name),
        )

    def test_network_cards_are_kept_until_the_server_leaves_its_host(self) -> None:
        card = Nic(
            network="default",
            network_id=self.uuid,
            mac="52:54:c0:00:02:02",
            address="192.0.2.2",
            prefix=24,
            gateway="192.0.2.1",
            dns="192.0.2.1",
        )
        self.assertEqual((), self.instance().nics)
        self.apply(self.begins(), self.report(nics=(card,)))
        self.assertEqual((card,), self.instance().nics)
        self.apply(self.report(power_state=PowerState.SHUTDOWN))
        self.assertEqual((card,), self.instance().nics)
        self.apply(self.report(nics=()))
        self.assertEqual((), self.instance().nics)
        self.apply(self.report(nics=(card,)))
        self.assertTrue(builds.raise_epoch(self.cell, self.uuid, 1, LATER))
        self.assertTrue(builds.move(self.cell, (self.uuid, 2), TO, LATER))
        self.assertEqual((), self.instance().nics)

    def test_a_build_begins_once_whoever_else_is_told_to_begin_it(self) -> None:
        self.apply(self.begins("first"))
        self.assert_refused(self.begins("second"))

    def test_a_builder_whose_answer_was_lost_may_ask_again(self) -> None:
        self.apply(self.begins("first"))
        self.assertEqual((), self.apply(self.begins("first")))
        self.assertEqual([(BUILD, None)], self.events())

    def test_a_begin_that_comes_again_after_the_build_has_ended_changes_nothing(self) -> None:
        self.apply(self.begins("first"))
        self.apply(self.succeeded())
        self.assert_refused(self.begins("first"), self.begins("second"))

    def test_of_builders_that_begin_at_once_one_may(self) -> None:
        def begin(number: int) -> bool:
            return not self.apply(self.begins(f"builder-{number}"))

        with ThreadPoolExecutor(8) as threads:
            self.assertEqual(1, sum(threads.map(begin, range(8))))

    def test_a_report_under_another_epoch_changes_nothing(self) -> None:
        self.assertTrue(builds.raise_epoch(self.cell, self.uuid, 1, NOW))
        self.assertTrue(builds.move(self.cell, (self.uuid, 2), TO, NOW))
        for epoch in (0, 1, 3):
            self.assert_refused(self.begins(epoch=epoch), self.succeeded(epoch=epoch), host=H2)
            self.assert_refused(self.report(epoch=epoch, fault=FAULT, gone=True), host=H2)

    def test_a_report_of_another_host_changes_nothing(self) -> None:
        self.assert_refused(self.begins(), self.succeeded(), host=H2)

    def test_a_report_of_a_server_that_is_not_there_changes_nothing(self) -> None:
        nothing = InstanceUuid("ffffffff-0000-4000-8000-000000000000")
        self.assertEqual((0,), self.apply(self.succeeded(instance_uuid=nothing)))

    def test_of_a_server_that_is_being_deleted_only_its_end_is_heard(self) -> None:
        instances.update(self.cell, self.uuid, {"task_state": TaskState.DELETING})
        self.assert_refused(self.begins(), self.succeeded(), self.report(failure=_FAILURE))
        self.assertEqual((), self.apply(self.report(gone=True)))
        self.assertEqual(TaskState.DELETING, self.instance().task_state)

    def test_a_deleted_server_hears_nothing(self) -> None:
        instances.mark_deleted(self.cell, [self.uuid], NOW)
        self.assert_refused(self.begins(), self.succeeded(), self.report(gone=True))

    def test_a_report_that_is_repeated_is_taken_and_changes_nothing(self) -> None:
        self.apply(self.begins())
        self.apply(self.succeeded())
        before = self.picture()
        self.assertEqual((), self.apply(self.succeeded()))
        self.assertEqual(before, self.picture())

    def test_reports_are_applied_in_order_and_the_refused_ones_are_told_by_their_places(
        self,
    ) -> None:
        refused = self.apply(
            self.begins(), self.begins("other"), self.succeeded(), self.report(epoch=9)
        )
        self.assertEqual((1, 3), refused)
        self.assertEqual(VmState.ACTIVE, self.instance().vm_state)
        self.assertEqual([(BUILD, "Success"), ("compute_spawn", "Success")], self.events())

    def test_what_a_guest_did_by_itself_is_heard_of_an_idle_server_only(self) -> None:
        stopped = self.report(
            vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN, if_idle=True
        )
        self.assert_refused(stopped)
        self.apply(self.begins())
        self.assert_refused(stopped)
        self.apply(self.succeeded())
        self.assertEqual((), self.apply(stopped))
        self.assertEqual(VmState.STOPPED, self.instance().vm_state)
        for changed in (
            {"task_state": TaskState.POWERING_ON},
            {"task_state": TaskState.DELETING},
            {"task_state": None, "vm_state": VmState.ERROR},
        ):
            instances.update(self.cell, self.uuid, changed)
            self.assert_refused(stopped)

    def test_a_fault_is_kept_with_the_report_that_tells_it(self) -> None:
        self.apply(self.report(vm_state=VmState.ERROR, fault=FAULT))
        self.assertEqual({self.uuid: FAULT}, instances.newest_faults(self.cell, [self.uuid]))

    def test_the_newest_fault_counts(self) -> None:
        newer = msgspec.structs.replace(FAULT, message="worse luck")
        self.apply(self.report(fault=FAULT), self.report(fault=newer))
        self.assertEqual({self.uuid: newer}, instances.newest_faults(self.cell, [self.uuid]))

    def test_an_event_of_another_request_is_not_finished(self) -> None:
        self.apply(self.begins())
        self.apply(self.succeeded(request_id=RequestId("req-2")))
        self.assertEqual([(BUILD, None)], self.events())

    def test_the_reports_of_a_build_are_few_statements(self) -> None:
        for report, budget in ((self.begins(), 2), (self.succeeded(), 3)):
            seen = statements_of(self.cell, lambda one=report: self.apply(one))
            self.assertLessEqual(len([s for s in seen if not s.startswith("BEGIN")]), budget, seen)


_FAILURE = BuildFailure(reason="no luck")


class MoveAndFailTest(ReportsCase):
    """What follows from a failed build, once and only once."""

    def test_a_moved_build_is_on_its_new_host_under_the_next_epoch(self) -> None:
        self.apply(self.begins())
        self.assertTrue(builds.raise_epoch(self.cell, self.uuid, 1, LATER))
        self.assertTrue(builds.move(self.cell, (self.uuid, 2), TO, LATER))
        self.assertEqual(TO, builds.destinations_of(self.cell, self.uuid))
        moved = self.instance()
        self.assertEqual(
            ("h2", "h2.example", "z2", 2, VmState.BUILDING, TaskState.SCHEDULING, LATER),
            (
                moved.host,
                moved.node,
                moved.availability_zone,
                moved.epoch,
                moved.vm_state,
                moved.task_state,
                moved.updated_at,
            ),
        )
        self.assert_refused(self.succeeded())
        self.assertEqual((), self.apply(self.begins("new", epoch=2), host=H2))

    def test_each_epoch_ends_once(self) -> None:
        def end(_number: int) -> bool:
            return builds.raise_epoch(self.cell, self.uuid, 1, LATER)

        with ThreadPoolExecutor(8) as threads:
            self.assertEqual(1, sum(threads.map(end, range(8))))
        self.assertEqual(2, self.instance().epoch)

    def test_a_build_that_its_host_began_does_not_end_as_one_that_was_not_begun(self) -> None:
        self.apply(self.begins())
        self.assertFalse(builds.raise_epoch(self.cell, self.uuid, 1, LATER, unbegun=True))
        self.assertTrue(builds.raise_epoch(self.cell, self.uuid, 1, LATER))

    def test_a_build_that_is_done_neither_ends_nor_moves_nor_fails(self) -> None:
        self.apply(self.begins(), self.succeeded())
        before = self.picture()
        self.assertFalse(builds.raise_epoch(self.cell, self.uuid, 1, LATER))
        self.assertFalse(builds.move(self.cell, (self.uuid, 1), TO, LATER))
        self.assertFalse(builds.fail(self.cell, self.uuid, 1, FAULT))
        self.assertEqual(before, self.picture())

    def test_a_failed_build_is_in_error_without_a_host_and_hears_nothing_more(self) -> None:
        self.apply(self.begins())
        self.assertTrue(builds.fail(self.cell, self.uuid, 1, FAULT))
        failed = self.instance()
        self.assertEqual(
            (VmState.ERROR, None, None, "h1.example", PowerState.NOSTATE, 2),
            (
                failed.vm_state,
                failed.task_state,
                failed.host,
                failed.node,
                failed.power_state,
                failed.epoch,
            ),
        )
        self.assertEqual({self.uuid: FAULT}, instances.newest_faults(self.cell, [self.uuid]))
        self.assert_refused(self.begins("late"), self.succeeded())
        builds.note_freed(self.cell, self.uuid, 2)
        self.assertEqual(None, self.instance().node)

    def test_a_build_fails_once(self) -> None:
        self.assertTrue(builds.fail(self.cell, self.uuid, 1, FAULT))
        before = self.picture()
        other = msgspec.structs.replace(FAULT, message="again")
        self.assertFalse(builds.fail(self.cell, self.uuid, 1, other))
        self.assertEqual(before, self.picture())

    def test_a_server_that_is_being_deleted_or_is_gone_neither_moves_nor_fails(self) -> None:
        def deleting() -> None:
            instances.update(self.cell, self.uuid, {"task_state": TaskState.DELETING})

        def deleted() -> None:
            instances.mark_deleted(self.cell, [self.uuid], NOW)

        for happened in (deleting, deleted):
            happened()
            before = self.picture()
            self.assertFalse(builds.raise_epoch(self.cell, self.uuid, 1, LATER))
            self.assertFalse(builds.move(self.cell, (self.uuid, 1), TO, LATER))
            self.assertFalse(builds.fail(self.cell, self.uuid, 1, FAULT))
            self.assertEqual(before, self.picture())

    def test_an_end_and_a_failure_at_once_have_one_winner(self) -> None:
        steps: tuple[Callable[[InstanceUuid], bool], ...] = (
            lambda uuid: builds.raise_epoch(self.cell, uuid, 1, LATER),
            lambda uuid: builds.fail(self.cell, uuid, 1, FAULT),
        )
        uuids = [self.place() for _ in range(6)]
        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(lambda n: steps[n % 2](uuids[n // 2]), range(12)))
        self.assertEqual([1] * 6, [won[2 * n] + won[2 * n + 1] for n in range(6)])

    def test_a_failed_action_says_so(self) -> None:
        tried = Tried(request_id=REQUEST, events=(ActionEvent(name="a try", started_at=NOW),))
        self.assertTrue(builds.fail(self.cell, self.uuid, 1, FAULT, tried))
        (action,) = actions.list_actions(self.cell, self.uuid, ActionQuery())
        self.assertEqual(
            ("create", FAULT.message, LATER), (action.action, action.message, action.updated_at)
        )
