"""What a server group asks of the hosts of its servers."""

from datetime import datetime

import testtools

from kilonova.core.ids import HostName, InstanceUuid, ProjectId, UserId
from kilonova.core.server_group import GroupRule, Member, Policy, ServerGroup, by_host

H1, H2 = HostName("h1"), HostName("h2")
ON_H1 = {H1: 1}
TWO_ON_H1 = {H1: 2, H2: 1}


def rule(policy: str, most: int = 1) -> GroupRule:
    """Return the rule of a group."""
    return GroupRule(group_uuid="g", policy=policy, max_server_per_host=most)


class RuleTest(testtools.TestCase):
    """Where one more server may be."""

    def test_a_rule_allows_a_host_or_not_by_where_the_others_are(self) -> None:
        for what, asked, host, members, allowed in (
            ("apart, nobody is there", rule("anti-affinity"), H1, {}, True),
            ("apart, one is there", rule("anti-affinity"), H1, ON_H1, False),
            ("apart, one is elsewhere", rule("anti-affinity"), H2, ON_H1, True),
            ("two on a host, one is there", rule("anti-affinity", 2), H1, ON_H1, True),
            ("two on a host, two are there", rule("anti-affinity", 2), H1, TWO_ON_H1, False),
            ("together, nobody is anywhere", rule("affinity"), H1, {}, True),
            ("together, nobody is left", rule("affinity"), H1, {H2: 0}, True),
            ("together, one is there", rule("affinity"), H1, ON_H1, True),
            ("together, one is elsewhere", rule("affinity"), H2, ON_H1, False),
            ("together, they were parted", rule("affinity"), H2, TWO_ON_H1, True),
            ("softly apart", rule("soft-anti-affinity"), H1, TWO_ON_H1, True),
            ("softly together", rule("soft-affinity"), H2, ON_H1, True),
        ):
            self.assertEqual(allowed, asked.allows(host, members), what)

    def test_only_hard_policies_can_refuse_and_say_why_without_naming_a_host(self) -> None:
        hard = [policy for policy in Policy if rule(policy).is_hard]
        self.assertEqual([Policy.AFFINITY, Policy.ANTI_AFFINITY], hard)
        sentences = {rule(policy).refusal() for policy in hard}
        self.assertEqual(2, len(sentences))

    def test_one_on_a_host_is_what_a_group_means_that_names_no_number(self) -> None:
        for named, means in ((None, 1), (3, 3)):
            group = ServerGroup(
                uuid="g",
                name="n",
                project_id=ProjectId("p"),
                user_id=UserId("u"),
                policy=Policy.ANTI_AFFINITY,
                max_server_per_host=named,
                created_at=datetime(2026, 5, 1),
            )
            self.assertEqual(rule("anti-affinity", means), group.rule())


class ByHostTest(testtools.TestCase):
    """How many members count on each host."""

    def test_those_that_leave_keep_others_away_and_draw_nobody(self) -> None:
        members = [
            Member(InstanceUuid("a"), H1),
            Member(InstanceUuid("b"), H1, leaving=True),
            Member(InstanceUuid("c"), H2, leaving=True),
            Member(InstanceUuid("d"), None),
        ]
        for policy, counts in (
            ("anti-affinity", TWO_ON_H1),
            ("soft-anti-affinity", TWO_ON_H1),
            ("affinity", ON_H1),
            ("soft-affinity", ON_H1),
        ):
            self.assertEqual(counts, by_host(rule(policy), members), policy)
