"""Which servers the converger finds to have stopped moving."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import testscenarios

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.states import TaskState, VmState
from kilonova.db import builds, instances, reports, unfinished
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, REQUEST, placed

load_tests = testscenarios.load_tests_apply_scenarios

AGO = timedelta(minutes=5)
OLD, LIMIT = NOW - AGO, NOW - timedelta(minutes=1)


class UnfinishedTest(DatabaseCase):
    """Servers that were touched five minutes ago, looked at for those before one minute ago."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")

    def _place(self, **changed: Any) -> InstanceUuid:
        one = placed(**{"updated_at": OLD, "created_at": OLD} | changed)
        instances.insert(self.cell, [one])
        return one.instance.uuid

    def _uuids(self, found: Sequence[Instance]) -> list[InstanceUuid]:
        return [one.uuid for one in found]

    def _begin(self, uuid: InstanceUuid, task: TaskState, epoch: int = 1) -> None:
        report = InstanceReport(
            instance_uuid=uuid, epoch=epoch, request_id=REQUEST, builder="b", task_state=task
        )
        self.assertEqual((), reports.apply(self.cell, H1, [report], OLD).refused)

    def test_a_build_that_no_host_began_is_found_after_a_while(self) -> None:
        waiting = self._place()
        self._place(updated_at=NOW)
        begun = self._place()
        self._begin(begun, TaskState.SPAWNING)
        self._place(vm_state=VmState.ACTIVE, task_state=None)
        gone = self._place()
        instances.mark_deleted(self.cell, [gone], OLD)
        self.assertEqual([waiting], self._uuids(unfinished.never_begun(self.cell, LIMIT)))

    def test_a_build_that_moved_on_and_was_not_begun_again_is_found(self) -> None:
        moved = self._place()
        self._begin(moved, TaskState.SCHEDULING)
        self.assertEqual([], self._uuids(unfinished.never_begun(self.cell, LIMIT)))
        builds.raise_epoch(self.cell, moved, 1, OLD)
        (found,) = unfinished.never_begun(self.cell, LIMIT)
        self.assertEqual((moved, 2), (found.uuid, found.epoch))

    def test_servers_in_a_task_are_found_by_the_task_and_its_age(self) -> None:
        stopping = self._place(vm_state=VmState.ACTIVE, task_state=TaskState.POWERING_OFF)
        deleting = self._place(vm_state=VmState.ACTIVE, task_state=TaskState.DELETING)
        self._place(vm_state=VmState.ACTIVE, task_state=TaskState.DELETING, updated_at=NOW)
        for tasks, found in (
            ([TaskState.DELETING], [deleting]),
            ([TaskState.POWERING_OFF, TaskState.POWERING_ON], [stopping]),
            ([TaskState.REBOOTING], []),
        ):
            self.assertEqual(found, self._uuids(unfinished.in_task(self.cell, tasks, LIMIT)))

    def test_a_build_is_late_by_when_it_was_asked_for_whatever_moved_since(self) -> None:
        late = self._place(updated_at=NOW, task_state=TaskState.SPAWNING)
        self._place(created_at=NOW)
        self._place(vm_state=VmState.ACTIVE, task_state=None)
        self._place(vm_state=VmState.ERROR, task_state=None)
        self._place(task_state=TaskState.DELETING)
        self.assertEqual([late], self._uuids(unfinished.building_since(self.cell, LIMIT)))

    def test_what_waits_longest_comes_first(self) -> None:
        second = self._place(updated_at=OLD + timedelta(seconds=1))
        first = self._place()
        self.assertEqual([first, second], self._uuids(unfinished.never_begun(self.cell, LIMIT)))
