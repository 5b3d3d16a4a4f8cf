"""Servers in a cell: written once however often they are delivered, and changed by compare-and-set."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import testscenarios

from kilonova.core.errors import NotFound
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.core.instance import ActionEvent, Fault, Instance, InstanceAction, KeyPair, Wishes
from kilonova.core.states import HARD_REBOOT, Action, PowerState, TaskState, VmState
from kilonova.db import actions, hosted, instances, tasks
from kilonova.db.actions import ActionQuery
from kilonova.db.instances import Placed
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase, statements_of
from tests.functional.db.servers import H1, H2, PROJECT, REQUEST, USER, placed

load_tests = testscenarios.load_tests_apply_scenarios

EVERY = ActionQuery()
LATER = NOW + timedelta(seconds=5)
FAULT = Fault(code=500, message="No valid host was found.", created_at=NOW, details="9 x RAM")


class InstancesCase(DatabaseCase):
    """A cell's database."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")

    def place(self, **changed: Any) -> Instance:
        """Write a server and return it."""
        one = placed(**changed)
        instances.insert(self.cell, [one])
        return one.instance

    def get(self, uuid: InstanceUuid) -> Instance:
        """Return a server that is there."""
        found = instances.get(self.cell, uuid)
        assert found is not None
        return found


class InsertTest(InstancesCase):
    """What is written is what is read."""

    def test_a_server_is_read_as_it_was_written(self) -> None:
        written = self.place(
            name="vm-é",
            description="x" * 5000,
            metadata={"k": "v", "é": ""},
            tags=("a", "b c"),
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=PowerState.RUNNING,
            launched_at=NOW + timedelta(microseconds=123456),
            locked_by="owner",
            access_ipv6="2001:db8::1",
            wishes=Wishes(
                key_pair=KeyPair(name="k", kind="ssh", fingerprint="f", public_key="p"),
                hints={"group": ["a", "b"]},
                config_drive=True,
            ),
        )
        self.assertEqual(written, self.get(written.uuid))

    def test_a_server_that_is_delivered_twice_is_written_once(self) -> None:
        event = ActionEvent(name="schedule_instances", started_at=NOW, finished_at=NOW)
        first = placed()
        first = msgspec.structs.replace(
            first, action=msgspec.structs.replace(first.action, events=(event,)), fault=FAULT
        )
        instances.insert(self.cell, [first])
        other = msgspec.structs.replace(
            first, instance=msgspec.structs.replace(first.instance, host=H2, epoch=7)
        )
        new = placed()
        instances.insert(self.cell, [other, new])
        uuid = first.instance.uuid
        self.assertEqual(first.instance, self.get(uuid))
        self.assertEqual(1, len(actions.list_actions(self.cell, uuid, EVERY)))
        action = actions.get_action(self.cell, uuid, REQUEST)
        assert action is not None
        self.assertEqual(1, len(action.events))
        self.assertEqual(new.instance, self.get(new.instance.uuid))

    def test_writing_many_is_as_many_statements_as_writing_one(self) -> None:
        for count in (1, 100):
            some = [placed() for _ in range(count)]
            seen = statements_of(self.cell, lambda s=some: instances.insert(self.cell, s))
            verbs = [s.split()[0] for s in seen if not s.startswith("BEGIN")]
            self.assertEqual(["INSERT", "INSERT"], verbs)

    def test_what_is_removed_leaves_no_trace(self) -> None:
        kept = self.place()
        failed = placed(vm_state=VmState.ERROR, host=None)
        instances.insert(self.cell, [msgspec.structs.replace(failed, fault=FAULT)])
        uuid = failed.instance.uuid
        self.assertEqual({uuid: FAULT}, instances.newest_faults(self.cell, [uuid]))
        instances.remove(self.cell, [uuid])
        self.assertIsNone(instances.get(self.cell, uuid, with_deleted=True))
        self.assertEqual({}, instances.newest_faults(self.cell, [uuid]))
        self.assertEqual((), actions.list_actions(self.cell, uuid, EVERY))
        self.assertEqual(kept, self.get(kept.uuid))

    def test_the_servers_of_a_host_are_those_that_are_not_deleted(self) -> None:
        here, gone, there = self.place(), self.place(), self.place(host=H2)
        instances.mark_deleted(self.cell, [gone.uuid], LATER)
        self.assertEqual((here,), instances.of_host(self.cell, H1))
        self.assertEqual((there.uuid,), tuple(h.uuid for h in hosted.servers_on(self.cell, [H2])))
        self.assertEqual(frozenset({H1, H2}), hosted.hosts_with_servers(self.cell, [H1, H2]))
        instances.mark_deleted(self.cell, [here.uuid], LATER)
        self.assertEqual(frozenset({H2}), hosted.hosts_with_servers(self.cell, [H1, H2]))

    def test_a_deleted_server_is_seen_only_by_who_asks_for_deleted_ones(self) -> None:
        one = self.place(vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING)
        instances.mark_deleted(self.cell, [one.uuid], LATER)
        self.assertIsNone(instances.get(self.cell, one.uuid))
        gone = instances.get(self.cell, one.uuid, with_deleted=True)
        assert gone is not None
        self.assertEqual(
            (True, VmState.DELETED, None, PowerState.NOSTATE, LATER),
            (gone.deleted, gone.vm_state, gone.task_state, gone.power_state, gone.terminated_at),
        )
        instances.mark_deleted(self.cell, [one.uuid], LATER + timedelta(days=1))
        self.assertEqual(gone, instances.get(self.cell, one.uuid, with_deleted=True))
        self.assertFalse(instances.update(self.cell, one.uuid, {"name": "x"}))


class TaskTest(InstancesCase):
    """Beginning a task is a compare-and-set."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.place(vm_state=VmState.ACTIVE, task_state=None)

    def _record(self, action: str, request: str = "req-2") -> InstanceAction:
        return InstanceAction(
            action=action,
            instance_uuid=self.server.uuid,
            request_id=RequestId(request),
            user_id=USER,
            project_id=PROJECT,
            started_at=LATER,
        )

    def _begin(self, action: str, request: str = "req-2", seen: Instance | None = None) -> bool:
        record = self._record(action, request)
        return tasks.begin(self.cell, seen or self.server, action, record) is not None

    def test_a_task_that_begins_is_seen_and_recorded(self) -> None:
        self.assertTrue(self._begin(Action.STOP))
        after = self.get(self.server.uuid)
        self.assertEqual((TaskState.POWERING_OFF, LATER), (after.task_state, after.updated_at))
        newest, creation = actions.list_actions(self.cell, self.server.uuid, EVERY)
        self.assertEqual(("stop", "create"), (newest.action, creation.action))

    def test_who_saw_another_state_begins_nothing_and_records_nothing(self) -> None:
        stopped = msgspec.structs.replace(self.server, vm_state=VmState.STOPPED)
        self.assertFalse(self._begin(Action.START, seen=stopped))
        self._begin(Action.STOP)
        self.assertFalse(self._begin(Action.STOP, "req-3"))
        self.assertEqual(2, len(actions.list_actions(self.cell, self.server.uuid, EVERY)))
        self.assertEqual(TaskState.POWERING_OFF, self.get(self.server.uuid).task_state)

    def test_a_task_that_may_begin_during_another_does(self) -> None:
        self._begin(HARD_REBOOT)
        self.assertTrue(self._begin(HARD_REBOOT, "req-3", self.get(self.server.uuid)))

    def test_a_delete_begins_whatever_was_seen(self) -> None:
        self._begin(Action.STOP)
        self.assertTrue(self._begin(Action.DELETE, "req-3"))
        self.assertEqual(TaskState.DELETING, self.get(self.server.uuid).task_state)
        instances.mark_deleted(self.cell, [self.server.uuid], LATER)
        self.assertFalse(self._begin(Action.DELETE, "req-4"))

    def test_of_many_that_begin_at_once_one_does(self) -> None:
        with ThreadPoolExecutor(8) as threads:
            begun = list(threads.map(lambda n: self._begin(Action.STOP, f"req-{n + 2}"), range(8)))
        self.assertEqual(1, sum(begun))
        self.assertEqual(2, len(actions.list_actions(self.cell, self.server.uuid, EVERY)))

    def test_a_task_is_undone_unless_another_took_its_place(self) -> None:
        begun = tasks.begin(self.cell, self.server, Action.STOP, self._record(Action.STOP))
        assert begun is not None
        tasks.undo(self.cell, self.server, begun, RequestId("req-2"), LATER)
        self.assertEqual(self.server, self.get(self.server.uuid))
        newest, _ = actions.list_actions(self.cell, self.server.uuid, EVERY)
        self.assertEqual("Error", newest.message)
        self._begin(Action.STOP, "req-3")
        self._begin(Action.DELETE, "req-4")
        tasks.undo(self.cell, self.server, begun, RequestId("req-3"), LATER)
        self.assertEqual(TaskState.DELETING, self.get(self.server.uuid).task_state)


class ChangeTest(InstancesCase):
    """Metadata and tags change under the row's lock."""

    def test_metadata_becomes_what_the_change_makes_of_it(self) -> None:
        one = self.place(metadata={"a": "1", "b": "2"})
        after = instances.change_metadata(
            self.cell, one.uuid, lambda items: {"b": items["b"] * 2, "c": "3"}
        )
        self.assertEqual({"b": "22", "c": "3"}, after)
        self.assertEqual(after, self.get(one.uuid).metadata)

    def test_changes_at_once_lose_none_of_each_other(self) -> None:
        one = self.place()

        def change(number: int) -> None:
            add = {f"k{number}": "v"}
            instances.change_metadata(self.cell, one.uuid, lambda items: items | add)
            instances.change_tags(self.cell, one.uuid, lambda tags: (*tags, f"t{number}"))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(change, range(16)))
        after = self.get(one.uuid)
        self.assertEqual({f"k{n}": "v" for n in range(16)}, after.metadata)
        self.assertEqual({f"t{n}" for n in range(16)}, set(after.tags))

    def test_what_a_change_of_tags_raises_changes_nothing(self) -> None:
        one = self.place(tags=("a",))

        def refuse(_tags: tuple[str, ...]) -> tuple[str, ...]:
            raise NotFound("no such tag")

        self.assertRaises(NotFound, instances.change_tags, self.cell, one.uuid, refuse)
        self.assertEqual(("a",), self.get(one.uuid).tags)
        self.assertEqual((), instances.change_tags(self.cell, one.uuid, lambda _: ()))
        self.assertEqual((), self.get(one.uuid).tags)

    def test_a_server_that_is_gone_is_not_changed(self) -> None:
        one = self.place()
        instances.mark_deleted(self.cell, [one.uuid], LATER)
        self.assertIsNone(instances.change_metadata(self.cell, one.uuid, dict))
        self.assertIsNone(instances.change_tags(self.cell, one.uuid, lambda _: ("a",)))


class PlacedTest(InstancesCase):
    """Many servers, delivered by several conductors at once."""

    def test_conductors_that_deliver_the_same_servers_at_once_write_each_once(self) -> None:
        some: list[Placed] = [placed() for _ in range(10)]

        def deliver(number: int) -> bool:
            instances.insert(self.cell, some if number % 2 else some[::-1])
            return True

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(deliver, range(4)))
        self.assertEqual(10, len(instances.of_host(self.cell, H1)))
        for one in some:
            self.assertEqual(1, len(actions.list_actions(self.cell, one.instance.uuid, EVERY)))
