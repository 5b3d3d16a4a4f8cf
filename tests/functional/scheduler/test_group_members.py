"""What several schedulers know and agree on of a group's members, over the databases of several cells."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import testscenarios

from kilonova.core.ids import (
    CELL0,
    CellUuid,
    HostName,
    InstanceUuid,
    NodeName,
    ProviderUuid,
    UserId,
)
from kilonova.core.instance import Wishes
from kilonova.core.quota import Limits
from kilonova.core.scheduling import Decision, Destination
from kilonova.core.server_group import GroupRule, Policy, ServerGroup
from kilonova.db import acceptance, build_requests, instances, server_groups
from kilonova.db.acceptance import Lot
from kilonova.db.cells import Cell, Cells, create_cell
from kilonova.db.engine import Database
from kilonova.scheduler.group_members import GroupMembers
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.servers import H1, H2, PROJECT, accepted, placed

load_tests = testscenarios.load_tests_apply_scenarios

CELL1 = CellUuid("11111111-1111-4111-8111-111111111111")
CELL2 = CellUuid("22222222-2222-4222-8222-222222222222")
ROOMY = Limits(instances=-1, cores=-1, ram=-1, server_group_members=-1)
SCHEDULERS = 4


def destination(host: str) -> Destination:
    """Return a host as where a server goes."""
    return Destination(
        host=HostName(host),
        node=NodeName(host),
        cell_uuid=CELL1,
        provider_uuid=ProviderUuid(host),
        availability_zone="nova",
        allocation={},
    )


class GroupMembersCase(ApiDatabaseTest):
    """Two cells and cell0."""

    def setUp(self) -> None:
        super().setUp()
        self.databases: dict[CellUuid, Database] = {}
        for name, uuid in (("cell0", CELL0), ("cell1", CELL1), ("cell2", CELL2)):
            database = self.databases[uuid] = self.open(name, "cell")
            url = database.url.render_as_string(hide_password=False)
            create_cell(
                self.db, Cell(uuid=uuid, name=name, transport_url="", database_connection=url)
            )

    def group(self, policy: str, number: int = 1) -> GroupRule:
        """Make a group and return its rule."""
        made = ServerGroup(
            uuid=f"99999999-0000-4000-8000-{number:012}",
            name="g",
            project_id=PROJECT,
            user_id=UserId("ann"),
            policy=Policy(policy),
            created_at=NOW,
        )
        server_groups.create(self.db, made, Limits(server_groups=-1))
        return made.rule()

    def join(self, rule: GroupRule, count: int) -> list[InstanceUuid]:
        """Accept new members."""
        servers = accepted(count, wishes=Wishes(group=rule))
        acceptance.accept(self.db, [Lot(servers, ROOMY)])
        return [one.instance.uuid for one in servers]

    def put(
        self, rule: GroupRule, uuid: InstanceUuid, cell: CellUuid, host: HostName | None
    ) -> None:
        """Write a member into a cell and map it there, as a super conductor does."""
        one = placed(uuid=uuid, host=host, wishes=Wishes(group=rule))
        instances.insert(self.databases[cell], [one])
        build_requests.take(self.db, [uuid], "driver", NOW)
        build_requests.settle(self.db, {uuid: cell}, "driver")

    def scheduler(self, rule: GroupRule) -> GroupMembers:
        """Return what one scheduler knows, over connections of its own."""
        api_db = Database(self.db.url.render_as_string(hide_password=False), pool_size=1)
        cells = Cells(api_db, pool_size=1)
        self.addCleanup(api_db.dispose)
        self.addCleanup(cells.dispose)
        return GroupMembers(api_db, cells, rule)

    def choose(
        self, members: GroupMembers, wanted: dict[InstanceUuid, str]
    ) -> frozenset[InstanceUuid]:
        """Choose hosts; return whose choice is refused."""
        picked = [
            Decision(instance_uuid=uuid, destination=destination(host))
            for uuid, host in wanted.items()
        ]
        return members.choose(picked)


class LookTest(GroupMembersCase):
    """Where members are."""

    def test_members_are_counted_in_every_cell_and_on_their_way(self) -> None:
        rule = self.group("anti-affinity")
        a, b, c, d, e, f = self.join(rule, 6)
        self.put(rule, a, CELL1, H1)
        self.put(rule, b, CELL2, H2)
        self.put(rule, c, CELL0, None)
        self.choose(self.scheduler(rule), {c: "h7", d: "h4", e: "h5"})
        look = self.scheduler(rule).look
        self.assertEqual({H1: 1, H2: 1, "h4": 1, "h5": 1}, look(besides=[f]))
        self.assertEqual({H1: 1, H2: 1, "h5": 1}, look(besides=[d]))

    def test_a_build_that_went_to_an_alternate_counts_there_and_a_failed_one_nowhere(self) -> None:
        rule = self.group("anti-affinity")
        moved, failed = self.join(rule, 2)
        self.choose(self.scheduler(rule), {moved: "h1", failed: "h5"})
        self.put(rule, moved, CELL1, H2)
        self.put(rule, failed, CELL1, None)
        self.assertEqual({H2: 1}, self.scheduler(rule).look(besides=()))

    def test_choices_that_came_to_nothing_are_forgotten(self) -> None:
        rule = self.group("anti-affinity")
        (a,) = self.join(rule, 1)
        scheduler = self.scheduler(rule)
        self.choose(scheduler, {a: "h1"})
        scheduler.let_go([a])
        self.assertEqual({}, scheduler.look(besides=()))

    def test_a_deleted_group_has_no_members(self) -> None:
        rule = self.group("anti-affinity")
        (a,) = self.join(rule, 1)
        self.choose(self.scheduler(rule), {a: "h1"})
        server_groups.delete(self.db, server_groups.get(self.db, rule.group_uuid))
        self.assertEqual({}, self.scheduler(rule).look(besides=()))


class ChooseTest(GroupMembersCase):
    """Schedulers that looked at the same picture agree."""

    def test_a_member_that_was_placed_after_the_look_is_seen_by_the_choice(self) -> None:
        rule = self.group("anti-affinity")
        a, b = self.join(rule, 2)
        late = self.scheduler(rule)
        late.look(besides=[b])
        self.choose(self.scheduler(rule), {a: "h1"})
        self.put(rule, a, CELL1, H1)
        self.assertEqual(frozenset({b}), self.choose(late, {b: "h1"}))
        self.assertEqual(frozenset(), self.choose(late, {b: "h2"}))

    def test_a_member_that_is_chosen_for_anew_is_not_in_its_own_way(self) -> None:
        rule = self.group("anti-affinity")
        (a,) = self.join(rule, 1)
        scheduler = self.scheduler(rule)
        for host in ("h1", "h1", "h2"):
            self.assertEqual(frozenset(), self.choose(scheduler, {a: host}))

    def test_a_soft_wish_gives_way_to_who_chose_since_the_look_but_not_for_ever(self) -> None:
        rule = self.group("soft-anti-affinity")
        mine, *others = self.join(rule, 10)
        scheduler = self.scheduler(rule)
        answers = []
        for other in others[:7]:
            scheduler.look(besides=[mine])
            another = self.scheduler(rule)
            another.look(besides=[other])
            self.choose(another, {other: "h1"})
            answers.append(self.choose(scheduler, {mine: "h1"}) == {mine})
        self.assertEqual([True] * 5 + [False] * 2, answers)

    def test_a_soft_wish_that_nobody_came_before_is_taken_at_once(self) -> None:
        rule = self.group("soft-anti-affinity")
        first, second = self.join(rule, 2)
        for uuid in (first, second):
            scheduler = self.scheduler(rule)
            scheduler.look(besides=[uuid])
            self.assertEqual(frozenset(), self.choose(scheduler, {uuid: "h1"}))

    def test_at_once_each_host_goes_to_one_of_those_that_are_to_be_apart(self) -> None:
        for number in range(3):
            rule = self.group("anti-affinity", number)
            chosen = self._race(rule, lambda _, turn: f"h{turn}")
            self.assertEqual({"h0": 1, "h1": 1, "h2": 1}, chosen)

    def test_at_once_all_that_belong_together_get_one_host(self) -> None:
        for number in range(3):
            rule = self.group("affinity", number)
            chosen = self._race(rule, lambda scheduler, _: f"h{scheduler}")
            self.assertEqual([3], list(chosen.values()), chosen)

    def _race(self, rule: GroupRule, host_of: Callable[[int, int], str]) -> Counter[str]:
        """Let schedulers that see nobody choose for three members each; count who got which host."""
        members = self.join(rule, 3 * SCHEDULERS)
        schedulers = [self.scheduler(rule) for _ in range(SCHEDULERS)]
        together = Barrier(SCHEDULERS)

        def choose(number: int) -> list[str]:
            mine = members[3 * number : 3 * number + 3]
            wanted = {uuid: host_of(number, turn) for turn, uuid in enumerate(mine)}
            schedulers[number].look(besides=mine)
            together.wait(10)
            refused = self.choose(schedulers[number], wanted)
            return [host for uuid, host in wanted.items() if uuid not in refused]

        with ThreadPoolExecutor(SCHEDULERS) as threads:
            return Counter(h for got in threads.map(choose, range(SCHEDULERS)) for h in got)
