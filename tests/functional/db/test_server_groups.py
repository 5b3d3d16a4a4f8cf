"""Server groups in the API database: whose they are, who is in them, and how many there may be."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import sqlalchemy as sa
import testscenarios

from kilonova.core.errors import Invalid, NotFound, QuotaExceeded
from kilonova.core.ids import CellUuid, HostName, InstanceUuid, ProjectId, UserId
from kilonova.core.instance import Wishes
from kilonova.core.quota import Amount, Limits
from kilonova.core.server_group import Policy, ServerGroup
from kilonova.db import acceptance, build_requests, quotas, server_groups
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.api_schema import InstanceMapping
from kilonova.db.cells import Cell, create_cell
from kilonova.db.server_groups import Place
from kilonova.db.statements import table_of
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.databases import statements_of
from tests.functional.db.servers import PROJECT, accepted

load_tests = testscenarios.load_tests_apply_scenarios

CELL = CellUuid("11111111-1111-4111-8111-111111111111")
ROOMY = Limits(instances=-1, cores=-1, ram=-1, server_groups=-1, server_group_members=-1)
OTHERS = ProjectId("project-b")
_mappings = table_of(InstanceMapping)


def uuid_of(number: int) -> str:
    """Return a group's UUID."""
    return f"99999999-0000-4000-8000-{number:012}"


class ServerGroupsCase(ApiDatabaseTest):
    """What tests of groups do."""

    def setUp(self) -> None:
        super().setUp()
        create_cell(self.db, Cell(uuid=CELL, name="c", transport_url="", database_connection=""))

    def create(self, number: int = 1, limit: int = -1, **changed: object) -> ServerGroup:
        """Write a group and return it."""
        fields = {
            "uuid": uuid_of(number),
            "name": f"g{number}",
            "project_id": PROJECT,
            "user_id": UserId("ann"),
            "policy": Policy.ANTI_AFFINITY,
            "created_at": NOW,
        }
        group = ServerGroup(**fields | changed)  # type: ignore[arg-type]
        server_groups.create(self.db, group, Limits(server_groups=limit))
        return group

    def servers_in(self, group: ServerGroup, count: int) -> list[Accepted]:
        """Return so many servers of a group, not written yet."""
        return accepted(count, wishes=Wishes(group=group.rule()))

    def accept(
        self, group: ServerGroup, count: int = 1, limits: Limits = ROOMY
    ) -> list[InstanceUuid]:
        """Write so many servers of a group."""
        servers = self.servers_in(group, count)
        acceptance.accept(self.db, [Lot(servers, limits)])
        return [one.instance.uuid for one in servers]

    def members(self, group: ServerGroup) -> tuple[InstanceUuid, ...]:
        """Return a group's members."""
        return server_groups.get(self.db, group.uuid).members


class ServerGroupsTest(ServerGroupsCase):
    """Groups are a project's, and counted exactly."""

    def test_a_group_is_kept_as_it_was_made(self) -> None:
        made = self.create(max_server_per_host=3)
        self.assertEqual(made, server_groups.get(self.db, made.uuid))
        rule = server_groups.rule_of(self.db, made.uuid, PROJECT)
        self.assertEqual(made.rule(), rule)
        self.assertEqual(3, made.rule().max_server_per_host)

    def test_a_group_that_is_not_there_or_anothers_has_no_rule(self) -> None:
        made = self.create()
        self.assertRaises(NotFound, server_groups.get, self.db, uuid_of(2))
        self.assertIsNone(server_groups.rule_of(self.db, uuid_of(2), PROJECT))
        self.assertIsNone(server_groups.rule_of(self.db, made.uuid, OTHERS))
        self.assertEqual(
            [True, False], [server_groups.is_there(self.db, uuid_of(n)) for n in (1, 2)]
        )

    def test_lists_are_pages_of_one_project_or_of_all_in_order_of_creation(self) -> None:
        mine = [self.create(number) for number in (3, 1, 2)]
        other = self.create(4, project_id=OTHERS)

        def listed(project: ProjectId | None, limit: int = 10, offset: int = 0) -> list[str]:
            found = server_groups.list_groups(self.db, project, limit=limit, offset=offset)
            return [group.uuid for group in found]

        uuids = [group.uuid for group in mine]
        self.assertEqual(uuids, listed(PROJECT))
        self.assertEqual(uuids[1:2], listed(PROJECT, 1, 1))
        self.assertEqual([], listed(PROJECT, 10, 3))
        self.assertEqual([*uuids, other.uuid], listed(None))

    def test_a_list_is_two_statements_however_many_groups_and_members(self) -> None:
        for number in range(5):
            self.accept(self.create(number), 3)
        seen = statements_of(self.db, lambda: server_groups.list_groups(self.db, PROJECT, limit=10))
        self.assertEqual(2, len(seen), seen)

    def test_groups_over_the_quota_are_refused_and_a_deleted_one_makes_room(self) -> None:
        first = self.create(1, limit=1)
        error = self.assertRaises(QuotaExceeded, self.create, 2, limit=1)
        self.assertIn("Requested 1, but already used 1 of 1 server_groups", str(error))
        self.assertRaises(NotFound, server_groups.get, self.db, uuid_of(2))
        server_groups.delete(self.db, first)
        self.create(3, limit=1)
        self.assertEqual(Amount(server_groups=1), quotas.used_by(self.db, PROJECT))

    def test_of_many_groups_made_at_once_as_many_stand_as_the_quota_allows(self) -> None:
        self.assertEqual(5, self.many(lambda number: self.create(number, limit=5)))
        found = server_groups.list_groups(self.db, PROJECT, limit=100)
        self.assertEqual(5, len(found))
        self.assertEqual(5, quotas.used_by(self.db, PROJECT).server_groups)

    def many(self, attempt: Callable[[int], object]) -> int:
        """Try something sixteen times, by eight at once; return how often a quota allowed it."""

        def allowed(number: int) -> bool:
            try:
                attempt(number)
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(allowed, range(16)))

    def test_a_group_is_deleted_once(self) -> None:
        group = self.create()
        server_groups.delete(self.db, group)
        self.assertRaises(NotFound, server_groups.delete, self.db, group)
        self.assertEqual(0, quotas.used_by(self.db, PROJECT).server_groups)

    def test_accepted_servers_are_members_until_they_are_deleted(self) -> None:
        group = self.create()
        withdrawn, begun, kept = self.accept(group, 3)
        self.assertEqual((withdrawn, begun, kept), self.members(group))
        build_requests.withdraw(self.db, withdrawn)
        self.assertEqual((begun, kept), self.members(group))
        build_requests.take(self.db, [begun], "one", NOW)
        build_requests.settle(self.db, {begun: CELL}, "one")
        self.assertEqual((begun, kept), self.members(group))
        build_requests.queue_for_delete(self.db, begun)
        self.assertEqual((kept,), self.members(group))

    def test_members_over_the_quota_are_refused_and_nothing_is_written(self) -> None:
        group = self.create()
        limits = msgspec.structs.replace(ROOMY, server_group_members=3)
        before = self.accept(group, 2, limits)
        error = self.assertRaises(QuotaExceeded, self.accept, group, 2, limits)
        self.assertIn("Requested 2, but already used 2 of 3 server_group_members", str(error))
        self.assertEqual(tuple(before), self.members(group))
        self.assertEqual(2, quotas.used_by(self.db, PROJECT).instances)

    def test_of_many_members_that_join_at_once_as_many_do_as_the_quota_allows(self) -> None:
        group = self.create()
        limits = msgspec.structs.replace(ROOMY, server_group_members=5)
        self.assertEqual(5, self.many(lambda _: self.accept(group, 1, limits)))
        self.assertEqual(5, len(self.members(group)))
        self.assertEqual(5, quotas.used_by(self.db, PROJECT).instances)

    def test_a_deleted_group_leaves_its_servers_and_takes_no_more(self) -> None:
        group = self.create()
        (member,) = self.accept(group)
        server_groups.delete(self.db, group)
        self.assertRaises(Invalid, self.accept, group)
        self.assertEqual(1, quotas.used_by(self.db, PROJECT).instances)
        self.assertEqual((), server_groups.places_of(self.db, group.rule()))
        self.assertTrue(build_requests.withdraw(self.db, member))

    def test_nobody_is_in_a_group_that_was_deleted_while_servers_joined(self) -> None:
        groups = [self.create(number) for number in range(4)]

        def join_or_delete(number: int) -> None:
            group = groups[number % 4]
            try:
                if number // 4 == 2:
                    server_groups.delete(self.db, group)
                else:
                    self.accept(group)
            except Invalid:
                pass

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(join_or_delete, range(20)))
        query = sa.select(sa.func.count()).where(_mappings.c.group_uuid.is_not(None))
        self.assertEqual(0, self.db.query(lambda c: c.execute(query).scalar_one()))

    def test_a_server_without_a_group_costs_no_statement_more(self) -> None:
        seen = statements_of(self.db, lambda: acceptance.accept(self.db, [Lot(accepted(2), ROOMY)]))
        # The first also makes the project's row: tried, missed, made and tried again.
        seen = statements_of(self.db, lambda: acceptance.accept(self.db, [Lot(accepted(2), ROOMY)]))
        sent = [statement for statement in seen if not statement.startswith("BEGIN")]
        self.assertEqual(4, len(sent), sent)


class ChooseTest(ServerGroupsCase):
    """Hosts that are chosen while nobody else chooses."""

    def test_what_is_chosen_is_seen_by_the_next_who_chooses(self) -> None:
        group = self.create()
        first, second = self.accept(group, 2)
        h1 = HostName("h1")
        self.assertEqual(
            frozenset(), server_groups.choose(self.db, group.rule(), lambda _: {first: h1})
        )

        def judge(places: tuple[Place, ...]) -> dict[InstanceUuid, HostName | None]:
            self.assertEqual({Place(first, None, h1), Place(second, None, None)}, set(places))
            return {second: None}

        refused = server_groups.choose(self.db, group.rule(), judge)
        self.assertEqual(frozenset({second}), refused)

    def test_of_many_that_choose_one_host_at_once_one_gets_it(self) -> None:
        group = self.create()
        members = self.accept(group, 8)
        wanted = HostName("h1")

        def choose(uuid: InstanceUuid) -> bool:
            def judge(places: tuple[Place, ...]) -> dict[InstanceUuid, HostName | None]:
                taken = any(place.chosen_host == wanted for place in places)
                return {uuid: None if taken else wanted}

            return not server_groups.choose(self.db, group.rule(), judge)

        with ThreadPoolExecutor(8) as threads:
            self.assertEqual(1, sum(threads.map(choose, members)))
