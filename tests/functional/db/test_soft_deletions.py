"""Soft-deleted servers as databases keep them, on every database."""

from datetime import datetime, timedelta

import testscenarios

from kilonova.core.errors import QuotaExceeded
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.quota import Limits
from kilonova.core.states import SOFT_DELETE, Action, TaskState, VmState
from kilonova.db import (
    acceptance,
    actions,
    build_requests,
    instances,
    quotas,
    soft_deletions,
    tasks,
)
from kilonova.db.acceptance import Lot
from tests.functional.db import servers
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(hours=1)
NO_LIMITS = Limits(instances=-1, cores=-1, ram=-1)


def record(server: Instance, at: datetime, request: str = "req-9") -> InstanceAction:
    """Return the record of a delete."""
    return InstanceAction(
        action=Action.DELETE,
        instance_uuid=server.uuid,
        request_id=RequestId(request),
        user_id=server.user_id,
        project_id=server.project_id,
        started_at=at,
    )


class KeptTest(DatabaseCase):
    """A cell's part of it."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")

    def kept(self, at: datetime, request: str = "req-8") -> Instance:
        """Return a server that was soft-deleted at a time, and is idle."""
        one = servers.placed(vm_state=VmState.SOFT_DELETED, task_state=None)
        instances.insert(self.cell, [one])
        self.delete(one.instance.uuid, at, request)
        return one.instance

    def delete(self, uuid: InstanceUuid, at: datetime, request: str) -> None:
        """Soft-delete a server as the API does, and let its host be done with it."""
        instances.update(self.cell, uuid, {"vm_state": VmState.ACTIVE, "task_state": None})
        seen = instances.get(self.cell, uuid)
        assert seen is not None
        begun = tasks.begin(
            self.cell, seen, SOFT_DELETE, record(seen, at, request), None, soft_deletions.note
        )
        assert begun is not None
        values = {"vm_state": VmState.SOFT_DELETED, "task_state": None}
        instances.update(self.cell, uuid, values)

    def due(self, before: datetime) -> list[InstanceUuid]:
        """Return which servers are due."""
        return [server.uuid for server in soft_deletions.due(self.cell, before)]

    def test_only_what_is_kept_for_long_enough_is_due(self) -> None:
        old, young = self.kept(NOW), self.kept(LATER)
        self.assertEqual([], self.due(NOW))
        self.assertEqual([old.uuid], self.due(LATER))
        self.assertEqual({old.uuid, young.uuid}, set(self.due(LATER + timedelta(seconds=1))))

    def test_what_was_restored_counts_from_when_it_is_deleted_again(self) -> None:
        one = self.kept(NOW)
        instances.update(self.cell, one.uuid, {"vm_state": VmState.ACTIVE})
        self.assertEqual([], self.due(LATER))
        self.delete(one.uuid, LATER, "req-10")
        self.assertEqual([], self.due(LATER))
        self.assertEqual([one.uuid], self.due(LATER + timedelta(seconds=1)))

    def test_what_is_idle_begins_to_be_deleted_once(self) -> None:
        one = self.kept(NOW)
        begun = soft_deletions.reclaim(self.cell, one, record(one, LATER))
        assert begun is not None
        self.assertEqual((TaskState.DELETING, "req-9"), (begun.task_state, begun.task_request))
        self.assertIsNotNone(actions.get_action(self.cell, one.uuid, RequestId("req-9")))
        self.assertIsNone(soft_deletions.reclaim(self.cell, one, record(one, LATER, "req-10")))
        self.assertIsNone(actions.get_action(self.cell, one.uuid, RequestId("req-10")))

    def test_what_is_being_restored_or_has_been_is_left_alone(self) -> None:
        for change in (
            {"task_state": TaskState.RESTORING},
            {"vm_state": VmState.ACTIVE},
        ):
            one = self.kept(NOW)
            instances.update(self.cell, one.uuid, change)
            self.assertIsNone(soft_deletions.reclaim(self.cell, one, record(one, LATER)))
        gone = self.kept(NOW)
        instances.mark_deleted(self.cell, [gone.uuid], LATER)
        self.assertIsNone(soft_deletions.reclaim(self.cell, gone, record(gone, LATER)))


class CountedTest(DatabaseCase):
    """The API database's part of it."""

    def setUp(self) -> None:
        super().setUp()
        self.api = self.open("api", "api")
        (self.accepted,) = servers.accepted(1)
        acceptance.accept(self.api, [Lot([self.accepted], NO_LIMITS)])
        self.server = self.accepted.instance

    def used(self) -> tuple[int, int, int]:
        """Return what the project uses."""
        used = quotas.used_by(self.api, self.server.project_id)
        return used.instances, used.cores, used.ram

    def test_a_server_counts_again_once_however_often_that_is_said(self) -> None:
        self.assertFalse(soft_deletions.count_again(self.api, self.server, NO_LIMITS))
        self.assertEqual((1, 1, 512), self.used())
        build_requests.queue_for_delete(self.api, self.server.uuid)
        self.assertEqual((0, 0, 0), self.used())
        self.assertTrue(soft_deletions.count_again(self.api, self.server, NO_LIMITS))
        self.assertFalse(soft_deletions.count_again(self.api, self.server, NO_LIMITS))
        self.assertEqual((1, 1, 512), self.used())

    def test_without_room_nothing_is_counted(self) -> None:
        build_requests.queue_for_delete(self.api, self.server.uuid)
        for limits in (Limits(instances=0), Limits(cores=0), Limits(ram=511)):
            self.assertRaises(
                QuotaExceeded, soft_deletions.count_again, self.api, self.server, limits
            )
        self.assertEqual((0, 0, 0), self.used())
        self.assertTrue(soft_deletions.count_again(self.api, self.server, NO_LIMITS))
