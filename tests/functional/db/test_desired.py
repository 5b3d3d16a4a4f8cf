"""Desired servers in the API database: what is found, and who of two that want the same gets it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import testscenarios

from kilonova.core.desired import Desired, Ending, Slot, Template
from kilonova.core.errors import Conflict, DuplicateName, Invalid, NotFound, QuotaExceeded
from kilonova.core.ids import InstanceUuid, ProjectId, UserId
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.core.server_group import Policy, ServerGroup
from kilonova.db import desired as store
from kilonova.db import quotas, server_groups
from kilonova.db.desired import Filling
from kilonova.db.room import room_for
from tests.functional.db import servers
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.servers import PROJECT, USER

load_tests = testscenarios.load_tests_apply_scenarios

GROUP = "99999999-0000-4000-8000-000000000009"


def wanted(number: int = 1, **changed: Any) -> Desired:
    """Return three desired servers."""
    plain = Desired(
        uuid=f"dddddddd-0000-4000-8000-{number:012}",
        name=f"web{number}",
        project_id=PROJECT,
        user_id=USER,
        count=3,
        generation=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(plain, **changed)


def template(name: str = "web") -> Template:
    """Return what servers of 1 VCPU are made of."""
    made = servers.instance(name=name)
    spec = RequestSpec(project_id=PROJECT, user_id=USER, flavor=made.flavor, image=None)
    return Template(asked={"server": {"flavorRef": "1"}}, instance=made, spec=spec)


def filling(slot: Slot, **changed: Any) -> Filling:
    """Return a start at a slot that was seen so."""
    (accepted,) = servers.accepted(1, **changed)
    after = msgspec.structs.replace(slot, server=accepted.instance.uuid, generation=1)
    return Filling(slot, after, accepted)


class DesiredCase(ApiDatabaseTest):
    """Three desired servers."""

    def setUp(self) -> None:
        super().setUp()
        self.desired = wanted()
        self.uuid = self.desired.uuid
        store.create(self.db, self.desired, template(), None, Limits())

    def slots(self) -> list[Slot]:
        """Return the slots."""
        return store.slots_of(self.db, [self.uuid]).get(self.uuid, [])

    def start(self, *fillings: Filling, limits: Limits | None = None) -> list[InstanceUuid]:
        """Start servers."""
        return store.start(self.db, self.uuid, fillings, limits or Limits())

    def used(self) -> int:
        """Return how many servers are counted."""
        return quotas.used_by(self.db, PROJECT).instances


class FindTest(DesiredCase):
    """By UUID or by name, of a project's or of any."""

    def test_they_are_found_by_name_in_their_project_and_by_uuid_anywhere(self) -> None:
        for name, project in (
            ("web1", PROJECT),
            (self.uuid, PROJECT),
            (self.uuid, None),
        ):
            self.assertEqual(self.desired, store.find(self.db, name, project))
        for name, project in (
            ("web1", None),
            ("web1", ProjectId("project-b")),
            (self.uuid, ProjectId("project-b")),
            ("web2", PROJECT),
        ):
            self.assertRaises(NotFound, store.find, self.db, name, project)

    def test_a_name_is_given_once_in_a_project(self) -> None:
        again = wanted(2, name="web1")
        self.assertRaises(DuplicateName, store.create, self.db, again, template(), None, Limits())
        others = wanted(2, name="web1", project_id=ProjectId("project-b"))
        store.create(self.db, others, template(), None, Limits())
        self.assertEqual(others, store.find(self.db, "web1", ProjectId("project-b")))

    def test_a_project_has_a_hundred_of_them_at_most(self) -> None:
        for number in range(2, 101):
            store.create(self.db, wanted(number), template(), None, Limits())
        more = wanted(101)
        self.assertRaises(QuotaExceeded, store.create, self.db, more, template(), None, Limits())
        others = msgspec.structs.replace(more, project_id=ProjectId("project-b"))
        store.create(self.db, others, template(), None, Limits())

    def test_a_name_that_is_anothers_uuid_finds_that_one_by_its_uuid(self) -> None:
        store.create(self.db, wanted(2, name=self.uuid), template(), None, Limits())
        self.assertEqual(self.desired, store.find(self.db, self.uuid, PROJECT))

    def test_lists_are_of_a_project_or_of_all_page_by_page(self) -> None:
        others = wanted(2, project_id=ProjectId("project-b"))
        store.create(self.db, others, template(), None, Limits())
        self.assertEqual([self.desired], store.list_desired(self.db, PROJECT, limit=9))
        self.assertEqual([self.desired, others], store.list_desired(self.db, None, limit=9))
        self.assertEqual([self.desired], store.list_desired(self.db, None, limit=1))
        after = store.list_desired(self.db, None, after=self.uuid, limit=9)
        self.assertEqual([others], after)

    def test_what_they_are_made_of_is_found_as_it_was_written(self) -> None:
        found = store.template_of(self.db, self.uuid, 1)
        assert found is not None
        self.assertEqual("web", found.instance.name)
        self.assertEqual({"server": {"flavorRef": "1"}}, found.asked)
        self.assertIsNone(store.template_of(self.db, self.uuid, 2))


class StartTest(DesiredCase):
    """A server comes into its slot in the transaction that accepts it."""

    def test_a_server_is_accepted_into_its_slot(self) -> None:
        one, other = filling(Slot(number=0)), filling(Slot(number=2))
        started = self.start(one, other)
        self.assertEqual([one.after.server, other.after.server], started)
        self.assertEqual([one.after, other.after], self.slots())
        self.assertEqual(2, self.used())

    def test_a_slot_that_another_filled_is_left_out(self) -> None:
        first = filling(Slot(number=0))
        self.start(first)
        late, other = filling(Slot(number=0)), filling(Slot(number=1))
        self.assertEqual([other.after.server], self.start(late, other))
        self.assertEqual([first.after, other.after], self.slots())
        self.assertEqual(2, self.used())

    def test_a_start_that_saw_an_earlier_life_of_the_slot_does_nothing(self) -> None:
        once = filling(Slot(number=0))
        self.start(once)
        failed = Slot(number=0, generation=1, failures=1, failed_at=NOW, reason="r")
        self.assertTrue(store.move(self.db, self.uuid, once.after, failed))
        self.assertEqual([], self.start(filling(Slot(number=0))))
        self.assertEqual([failed], self.slots())

    def test_what_is_not_wanted_any_more_is_not_started(self) -> None:
        store.change(self.db, self.desired, count=1, template=None, now=NOW)
        self.assertEqual([], self.start(filling(Slot(number=1))))
        store.give_up(self.db, self.uuid, NOW)
        self.assertEqual([], self.start(filling(Slot(number=0))))
        self.assertEqual(([], 0), (self.slots(), self.used()))

    def test_a_quota_that_does_not_hold_them_all_leaves_everything_as_it_was(self) -> None:
        limits = Limits(instances=1)
        both = (filling(Slot(number=0)), filling(Slot(number=1)))
        self.assertRaises(QuotaExceeded, self.start, *both, limits=limits)
        self.assertEqual(([], 0), (self.slots(), self.used()))
        self.assertEqual(1, room_for(self.db, template().instance, limits, 2))
        self.assertEqual(1, len(self.start(both[0], limits=limits)))
        self.assertEqual(0, room_for(self.db, template().instance, limits, 2))

    def test_of_many_that_want_the_same_slots_at_once_one_gets_each(self) -> None:
        def start(_number: int) -> list[InstanceUuid]:
            return self.start(*(filling(Slot(number=n)) for n in range(3)))

        with ThreadPoolExecutor(6) as threads:
            won = [uuid for uuids in threads.map(start, range(12)) for uuid in uuids]
        self.assertEqual(3, len(won))
        self.assertEqual(sorted(won), sorted(str(slot.server) for slot in self.slots()))
        self.assertEqual(3, self.used())


class MoveTest(DesiredCase):
    """A slot changes by compare-and-set."""

    def test_a_slot_that_is_another_by_now_stays_so(self) -> None:
        first = filling(Slot(number=0))
        self.start(first)
        seen = first.after
        ending = msgspec.structs.replace(seen, ending=Ending.STOPPED)
        self.assertTrue(store.move(self.db, self.uuid, seen, ending))
        for changed in (
            {"server": InstanceUuid("00000000-0000-4000-8000-000000009999")},
            {"server": None},
            {"ending": None},
            {"ending": Ending.FAILED},
            {"failures": 1},
            {"generation": 2},
        ):
            stale = msgspec.structs.replace(ending, **changed)
            self.assertFalse(store.move(self.db, self.uuid, stale, Slot(number=0)), changed)
        self.assertEqual([ending], self.slots())
        # The same again, by one that broke off after it.
        self.assertTrue(store.move(self.db, self.uuid, ending, ending))

    def test_only_an_empty_slot_that_is_not_wanted_is_dropped(self) -> None:
        filled = filling(Slot(number=2))
        self.start(filled)
        self.assertFalse(store.drop(self.db, self.uuid, filled.after))
        store.change(self.db, self.desired, count=1, template=None, now=NOW)
        self.assertFalse(store.drop(self.db, self.uuid, filled.after))
        empty = msgspec.structs.replace(filled.after, server=None)
        store.move(self.db, self.uuid, filled.after, empty)
        self.assertTrue(store.drop(self.db, self.uuid, empty))
        self.assertEqual([], self.slots())

    def test_nothing_is_written_for_what_is_gone(self) -> None:
        store.give_up(self.db, self.uuid, NOW)
        self.assertTrue(store.finish(self.db, self.uuid))
        self.assertFalse(store.move(self.db, self.uuid, Slot(number=0), Slot(number=0)))
        self.assertEqual([], self.start(filling(Slot(number=0))))
        self.assertEqual([], self.slots())


class ChangeTest(DesiredCase):
    """Scale, replace, and the end."""

    def test_a_count_and_a_generation_are_set(self) -> None:
        later = NOW + timedelta(seconds=1)
        scaled = store.change(self.db, self.desired, count=7, template=None, now=later)
        self.assertEqual((7, 1, later), (scaled.count, scaled.generation, scaled.updated_at))
        replaced = store.change(self.db, scaled, count=None, template=template("new"), now=later)
        self.assertEqual((7, 2), (replaced.count, replaced.generation))
        self.assertEqual(replaced, store.find(self.db, self.uuid, None))
        found = store.template_of(self.db, self.uuid, 2)
        assert found is not None
        self.assertEqual("new", found.instance.name)

    def test_of_two_replaces_at_once_one_is_refused(self) -> None:
        store.change(self.db, self.desired, count=None, template=template(), now=NOW)
        error = self.assertRaises(
            Conflict, store.change, self.db, self.desired, count=None, template=template(), now=NOW
        )
        self.assertIn("Another replaces", str(error))

    def test_a_generation_is_kept_for_as_long_as_a_slot_is_of_it(self) -> None:
        one = filling(Slot(number=0))
        self.start(one)
        changed = self.desired
        for _ in range(3):
            changed = store.change(self.db, changed, count=None, template=template(), now=NOW)
        kept = [n for n in range(1, 5) if store.template_of(self.db, self.uuid, n)]
        self.assertEqual([1, 3, 4], kept)

    def test_what_is_being_deleted_changes_no_more_and_is_forgotten_with_its_group(self) -> None:
        group = ServerGroup(
            uuid=GROUP,
            name="web2",
            project_id=PROJECT,
            user_id=UserId("ann"),
            policy=Policy.ANTI_AFFINITY,
            created_at=NOW,
        )
        made = wanted(2, group_uuid=GROUP)
        store.create(self.db, made, template(), group, Limits())
        self.assertEqual(1, quotas.used_by(self.db, PROJECT).server_groups)
        self.assertFalse(store.finish(self.db, made.uuid))
        store.give_up(self.db, made.uuid, NOW)
        self.assertRaises(Conflict, store.change, self.db, made, count=1, template=None, now=NOW)
        self.assertTrue(store.finish(self.db, made.uuid))
        self.assertFalse(store.finish(self.db, made.uuid))
        self.assertRaises(NotFound, store.find, self.db, made.uuid, None)
        self.assertRaises(NotFound, store.give_up, self.db, made.uuid, NOW)
        self.assertFalse(server_groups.is_there(self.db, GROUP))
        self.assertEqual(0, quotas.used_by(self.db, PROJECT).server_groups)
        self.assertEqual([self.desired], store.list_desired(self.db, None, limit=9))

    def test_they_are_not_forgotten_while_a_slot_is_left(self) -> None:
        one = filling(Slot(number=0))
        self.start(one)
        store.give_up(self.db, self.uuid, NOW)
        self.assertFalse(store.finish(self.db, self.uuid))
        empty = Slot(number=0, generation=1)
        store.move(self.db, self.uuid, one.after, empty)
        self.assertFalse(store.finish(self.db, self.uuid))
        self.assertTrue(store.drop(self.db, self.uuid, empty))
        self.assertTrue(store.finish(self.db, self.uuid))

    def test_a_group_that_its_owner_deleted_is_told_and_keeps_nothing_back(self) -> None:
        group = ServerGroup(
            uuid=GROUP,
            name="web2",
            project_id=PROJECT,
            user_id=UserId("ann"),
            policy=Policy.AFFINITY,
            created_at=NOW,
        )
        made = wanted(2, group_uuid=GROUP)
        store.create(self.db, made, template(), group, Limits())
        server_groups.delete(self.db, group)
        wishes = msgspec.structs.replace(servers.instance().wishes, group=group.rule())
        late = filling(Slot(number=0), wishes=wishes)
        self.assertRaises(Invalid, store.start, self.db, made.uuid, [late], Limits())
        store.give_up(self.db, made.uuid, NOW)
        self.assertTrue(store.finish(self.db, made.uuid))
