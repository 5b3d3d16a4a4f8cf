"""What a host lacks that Placement did not offer."""

import testtools

from kilonova.core.candidates import Group, Request
from kilonova.core.ids import ProviderUuid
from kilonova.scheduler.shortage import lacks, unsuited
from tests.unit.scheduler.fleet import rooms

ME = ProviderUuid("me")


class ShortageTest(testtools.TestCase):
    """Room first, then traits and place."""

    def test_the_first_class_that_runs_short_is_told_with_the_figures(self) -> None:
        wanted = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}
        for free, expected in (
            ({"memory": 400}, ("lack MEMORY_MB", "needs 512 MB, the best has 400 free", 112)),
            ({"vcpu": 0, "memory": 9}, ("lack VCPU", "needs 1, the best has 0 free", 1)),
            ({"disk": 9}, ("lack DISK_GB", "needs 10 GB, the best has 9 free", 1)),
        ):
            reason = lacks(wanted, rooms(**free))
            assert reason is not None
            self.assertEqual(expected, (reason.sentence, reason.nearest_miss, reason.short_by))

    def test_nothing_is_lacking_where_just_enough_is_free(self) -> None:
        wanted = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}
        self.assertIsNone(lacks(wanted, rooms(vcpu=1, memory=512, disk=10)))

    def test_a_host_without_any_figure_lacks_the_first_class(self) -> None:
        reason = lacks({"VCPU": 2}, {})
        assert reason is not None
        self.assertEqual(
            ("VCPU", "needs 2, the best has 0 free"), (reason.refused_by, reason.nearest_miss)
        )

    def test_what_else_a_host_has_not_is_told(self) -> None:
        for group, expected in (
            (Group(in_tree="other"), "are not the host that was asked for"),
            (Group(in_tree="me", required=(frozenset({"A"}),)), "lack trait A"),
            (Group(required=(frozenset({"C"}), frozenset({"B", "A"}))), "lack trait A or B"),
            (Group(forbidden=frozenset({"C"})), "have trait C, which must not be"),
            (
                Group(required=(frozenset({"C"}),), member_of=(frozenset({"agg"}),)),
                "are in none of the aggregates that were asked for",
            ),
            (Group(resources={"VCPU": 3}), "cannot give it in one piece"),
            (Group(suffix="1", required=(frozenset({"A"}),)), "cannot give it in one piece"),
        ):
            self.assertEqual(expected, unsuited(Request(groups=(group,)), ME, {"C"}).sentence)
