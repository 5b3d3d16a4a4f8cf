"""Tasks that are given up or reset, and reports of tasks, on every database."""

import msgspec
import testscenarios

from kilonova.core.ids import ImageId, RequestId
from kilonova.core.image import Image
from kilonova.core.instance import ActionEvent, Instance, InstanceAction
from kilonova.core.report import InstanceReport
from kilonova.core.states import Action, PowerState, TaskState, VmState
from kilonova.db import actions, instances, passwords, reports, tasks
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, placed

load_tests = testscenarios.load_tests_apply_scenarios

REQUEST = RequestId("req-9")
EVENT = ActionEvent(name="compute_pause_instance", started_at=NOW, host=H1)
DONE = msgspec.structs.replace(EVENT, finished_at=NOW, result="Success")
FAILED = msgspec.structs.replace(DONE, result="Error", details="no luck")


class TasksTest(DatabaseCase):
    """One server that is ACTIVE."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        one = placed(vm_state=VmState.ACTIVE, task_state=None)
        instances.insert(self.cell, [one])
        self.server = one.instance

    def get(self) -> Instance:
        """Return the server as it is."""
        found = instances.get(self.cell, self.server.uuid)
        assert found is not None
        return found

    def record(self, action: str, request: RequestId = REQUEST) -> InstanceAction:
        """Return the record of an action."""
        return InstanceAction(
            action=action,
            instance_uuid=self.server.uuid,
            request_id=request,
            user_id=self.server.user_id,
            project_id=self.server.project_id,
            started_at=NOW,
        )

    def begin(self, rule: str = Action.PAUSE, change: tasks.Change | None = None) -> Instance:
        """Begin an action."""
        begun = tasks.begin(self.cell, self.get(), rule, self.record(rule), change)
        assert begun is not None
        return begun

    def report(self, worker: str = "w", **more: object) -> bool:
        """Report for the task of ``REQUEST``; return whether it was taken."""
        report = InstanceReport(
            instance_uuid=self.server.uuid,
            epoch=self.server.epoch,
            request_id=REQUEST,
            worker=worker,
        )
        report = msgspec.structs.replace(report, **more)
        return not reports.apply(self.cell, H1, [report], NOW).refused

    def action(self) -> InstanceAction:
        """Return the action of ``REQUEST``."""
        found = actions.get_action(self.cell, self.server.uuid, REQUEST)
        assert found is not None
        return found

    def test_what_began_to_be_deleted_since_it_was_seen_is_not_evacuated(self) -> None:
        seen = self.get()
        self.begin(Action.DELETE)
        late = self.record(Action.EVACUATE, RequestId("req-10"))
        self.assertIsNone(tasks.begin(self.cell, seen, Action.EVACUATE, late))
        self.assertEqual(TaskState.DELETING, self.get().task_state)
        again = self.record(Action.DELETE, RequestId("req-11"))
        self.assertIsNotNone(tasks.begin(self.cell, seen, Action.DELETE, again))

    def test_what_an_action_changes_is_changed_with_it_and_undone_with_it(self) -> None:
        before = self.get()
        image = Image(image_id=ImageId("i"), name="other")

        def change(server: Instance) -> Instance:
            wishes = msgspec.structs.replace(server.wishes, user_data="eA==")
            return msgspec.structs.replace(
                server, name="new", metadata={"new": "1"}, image=image, wishes=wishes
            )

        begun = self.begin(Action.REBUILD, change)
        self.assertEqual(begun, self.get())
        self.assertEqual(("new", {"new": "1"}), (begun.name, begun.metadata))
        self.assertEqual((image, "eA=="), (begun.image, begun.wishes.user_data))
        self.assertEqual((TaskState.REBUILDING, REQUEST), (begun.task_state, begun.task_request))
        tasks.undo(self.cell, before, begun, REQUEST, NOW)
        self.assertEqual(before, self.get())
        self.assertEqual("Error", self.action().message)

    def test_a_task_is_its_first_workers_alone(self) -> None:
        self.begin()
        self.assertTrue(self.report(events=(EVENT,)))
        self.assertTrue(self.report(events=(EVENT,)), "the same may ask again")
        self.assertFalse(self.report("other"))
        self.assertEqual("w", self.get().task_worker)

    def test_a_task_that_ended_is_nobodys(self) -> None:
        self.begin()
        self.report(events=(EVENT,))
        ended = {
            "task_state": None,
            "vm_state": VmState.PAUSED,
            "power_state": PowerState.PAUSED,
            "over": True,
            "events": (DONE,),
        }
        self.assertTrue(self.report(**ended))
        after = self.get()
        self.assertEqual((VmState.PAUSED, None), (after.vm_state, after.task_state))
        self.assertEqual((None, ""), (after.task_request, after.task_worker))
        self.assertEqual((None, (DONE,)), (self.action().message, self.action().events))
        for worker in ("w", "other"):
            self.assertFalse(self.report(worker, **ended))

    def test_a_report_of_another_request_says_nothing_of_a_task(self) -> None:
        self.begin()
        self.assertFalse(self.report(request_id=RequestId("req-other"), task_state=None))
        self.assertEqual(TaskState.PAUSING, self.get().task_state)

    def test_an_event_that_failed_fails_its_action(self) -> None:
        self.begin()
        self.report(events=(EVENT,))
        self.report(task_state=None, over=True, events=(FAILED,))
        self.assertEqual(("Error", (FAILED,)), (self.action().message, self.action().events))

    def test_an_interrupted_action_ends_the_events_that_it_had_begun(self) -> None:
        self.begin()
        self.report(events=(EVENT,))
        self.report(task_state=None, over=True, interrupted="the host ended")
        (event,) = self.action().events
        self.assertEqual(("Error", "the host ended"), (event.result, event.details))
        self.assertEqual(NOW, event.finished_at)

    def test_a_task_that_is_given_up_says_why(self) -> None:
        self.begin()
        self.report(events=(EVENT,))
        self.assertTrue(tasks.give_up(self.cell, self.get(), "silence", NOW))
        after = self.get()
        self.assertEqual((VmState.ACTIVE, None), (after.vm_state, after.task_state))
        (event,) = self.action().events
        self.assertEqual(("Error", "silence"), (event.result, event.details))
        self.assertEqual("Error", self.action().message)
        self.assertEqual({}, instances.newest_faults(self.cell, [self.server.uuid]))

    def test_a_task_that_leaves_a_guest_half_made_is_given_up_in_error(self) -> None:
        seen = self.begin(Action.REBUILD)
        self.assertTrue(tasks.give_up(self.cell, seen, "silence", NOW))
        self.assertEqual(VmState.ERROR, self.get().vm_state)
        fault = instances.newest_faults(self.cell, [self.server.uuid])[self.server.uuid]
        self.assertEqual((500, "silence"), (fault.code, fault.message))

    def test_a_task_that_moved_on_is_not_given_up(self) -> None:
        seen = self.begin()
        later = NOW.replace(microsecond=7)
        change = {"updated_at": later}
        instances.update(self.cell, self.server.uuid, change)
        self.assertFalse(tasks.give_up(self.cell, seen, "silence", NOW))
        self.assertEqual(TaskState.PAUSING, self.get().task_state)

    def test_a_reset_says_what_a_server_is_but_brings_none_back(self) -> None:
        self.begin()
        record = self.record(Action.RESET_STATE, RequestId("req-10"))
        self.assertTrue(tasks.reset(self.cell, self.server.uuid, VmState.ERROR, record))
        after = self.get()
        self.assertEqual((VmState.ERROR, None), (after.vm_state, after.task_state))
        self.assertIsNone(after.task_request)
        self.assertFalse(self.report())
        instances.update(self.cell, self.server.uuid, {"task_state": TaskState.DELETING})
        again = self.record(Action.RESET_STATE, RequestId("req-11"))
        self.assertFalse(tasks.reset(self.cell, self.server.uuid, VmState.ACTIVE, again))
        self.assertEqual(TaskState.DELETING, self.get().task_state)

    def test_an_action_without_a_task_is_recorded_and_changes_nothing(self) -> None:
        before = self.get()
        self.assertEqual(before, self.begin(Action.TRIGGER_CRASH_DUMP))
        self.assertEqual(before, self.get())
        self.assertTrue(self.report("", over=True, events=(DONE,)))
        self.assertEqual((None, (DONE,)), (self.action().message, self.action().events))

    def test_a_password_is_kept_and_forgotten(self) -> None:
        self.begin(Action.CHANGE_PASSWORD)
        self.assertIsNone(passwords.get(self.cell, self.server.uuid))
        self.report(task_state=None, over=True, password="sealed")
        self.assertEqual("sealed", passwords.get(self.cell, self.server.uuid))
        passwords.clear(self.cell, self.server.uuid)
        self.assertIsNone(passwords.get(self.cell, self.server.uuid))

    def test_what_a_guest_does_by_itself_changes_only_what_follows_its_power(self) -> None:
        idle = {"worker": "", "vm_state": VmState.STOPPED, "if_idle": True}
        for state, follows in (
            (VmState.ACTIVE, True),
            (VmState.PAUSED, True),
            (VmState.SUSPENDED, True),
            (VmState.RESCUED, False),
            (VmState.RESIZED, False),
            (VmState.ERROR, False),
        ):
            instances.update(self.cell, self.server.uuid, {"vm_state": state})
            self.assertEqual(follows, self.report(**idle), state)
