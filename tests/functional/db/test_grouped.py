"""Builds of a group's servers that begin where others of the group are, at once or one after the other."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import testscenarios

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Wishes
from kilonova.core.report import InstanceReport
from kilonova.core.server_group import GroupRule, Member
from kilonova.core.states import TaskState, VmState
from kilonova.db import builds, grouped, instances, reports
from kilonova.db.engine import Database
from kilonova.db.reports import Applied
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase, statements_of
from tests.functional.db.servers import H1, H2, REQUEST, destination, placed

load_tests = testscenarios.load_tests_apply_scenarios

FULL = "the host has as many servers of the server group as may be"
ELSEWHERE = "other servers of its server group are on another host"
AT_ONCE = 6


def rule(policy: str, most: int = 1, number: int = 1) -> GroupRule:
    """Return the rule of a group."""
    uuid = f"99999999-0000-4000-8000-{number:012}"
    return GroupRule(group_uuid=uuid, policy=policy, max_server_per_host=most)


APART, TOGETHER = rule("anti-affinity"), rule("affinity")


class GroupedCase(DatabaseCase):
    """Members of groups wait on hosts."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")

    def place(self, group: GroupRule | None, *hosts: HostName) -> list[InstanceUuid]:
        """Write a member on each host and return them in order."""
        members = [placed(host=host, wishes=Wishes(group=group)) for host in hosts]
        instances.insert(self.cell, members)
        return [one.instance.uuid for one in members]

    def begins(
        self, uuid: InstanceUuid, group: GroupRule | None, epoch: int = 1, builder: str = ""
    ) -> InstanceReport:
        """Return the report with which a member's build begins."""
        return InstanceReport(
            instance_uuid=uuid,
            epoch=epoch,
            request_id=REQUEST,
            builder=builder or f"builder-of-{uuid}",
            task_state=TaskState.SPAWNING,
            group=group,
        )

    def begin(
        self, host: HostName, group: GroupRule | None, *uuids: InstanceUuid, epoch: int = 1
    ) -> Applied:
        """Begin builds on a host, in one batch."""
        batch = [self.begins(uuid, group, epoch) for uuid in uuids]
        return reports.apply(self.cell, host, batch, NOW)


class BeginningsTest(GroupedCase):
    """One after the other."""

    def test_a_second_on_one_host_does_not_begin_and_is_told_why(self) -> None:
        first, second, third = self.place(APART, H1, H1, H2)
        self.assertEqual(Applied(()), self.begin(H1, APART, first))
        self.assertEqual(Applied((0,), {0: FULL}), self.begin(H1, APART, second))
        self.assertEqual(Applied(()), self.begin(H2, APART, third))
        found = instances.get(self.cell, second)
        assert found is not None
        self.assertEqual(TaskState.SCHEDULING, found.task_state)

    def test_in_one_batch_the_first_begins(self) -> None:
        first, second = self.place(APART, H1, H1)
        self.assertEqual(Applied((1,), {1: FULL}), self.begin(H1, APART, first, second))

    def test_as_many_begin_as_the_group_allows(self) -> None:
        two = rule("anti-affinity", 2)
        members = self.place(two, H1, H1, H1)
        self.assertEqual((2,), self.begin(H1, two, *members).refused)

    def test_those_that_wait_on_a_host_are_in_nobodys_way(self) -> None:
        _, second = self.place(APART, H1, H1)
        self.assertEqual(Applied(()), self.begin(H1, APART, second))

    def test_the_first_to_begin_decides_where_those_that_belong_together_are(self) -> None:
        there, here, also_here = self.place(TOGETHER, H2, H1, H1)
        self.assertEqual(Applied(()), self.begin(H1, TOGETHER, here))
        self.assertEqual(Applied((0,), {0: ELSEWHERE}), self.begin(H2, TOGETHER, there))
        self.assertEqual(Applied(()), self.begin(H1, TOGETHER, also_here))

    def test_a_soft_wish_stops_nobody(self) -> None:
        for policy in ("soft-anti-affinity", "soft-affinity"):
            soft = rule(policy)
            first, second, third = self.place(soft, H1, H1, H2)
            self.assertEqual(Applied(()), self.begin(H1, soft, first, second))
            self.assertEqual(Applied(()), self.begin(H2, soft, third))

    def test_other_groups_and_servers_without_one_are_in_nobodys_way(self) -> None:
        other = rule("anti-affinity", number=2)
        (mine,), (others,), (nobodys,) = (self.place(g, H1) for g in (APART, other, None))
        self.begin(H1, other, others)
        self.begin(H1, None, nobodys)
        self.assertEqual(Applied(()), self.begin(H1, APART, mine))

    def test_a_builder_whose_answer_was_lost_may_ask_again(self) -> None:
        first, second = self.place(APART, H1, H1)
        self.begin(H1, APART, first)
        self.assertEqual(Applied(()), self.begin(H1, APART, first))
        self.assertEqual(Applied((0,), {0: FULL}), self.begin(H1, APART, second))

    def test_a_built_server_is_in_the_way_until_it_is_gone(self) -> None:
        first, second = self.place(APART, H1, H1)
        instances.update(self.cell, first, {"vm_state": VmState.ACTIVE, "task_state": None})
        self.assertEqual((0,), self.begin(H1, APART, second).refused)
        instances.update(self.cell, first, {"task_state": TaskState.DELETING})
        self.assertEqual((0,), self.begin(H1, APART, second).refused)
        instances.mark_deleted(self.cell, [first], NOW)
        self.assertEqual(Applied(()), self.begin(H1, APART, second))

    def test_nobody_follows_one_that_is_being_deleted(self) -> None:
        first, second = self.place(TOGETHER, H1, H2)
        deleting = {"vm_state": VmState.ACTIVE, "task_state": TaskState.DELETING}
        instances.update(self.cell, first, deleting)
        self.assertEqual(Applied(()), self.begin(H2, TOGETHER, second))

    def test_a_build_that_moved_away_is_in_nobodys_way_and_is_checked_where_it_went(self) -> None:
        first, second, third = self.place(APART, H1, H1, H2)
        self.begin(H1, APART, first)
        self.begin(H2, APART, third)
        self.assertTrue(builds.raise_epoch(self.cell, first, 1, NOW))
        self.assertTrue(builds.move(self.cell, (first, 2), (destination(H2, "z"),), NOW))
        self.assertEqual(Applied(()), self.begin(H1, APART, second))
        self.assertEqual((0,), self.begin(H2, APART, first, epoch=2).refused)

    def test_a_group_that_was_disbanded_rules_no_more(self) -> None:
        first, second = self.place(APART, H1, H1)
        self.begin(H1, APART, first)
        grouped.disband(self.cell, APART.group_uuid)
        self.assertEqual(Applied(()), self.begin(H1, APART, second))

    def test_a_cell_tells_where_its_members_are(self) -> None:
        here, there, leaving, gone, moving = self.place(APART, H1, H2, H1, H2, H1)
        self.place(rule("anti-affinity", number=2), H1)
        instances.update(self.cell, leaving, {"task_state": TaskState.DELETING})
        instances.update(self.cell, there, {"host": None})
        instances.update(self.cell, moving, {"vm_state": VmState.RESIZED, "task_state": None})
        instances.mark_deleted(self.cell, [gone], NOW)
        found = grouped.members_in(self.cell, APART.group_uuid)
        expected = {
            Member(here, H1),
            Member(there, None),
            Member(leaving, H1, leaving=True),
            Member(moving, H1, busy=True),
        }
        self.assertEqual(expected, set(found))

    def test_a_group_costs_one_statement_and_no_group_costs_none(self) -> None:
        for group, budget in ((None, 1), (rule("soft-affinity", number=2), 1), (APART, 2)):
            (uuid,) = self.place(group, H1)
            seen = statements_of(self.cell, lambda u=uuid, g=group: self.begin(H1, g, u))
            sent = [statement for statement in seen if not statement.startswith("BEGIN")]
            self.assertEqual(budget, len(sent), sent)


class AtOnceTest(GroupedCase):
    """Through several conductors at once, each with its own connections."""

    def at_once(
        self, group: GroupRule, sent: Sequence[tuple[HostName, InstanceUuid]]
    ) -> Counter[HostName]:
        """Begin members where they were sent, each through a conductor of its own; return who has begun."""
        url = self.cell.url.render_as_string(hide_password=False)
        conductors = [Database(url, pool_size=1) for _ in sent]
        for conductor in conductors:
            self.addCleanup(conductor.dispose)
            # Connected before the race.
            conductor.write(lambda connection: None)

        def begin(number: int) -> bool:
            host, uuid = sent[number]
            report = self.begins(uuid, group)
            return not reports.apply(conductors[number], host, [report], NOW).refused

        with ThreadPoolExecutor(len(sent)) as threads:
            begun = list(threads.map(begin, range(len(sent))))
        return Counter(host for (host, _), did in zip(sent, begun, strict=True) if did)

    def test_of_many_on_one_host_as_many_begin_as_the_group_allows(self) -> None:
        for number, most in enumerate((1, 2, 1, 3, 1)):
            group = rule("anti-affinity", most, number)
            members = self.place(group, *[H1] * AT_ONCE)
            begun = self.at_once(group, [(H1, uuid) for uuid in members])
            self.assertEqual({H1: most}, begun)

    def test_of_many_on_different_hosts_those_of_one_host_begin(self) -> None:
        for number in range(5):
            group = rule("affinity", number=number)
            hosts = [HostName(f"h{n % 3}") for n in range(AT_ONCE)]
            members = self.place(group, *hosts)
            begun = self.at_once(group, list(zip(hosts, members, strict=True)))
            self.assertEqual([2], list(begun.values()), begun)
