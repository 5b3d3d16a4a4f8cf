"""Orders that come twice, late or to a host that ends: nothing is done twice, and no task sticks."""

import time
from io import BytesIO

from kilonova.compute import actions
from kilonova.compute.driver import Guest
from kilonova.compute.script import Step
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.errors import NotFound
from kilonova.core.instance import ActionEvent, Instance
from kilonova.core.orders import (
    HardReboot,
    Order,
    Pause,
    Rebuild,
    Snapshot,
    SoftReboot,
    Suspend,
    TriggerCrashDump,
    Unpause,
    rule_of,
)
from kilonova.core.report import InstanceReport
from kilonova.core.states import Action, PowerState, TaskState, VmState
from kilonova.db import instances, reports, tasks
from tests.functional.compute.fake_host_case import RUNNING, FakeHostCase
from tests.instances import HOST, instance

REASON = "Nobody answers."


class OrdersCase(FakeHostCase):
    """One host with one server that is ACTIVE."""

    steps = (
        Step(step="pause", server="slow", seconds=0.6),
        Step(step="pause", server="lasting", seconds=3),
        Step(step="suspend", server="odd", error="no", unavailable=True),
    )

    def active(self, name: str = "vm") -> Instance:
        """Return a server that runs."""
        self.service = self.serve(self.driver)
        return self.until_active(self.cell.build(instance(name)))

    def settle(self) -> None:
        """Give what must not happen time to happen."""
        time.sleep(0.3)

    def begun(self, server: Instance, order: Order) -> None:
        """Begin an action as a service did that is no more."""
        self.cell.begin(server, order)
        event = ActionEvent(name="compute_something", started_at=utcnow(), host=HOST)
        report = InstanceReport(
            instance_uuid=server.uuid,
            epoch=server.epoch,
            request_id=self.cell.action(server, rule_of(order)).request_id,
            worker="gone",
            events=(event,),
        )
        self.assertEqual((), reports.apply(self.cell.database, HOST, [report], utcnow()).refused)


class OnceTest(OrdersCase):
    """Messages that are repeated or late."""

    def test_an_order_that_comes_again_after_another_does_nothing(self) -> None:
        server = self.active()
        pause = self.act(server, Pause())
        self.act(server, Unpause())
        self.cell.repeat(pause)
        self.settle()
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))
        self.assertEqual(VmState.ACTIVE, self.cell.get(server).vm_state)

    def test_an_order_that_comes_many_times_at_once_is_done_once(self) -> None:
        server = self.active()
        message = self.cell.begin(server, SoftReboot())
        for _ in range(5):
            self.cell.repeat(message)
        self.until_active(server)
        self.settle()
        console = self.driver.console_output(server.uuid, None)
        self.assertEqual(2, console.count("BOOT-OK"))
        action = self.cell.action(server, rule_of(message.order))
        self.assertEqual(["Success"], [event.result for event in action.events])

    def test_an_order_without_a_task_that_comes_again_is_done_once(self) -> None:
        server = self.active()
        message = self.cell.act(server, TriggerCrashDump())
        self.cell.repeat(message)
        self.until(
            "it is told", lambda: bool(self.cell.action(server, Action.TRIGGER_CRASH_DUMP).events)
        )
        self.settle()
        self.assertEqual(1, self.driver.console_output(server.uuid, None).count("NMI"))

    def test_an_order_whose_task_was_given_up_does_nothing(self) -> None:
        server = self.active()
        message = self.cell.begin(server, Pause())
        tasks.give_up(self.cell.database, self.cell.get(server), REASON, utcnow())
        self.cell.repeat(message)
        self.settle()
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))
        self.assertEqual((VmState.ACTIVE, None), _states(self.cell.get(server)))

    def test_an_order_whose_server_is_being_deleted_does_nothing(self) -> None:
        server = self.active()
        message = self.cell.begin(server, Pause())
        instances.update(self.cell.database, server.uuid, {"task_state": TaskState.DELETING})
        self.cell.repeat(message)
        self.settle()
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))

    def test_what_was_done_too_late_is_still_what_the_server_is(self) -> None:
        server = self.active("slow")
        self.cell.act(server, Pause())
        self.until("it is begun", lambda: bool(self.cell.get(server).task_worker))
        tasks.give_up(self.cell.database, self.cell.get(server), REASON, utcnow())
        self.until_is(server, VmState.PAUSED)
        self.assertEqual("Error", self.cell.action(server, Action.PAUSE).message)

    def test_a_reset_state_ends_what_is_under_way(self) -> None:
        server = self.active("slow")
        self.cell.act(server, Pause())
        self.until("it is begun", lambda: bool(self.cell.get(server).task_worker))
        record = self.cell.action(server, Action.PAUSE)
        reset = record.__class__(
            action=Action.RESET_STATE,
            instance_uuid=server.uuid,
            request_id=record.request_id,
            user_id=server.user_id,
            project_id=server.project_id,
            started_at=utcnow(),
        )
        tasks.reset(self.cell.database, server.uuid, VmState.ERROR, reset)
        time.sleep(0.8)
        self.assertEqual((VmState.ERROR, None), _states(self.cell.get(server)))


class FailureTest(OrdersCase):
    """Orders that fail, and hosts that end with orders in hand."""

    def test_a_hypervisor_that_is_away_fails_an_order_and_no_task_is_left(self) -> None:
        server = self.active("odd")
        self.act(server, Suspend())
        self.assertEqual((VmState.ACTIVE, None), _states(self.cell.get(server)))
        self.assertEqual("Error", self.cell.action(server, Action.SUSPEND).message)

    def test_an_order_that_a_host_had_begun_is_over_when_it_is_back(self) -> None:
        server = self.active()
        self.end(self.service)
        self.begun(server, Pause())
        self.serve(self.driver)
        self.until_active(server)
        action = self.cell.action(server, Action.PAUSE)
        (event,) = action.events
        self.assertEqual(("Error", "Error"), (action.message, event.result))
        self.assertIn("restarted", event.details or "")

    def test_an_order_that_was_begun_and_done_is_what_the_guest_is(self) -> None:
        server = self.active()
        self.end(self.service)
        self.begun(server, Pause())
        self.driver.pause(server.uuid)
        self.serve(self.driver)
        self.assertEqual(PowerState.PAUSED, self.until_is(server, VmState.PAUSED).power_state)

    def test_a_rebuild_that_a_host_had_begun_ends_in_error_with_the_reason(self) -> None:
        server = self.active()
        self.end(self.service)
        self.begun(server, Rebuild())
        self.serve(self.driver)
        self.until_is(server, VmState.ERROR)
        fault = self.cell.fault(server)
        self.assertIn("restarted", fault.message if fault else "")

    def test_of_a_snapshot_that_a_host_had_begun_no_image_is_left(self) -> None:
        server, images = self.active(), self.images.client
        half, whole, foreign = [
            images.create({"name": "copy", "instance_uuid": of})
            for of in (server.uuid, server.uuid, "another")
        ]
        images.upload(whole, BytesIO(b"a disk"), "raw")
        self.end(self.service)
        self.begun(server, Snapshot(image_id=half))
        self.serve(self.driver)
        self.until_active(server)
        self.assertRaises(NotFound, images.get, service_context(), half)
        for kept in (whole, foreign):
            self.assertEqual("copy", images.get(service_context(), kept).name)

    def test_an_order_that_was_not_begun_is_done_when_the_host_is_back(self) -> None:
        server = self.active()
        self.end(self.service)
        message = self.cell.begin(server, HardReboot())
        self.serve(self.driver)
        self.assertEqual(TaskState.REBOOTING_HARD, self.cell.get(server).task_state)
        self.cell.repeat(message)
        self.until_active(server)
        self.assertIn("hard reboot", self.driver.console_output(server.uuid, 1))

    def test_a_service_that_ends_finishes_what_it_has_in_hand(self) -> None:
        server = self.active("slow")
        self.cell.act(server, Pause())
        self.until("it is begun", lambda: bool(self.cell.get(server).task_worker))
        self.end(self.service)
        self.assertEqual((VmState.PAUSED, None), _states(self.cell.get(server)))

    def test_an_order_that_takes_long_is_told_of_now_and_then(self) -> None:
        self.patch(actions, "_RENEWS", 0.0)
        server = self.active("lasting")
        self.cell.act(server, Pause())
        self.until("it is begun", lambda: bool(self.cell.get(server).task_worker))
        first = self.cell.get(server)
        self.service._handlers.renew()
        self.until("it is told", lambda: self.cell.get(server).updated_at != first.updated_at)
        self.assertEqual(TaskState.PAUSING, self.cell.get(server).task_state)
        self.until_is(server, VmState.PAUSED)

    def test_a_rescued_server_stays_so_through_a_restart_of_its_host(self) -> None:
        server = self.active()
        instances.update(self.cell.database, server.uuid, {"vm_state": VmState.RESCUED})
        self.end(self.service)
        self.driver.stop(server.uuid, 0, lambda: True)
        self.serve(self.driver)
        self.until("it is told", lambda: self.cell.get(server).power_state == PowerState.SHUTDOWN)
        self.assertEqual(VmState.RESCUED, self.cell.get(server).vm_state)


def _states(server: Instance) -> tuple[VmState, TaskState | None]:
    return server.vm_state, server.task_state
