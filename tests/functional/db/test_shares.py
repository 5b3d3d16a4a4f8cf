"""Shares of servers in a cell's database: one row says it all, and each share is found by itself."""

from datetime import timedelta

import msgspec
import testscenarios

from kilonova.core import states
from kilonova.core.errors import Invalid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.report import InstanceReport
from kilonova.core.share import Share, ShareReport, ShareStage
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db import instances, reports, shares, tasks
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, REQUEST, placed

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(minutes=5)
ONE = Share(uuid="u1", share_id="one", tag="a", protocol="NFS", export="h:/one", rules={H1: "r"})
COMES = Share(
    uuid="u2",
    share_id="two",
    tag="b",
    protocol="CEPHFS",
    export="h:/two",
    stage=ShareStage.ATTACHING,
    request_id=REQUEST,
)


class SharesTest(DatabaseCase):
    """A server with one share, which is shut down."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        self.server = placed(host=H1, vm_state=VmState.STOPPED, task_state=None)
        instances.insert(self.cell, [self.server])
        self.uuid = self.server.instance.uuid
        self.add(ONE)

    def now(self) -> Instance:
        """Return the server."""
        found = instances.get(self.cell, self.uuid)
        assert found is not None
        return found

    def add(self, share: Share) -> None:
        """Give the server a share."""
        shares.change(self.cell, self.uuid, lambda i: (*i.shares, share), NOW)

    def say(self, said: ShareReport, host: str = H1, request: str = REQUEST) -> bool:
        """Report as a host; False if it was refused."""
        report = InstanceReport(instance_uuid=self.uuid, epoch=0, request_id=request, share=said)
        return not reports.apply(self.cell, host, [report], LATER).refused

    def test_a_server_has_its_shares_and_is_found_by_them(self) -> None:
        self.assertEqual((ONE,), self.now().shares)
        self.assertEqual([self.uuid], [i.uuid for i in shares.servers_with(self.cell, "one")])
        self.assertEqual((), shares.servers_with(self.cell, "two"))

    def test_what_a_change_refuses_is_not_written(self) -> None:
        def refuse(_server: Instance) -> tuple[Share, ...]:
            raise Invalid("no")

        self.assertRaises(Invalid, shares.change, self.cell, self.uuid, refuse, NOW)
        self.assertEqual((ONE,), self.now().shares)

    def test_only_what_is_under_way_by_this_request_begins_and_ends(self) -> None:
        self.add(COMES)
        begins = ShareReport(share_id="two", begins=ShareStage.ATTACHING)
        self.assertTrue(self.say(begins))
        self.assertTrue(self.say(begins))
        self.assertFalse(self.say(begins, request="req-other"))
        self.assertFalse(self.say(begins, H2))
        self.assertFalse(self.say(ShareReport(share_id="one", begins=ShareStage.ATTACHING)))
        ends = msgspec.structs.replace(begins, stage=ShareStage.ATTACHED)
        self.assertTrue(self.say(ends))
        self.assertFalse(self.say(ends))
        self.assertTrue(self.say(ShareReport(share_id="two", gone=True)))
        self.assertFalse(self.say(ShareReport(share_id="two")))
        self.assertEqual((ONE,), self.now().shares)

    def test_each_host_has_its_own_rule(self) -> None:
        def rules() -> dict[str, str]:
            return dict(self.now().shares[0].rules)

        self.say(ShareReport(share_id="one", rule="s"), H2)
        self.assertEqual({H1: "r", H2: "s"}, rules())
        self.say(ShareReport(share_id="one", rule=""))
        self.assertEqual({H2: "s"}, rules())

    def test_what_stands_still_is_found_until_it_is_looked_after(self) -> None:
        self.add(COMES)

        def still() -> list[str]:
            return [i.uuid for i in shares.standing_still(self.cell, LATER)]

        self.assertEqual([self.uuid], still())
        shares.touch(self.cell, [self.uuid], LATER)
        self.assertEqual([], still())

    def test_a_server_that_is_deleted_is_not_found_any_more(self) -> None:
        self.add(COMES)
        instances.mark_deleted(self.cell, [self.uuid], NOW)
        self.assertEqual((), shares.servers_with(self.cell, "one"))
        self.assertEqual((), shares.standing_still(self.cell, LATER))
        self.assertFalse(self.say(ShareReport(share_id="one")))
        instances.remove(self.cell, [self.uuid])

    def test_what_bears_no_shares_does_not_begin_beside_one_that_came_since(self) -> None:
        seen = msgspec.structs.replace(self.now(), shares=())
        record = InstanceAction(
            action=Action.RESIZE,
            instance_uuid=self.uuid,
            request_id=REQUEST,
            user_id=seen.user_id,
            project_id=seen.project_id,
            started_at=NOW,
        )
        self.assertIsNone(tasks.begin(self.cell, seen, Action.RESIZE, record))
        self.assertIsNone(self.now().task_state)
        begun = tasks.begin(self.cell, seen, states.LEAVE_DEAD, record)
        self.assertIsNotNone(begun)
        self.assertEqual(TaskState.REBUILDING, self.now().task_state)
        self.assertEqual((ONE,), self.now().shares)
