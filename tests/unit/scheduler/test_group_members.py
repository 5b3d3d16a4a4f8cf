"""Where members of a group count, and who may go where when several are wanted there."""

from collections import Counter

import testtools

from kilonova.core.ids import CELL0, CellUuid, HostName, InstanceUuid
from kilonova.core.server_group import GroupRule, Member
from kilonova.db.server_groups import Place
from kilonova.scheduler.group_members import admitted, near_hosts, only_host, standing
from tests.unit.scheduler.fleet import spec

CELL = CellUuid("11111111-1111-4111-8111-111111111111")
H1, H2, H3, H4 = (HostName(f"h{n}") for n in range(1, 5))
A, B, C, D = (InstanceUuid(name) for name in "abcd")


def rule(policy: str, most: int = 1) -> GroupRule:
    """Return the rule of a group."""
    return GroupRule(group_uuid="g", policy=policy, max_server_per_host=most)


class StandingTest(testtools.TestCase):
    """A member is where its cell says, or else where it was to go."""

    def test_one_without_a_cell_is_where_a_scheduler_sent_it(self) -> None:
        places = [Place(A, None, H1), Place(B, None, None)]
        self.assertEqual([Member(A, H1), Member(B, None)], standing([], places, ()))

    def test_what_its_cell_says_of_a_member_counts(self) -> None:
        places = [Place(A, CELL, H1), Place(B, CELL, H1), Place(C, CELL, H1)]
        found = [Member(A, H2), Member(B, None)]
        # The third was mapped after the cell was asked.
        expected = [Member(A, H2), Member(B, None), Member(C, H1)]
        self.assertEqual(expected, standing(found, places, ()))

    def test_one_that_may_be_moving_is_in_both_places(self) -> None:
        places = [Place(A, CELL, H2), Place(B, CELL, H1), Place(C, CELL, None)]
        found = [Member(uuid, H1, busy=True) for uuid in (A, B, C, D)]
        expected = Counter({H1: 4, H2: 1, None: 1})
        self.assertEqual(expected, Counter(m.host for m in standing(found, places, ())))
        self.assertEqual([], standing(found[:1], places[:1], (A,)))

    def test_one_that_never_got_a_host_is_nowhere(self) -> None:
        self.assertEqual([], standing([], [Place(A, CELL0, H1)], ()))

    def test_those_that_are_asked_for_are_left_out(self) -> None:
        places = [Place(A, None, H1), Place(B, None, H1)]
        self.assertEqual([Member(B, H1)], standing([Member(C, H2)], places, (A, C)))

    def test_one_that_is_being_deleted_is_where_its_cell_says(self) -> None:
        leaving = Member(A, H1, leaving=True)
        self.assertEqual([leaving], standing([leaving], [], ()))


class AdmittedTest(testtools.TestCase):
    """Of several picks, those that the rule allows one after the other."""

    def test_those_to_be_apart_get_their_hosts_as_long_as_nobody_has_them(self) -> None:
        wanted = {A: H1, B: H2, C: H2, D: H3}
        self.assertEqual(
            {A: None, B: H2, C: None, D: H3}, admitted(rule("anti-affinity"), wanted, {H1: 1})
        )
        two = rule("anti-affinity", 2)
        self.assertEqual({A: H1, B: H2, C: H2, D: H3}, admitted(two, wanted, {H1: 1}))

    def test_those_that_belong_together_follow_the_first_or_those_that_are_there(self) -> None:
        wanted = {A: H1, B: H2, C: H1}
        together = rule("affinity")
        self.assertEqual({A: H1, B: None, C: H1}, admitted(together, wanted, {}))
        self.assertEqual({A: None, B: H2, C: None}, admitted(together, wanted, {H2: 1}))

    def test_a_soft_wish_refuses_nothing(self) -> None:
        wanted = {A: H1, B: H1}
        self.assertEqual(wanted, admitted(rule("soft-anti-affinity"), wanted, {H1: 3}))


class WantedHostsTest(testtools.TestCase):
    """Hosts that a sample of a large fleet must not lack."""

    def test_an_affinity_with_members_on_one_host_leaves_that_one(self) -> None:
        for policy, members, expected in (
            ("affinity", {}, None),
            ("affinity", {H1: 2}, H1),
            ("affinity", {H1: 2, H2: 1}, None),
            ("anti-affinity", {H1: 2}, None),
            ("soft-affinity", {H1: 2}, None),
        ):
            self.assertEqual(expected, only_host(spec(group=rule(policy)), members), policy)
        self.assertIsNone(only_host(spec(), {}))

    def test_a_soft_affinity_likes_the_hosts_with_most_members_best(self) -> None:
        members = {H1: 1, H2: 4, H3: 2, H4: 3}
        self.assertEqual([H2, H4, H3], near_hosts(spec(group=rule("soft-affinity")), members))
        self.assertEqual([], near_hosts(spec(group=rule("soft-anti-affinity")), members))
        self.assertEqual([], near_hosts(spec(), members))
