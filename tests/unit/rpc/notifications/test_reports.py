"""What a host's reports are told as."""

from datetime import timedelta
from typing import Any

import msgspec
import testtools

from kilonova.core.ids import RequestId
from kilonova.core.instance import ActionEvent, Instance, InstanceAction
from kilonova.core.migration import Moved, MoveReport, Stage
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.share import Share
from kilonova.core.states import Action, PowerState, TaskState, VmState
from kilonova.rpc.notifications import reports
from kilonova.rpc.notifications.notification import Notification
from tests.unit.rpc.notifications.test_payloads import BROKEN, IMAGE_ID, LATER, NOON, SERVER

BEGUN = ActionEvent(name="compute_stop_instance", started_at=NOON)
DONE = msgspec.structs.replace(BEGUN, finished_at=LATER, result="Success")
WAITING = msgspec.structs.replace(
    SERVER, vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING, launched_at=None
)
SPAWNING = msgspec.structs.replace(WAITING, task_state=TaskState.SPAWNING)
REQUEST = RequestId("req-9")


def report(**changed: Any) -> InstanceReport:
    """Return a report on ``SERVER``."""
    return InstanceReport(instance_uuid=SERVER.uuid, epoch=1, request_id=REQUEST, **changed)


def told(
    before: Instance, said: InstanceReport, action: str | None = None
) -> tuple[Notification, ...]:
    """Return what is told of a report on a server, whose request asked for an action."""
    record = None
    if action is not None:
        record = InstanceAction(
            action=action,
            instance_uuid=SERVER.uuid,
            request_id=REQUEST,
            user_id=SERVER.user_id,
            project_id=SERVER.project_id,
            started_at=NOON,
        )
    change = (before, reports.after(before, said, LATER))
    return tuple(reports.notifications("nova-compute:h1", said, change, record, LATER))


def types(all_: tuple[Notification, ...]) -> list[str]:
    """Return the event types."""
    return [one.event_type.removeprefix("instance.") for one in all_]


def data(one: Notification) -> dict[str, Any]:
    """Return what a notification says."""
    found: dict[str, Any] = one.payload["nova_object.data"]
    return found


class ReportsTest(testtools.TestCase):
    """One report at a time."""

    def test_a_build_that_begins_is_told_as_it_was_before(self) -> None:
        said = report(builder="b", task_state=TaskState.SPAWNING, events=(BEGUN,))
        first, second = told(WAITING, said, Action.CREATE)
        self.assertEqual(["create.start", "update"], types((first, second)))
        self.assertEqual("InstanceCreatePayload", first.payload["nova_object.name"])
        self.assertEqual(
            ("scheduling", "spawning"), (data(first)["task_state"], data(second)["task_state"])
        )

    def test_a_build_ends_when_its_server_is_active_whoever_says_so(self) -> None:
        said = report(vm_state=VmState.ACTIVE, task_state=None, launched_at=LATER)
        for action in (Action.CREATE, None):
            update, end = told(SPAWNING, said, action)
            self.assertEqual(["update", "create.end"], types((update, end)))
            self.assertEqual("2026-05-02T12:05:00Z", data(end)["launched_at"])
        # The same report again: the answer to the first was lost.
        again = reports.after(SPAWNING, said, LATER)
        self.assertEqual((), told(again, said, Action.CREATE))

    def test_a_build_that_failed_is_told_with_its_fault(self) -> None:
        part = ActionEvent(
            name="compute_spawn", started_at=NOON, finished_at=NOON, result="Error", details="part"
        )
        failure = BuildFailure(reason="reason")
        for events, message in (((part, BROKEN), "out of luck"), ((part,), "part"), ((), "reason")):
            (failed,) = told(SPAWNING, report(failure=failure, events=events), Action.CREATE)
            self.assertEqual(
                ("instance.create.error", "ERROR"), (failed.event_type, failed.priority)
            )
            fault = data(failed)["fault"]["nova_object.data"]
            self.assertEqual(message, fault["exception_message"])

    def test_every_action_is_told_from_start_to_end(self) -> None:
        for action, name in reports.NAMES.items():
            begins = told(SERVER, report(worker="w", events=(BEGUN,)), action)
            self.assertEqual([f"{name}.start"], types(begins), action)
            end = report(worker="w", over=True, task_state=None, events=(DONE,))
            self.assertEqual(["update", f"{name}.end"], types(told(SERVER, end, action)), action)
            broken = report(worker="w", over=True, task_state=None, events=(BROKEN,))
            self.assertEqual(
                ["update", f"{name}.error"], types(told(SERVER, broken, action)), action
            )

    def test_payloads_are_those_of_their_action(self) -> None:
        for action, name, field in (
            (Action.STOP, "InstanceActionPayload", None),
            (Action.REBUILD, "InstanceActionRebuildPayload", None),
            (Action.RESCUE, "InstanceActionRescuePayload", "rescue_image_ref"),
            (Action.CREATE_IMAGE, "InstanceActionSnapshotPayload", "snapshot_image_id"),
            (Action.CREATE_BACKUP, "InstanceActionSnapshotPayload", "snapshot_image_id"),
        ):
            said = report(worker="w", image_id=IMAGE_ID, events=(BEGUN,))
            (start,) = told(SERVER, said, action)
            self.assertEqual(name, start.payload["nova_object.name"])
            if field is not None:
                self.assertEqual(IMAGE_ID, data(start)[field])

    def test_what_is_in_hand_is_no_news_but_how_far_it_has_come_is(self) -> None:
        self.assertEqual((), told(SERVER, report(worker="w"), Action.STOP))
        further = report(worker="w", task_state=TaskState.IMAGE_UPLOADING)
        self.assertEqual(["update"], types(told(SERVER, further, Action.CREATE_IMAGE)))

    def test_what_holds_no_task_is_told_whole_when_it_is_over(self) -> None:
        said = report(over=True, events=(DONE,))
        self.assertEqual(
            ["trigger_crash_dump.start", "trigger_crash_dump.end"],
            types(told(SERVER, said, Action.TRIGGER_CRASH_DUMP)),
        )

    def test_a_share_that_comes_or_goes_is_told_of_with_those_that_there_are(self) -> None:
        share = Share(uuid="u", share_id="s", tag="data", protocol="NFS", export="secret:/e")
        off = msgspec.structs.replace(SERVER, power_state=PowerState.SHUTDOWN, shares=(share,))
        for action, name in ((Action.ATTACH_SHARE, "attach"), (Action.DETACH_SHARE, "detach")):
            start, end = told(off, report(events=(DONE,), over=True, share_id="s"), action)
            self.assertEqual([f"share_{name}.start", f"share_{name}.end"], types((start, end)))
            self.assertEqual("InstanceActionSharePayload", end.payload["nova_object.name"])
            self.assertEqual("s", data(end)["share_id"])
            (shown,) = data(end)["shares"]
            self.assertEqual(
                {"share_mapping_uuid": "u", "share_id": "s", "status": "inactive", "tag": "data"},
                shown["nova_object.data"],
            )
            self.assertNotIn("secret", str(end.payload))

    def test_an_action_that_was_interrupted_failed_with_that_reason(self) -> None:
        said = report(worker="w", over=True, interrupted="restarted", task_state=None)
        _, failed = told(SERVER, said, Action.STOP)
        fault = data(failed)["fault"]["nova_object.data"]
        self.assertEqual("restarted", fault["exception_message"])

    def test_of_a_changed_password_nothing_but_its_state_is_told(self) -> None:
        server = msgspec.structs.replace(SERVER, task_state=TaskState.UPDATING_PASSWORD)
        said = report(worker="w", over=True, task_state=None, events=(DONE,), password="sealed")
        (update,) = told(server, said, Action.CHANGE_PASSWORD)
        self.assertNotIn("sealed", str(update.payload))

    def test_a_server_that_is_gone_was_shut_down_and_deleted(self) -> None:
        all_ = told(SERVER, report(gone=True, events=(DONE,)), Action.DELETE)
        self.assertEqual(
            ["delete.start", "shutdown.start", "update", "shutdown.end", "delete.end"], types(all_)
        )
        self.assertEqual(("active", "deleted"), (data(all_[0])["state"], data(all_[-1])["state"]))
        self.assertEqual("2026-05-02T12:05:00Z", data(all_[-1])["deleted_at"])

    def test_of_a_move_each_part_is_told_by_the_host_that_has_it(self) -> None:
        for action, names in reports.MOVES.items():
            for stage, name in names.items():
                for moved, phase in (
                    (Moved.BEGUN, ["start"]),
                    (Moved.GOES_ON, []),
                    (Moved.DONE, ["end"]),
                    (Moved.FAILED, ["error"]),
                    (Moved.CANCELLED, ["error"]),
                ):
                    said = MoveReport(
                        migration="m", stage=stage, attempt=1, moved=moved, reason="no luck"
                    )
                    all_ = told(SERVER, report(move=said, events=(BEGUN,)), action)
                    self.assertEqual([f"{name}.{one}" for one in phase], types(all_), action)

    def test_of_parts_that_have_no_name_nobody_is_told(self) -> None:
        said = MoveReport(migration="m", stage=Stage.ABANDONING, attempt=1, moved=Moved.DONE)
        self.assertEqual((), told(SERVER, report(move=said), Action.DELETE))
        self.assertEqual((), told(SERVER, report(move=said), None))

    def test_what_a_guest_did_by_itself_is_an_update_of_nobodys(self) -> None:
        idle = msgspec.structs.replace(SERVER, task_state=None)
        said = report(if_idle=True, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
        (update,) = told(idle, said)
        self.assertEqual("instance.update", update.event_type)
        self.assertIsNone(data(update)["request_id"])
        self.assertIsNone(data(update)["action_initiator_user"])

    def test_the_asker_is_whoever_asked_for_the_action(self) -> None:
        (start,) = told(SERVER, report(worker="w", events=(BEGUN,)), Action.STOP)
        self.assertEqual(
            (REQUEST, "bob", "project-b"),
            tuple(
                data(start)[name]
                for name in ("request_id", "action_initiator_user", "action_initiator_project")
            ),
        )

    def test_a_report_leaves_what_it_does_not_name(self) -> None:
        later = LATER + timedelta(seconds=1)
        after = reports.after(SERVER, report(power_state=PowerState.PAUSED), later)
        expected = msgspec.structs.replace(SERVER, power_state=PowerState.PAUSED, updated_at=later)
        self.assertEqual(expected, after)
