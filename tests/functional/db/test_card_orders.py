"""Orders about network cards count until they have ended, and at their server's host alone."""

from datetime import timedelta

import testscenarios

from kilonova.core.ids import RequestId
from kilonova.core.instance import InstanceAction
from kilonova.core.orders import AttachInterface, CardOrder, DetachInterface, rule_of
from kilonova.core.report import InstanceReport
from kilonova.core.states import TaskState, VmState
from kilonova.db import actions, card_orders, instances, reports, tasks
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, placed

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(minutes=1)
COMES = AttachInterface(port_id="port-1", tag="new")
GOES = DetachInterface(port_id="port-2")


class CardOrdersTest(DatabaseCase):
    """A server that runs, and two orders about its cards."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        self.server = placed(host=H1, vm_state=VmState.ACTIVE, task_state=None)
        instances.insert(self.cell, [self.server])
        self.uuid = self.server.instance.uuid
        for request, order in (("req-1", COMES), ("req-2", GOES)):
            self.begin(request, order)

    def record(self, request: str, name: str) -> InstanceAction:
        """Return an action of the server's."""
        return InstanceAction(
            action=name,
            instance_uuid=self.uuid,
            request_id=RequestId(request),
            user_id="ann",
            project_id="project-a",
            started_at=NOW,
        )

    def begin(self, request: str, order: CardOrder) -> None:
        """Begin an action with its order."""
        rule = rule_of(order)
        record, kept = (
            self.record(request, rule),
            card_orders.keeping(order, RequestId(request), NOW),
        )
        begun = tasks.begin(self.cell, self.server.instance, rule, record, beside=kept)
        self.assertIsNotNone(begun)

    def say(self, request: str, host: str = H1, *, over: bool = False, epoch: int = 1) -> bool:
        """Report as a host; False if it was refused."""
        report = InstanceReport(
            instance_uuid=self.uuid, epoch=epoch, request_id=request, port_id="port-1", over=over
        )
        return not reports.apply(self.cell, host, [report], LATER).refused

    def still(self) -> list[tuple[str, CardOrder]]:
        """Return what stands still, oldest first."""
        found = card_orders.standing_still(self.cell, LATER)
        return sorted((kept.request_id, kept.order) for kept in found)

    def test_an_order_stands_still_until_its_host_has_it_in_hand(self) -> None:
        self.assertEqual([("req-1", COMES), ("req-2", GOES)], self.still())
        self.assertTrue(self.say("req-1"))
        self.assertEqual([("req-2", GOES)], self.still())

    def test_no_other_host_has_it_and_nobody_an_order_that_is_none(self) -> None:
        self.assertFalse(self.say("req-1", H2))
        self.assertFalse(self.say("req-1", epoch=2))
        self.assertFalse(self.say("req-3"))
        self.assertEqual(2, len(self.still()))

    def test_it_begins_again_until_it_has_ended(self) -> None:
        for _ in range(2):
            self.assertTrue(self.say("req-1"))
        self.assertTrue(self.say("req-1", over=True))
        self.assertFalse(self.say("req-1"))
        self.assertTrue(self.say("req-2"))

    def test_what_was_looked_after_does_not_stand_still_for_a_while(self) -> None:
        for kept in card_orders.standing_still(self.cell, LATER):
            card_orders.touch(self.cell, kept, LATER)
        self.assertEqual([], self.still())

    def test_it_waits_while_anything_else_is_done_with_its_server(self) -> None:
        begun = tasks.begin(self.cell, self.server.instance, "stop", self.record("req-3", "stop"))
        assert begun is not None
        self.assertEqual(TaskState.POWERING_OFF, begun.task_state)
        self.assertEqual([], self.still())

    def test_what_nobody_could_be_told_of_counts_no_more(self) -> None:
        before = instances.get(self.cell, self.uuid)
        assert before is not None
        tasks.undo(self.cell, before, before, RequestId("req-1"), LATER)
        self.assertEqual([("req-2", GOES)], self.still())

    def test_one_that_ends_here_ends_its_action(self) -> None:
        for kept in card_orders.standing_still(self.cell, LATER):
            card_orders.end(self.cell, kept, LATER)
        self.assertEqual([], self.still())
        for request in ("req-1", "req-2"):
            found = actions.get_action(self.cell, self.uuid, RequestId(request))
            self.assertEqual((LATER, None), found and (found.updated_at, found.message))

    def test_those_of_a_server_that_is_deleted_wait_for_nobody(self) -> None:
        instances.mark_deleted(self.cell, [self.uuid], NOW)
        self.assertEqual([], self.still())
        self.assertFalse(self.say("req-1"))
