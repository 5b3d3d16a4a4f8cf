"""What a tree must have: the values that a query is made of."""

import testtools

from kilonova.core.candidates import Group, Need, Request
from kilonova.placement.candidates_needs import asks_one_provider, needs, only_roots
from tests.unit.placement.fleets import SHARES, lone, stock

POOL = lone(
    "pool", stock={"DISK_GB": stock(100)}, traits=(SHARES, "COMPUTE_NODE"), aggregates=("rack",)
)


class NeedsTest(testtools.TestCase):
    """Each group has its needs."""

    def test_the_group_without_a_suffix_needs_each_class_by_itself(self) -> None:
        group = Group(resources={"VCPU": 2, "DISK_GB": 5}, forbidden=frozenset({"HW_CPU_X86_SSE"}))
        disk, cpu = needs(Request(groups=(group,)), ())
        self.assertEqual((("DISK_GB", 5),), disk.resources)
        self.assertEqual((("VCPU", 2),), cpu.resources)
        self.assertTrue(disk.spans and cpu.spans)
        self.assertEqual(group.forbidden, cpu.forbidden)

    def test_a_group_with_a_suffix_needs_all_in_one_place_and_like_groups_need_it_once(
        self,
    ) -> None:
        groups = tuple(Group(suffix=s, resources={"VCPU": 2, "DISK_GB": 5}) for s in ("1", "2"))
        (need,) = needs(Request(groups=groups), ())
        self.assertEqual(Need(resources=(("DISK_GB", 5), ("VCPU", 2))), need)

    def test_what_a_pool_gives_may_be_had_through_its_aggregates(self) -> None:
        trait = (frozenset({"COMPUTE_NODE"}),)
        group = Group(resources={"VCPU": 2, "DISK_GB": 5}, required=trait)
        disk, cpu, node = needs(Request(groups=(group,)), (POOL,))
        self.assertEqual({"rack"}, disk.shared)
        self.assertEqual(frozenset(), cpu.shared)
        self.assertEqual({"rack"}, node.shared)
        too_much = Group(resources={"VCPU": 2, "DISK_GB": 500})
        self.assertEqual(frozenset(), needs(Request(groups=(too_much,)), (POOL,))[0].shared)

    def test_a_group_in_a_tree_adds_none(self) -> None:
        group = Group(resources={"VCPU": 1}, in_tree="host")
        self.assertEqual((), needs(Request(groups=(group,)), ()))


class RootsTest(testtools.TestCase):
    """Where a request can be served at all."""

    def _roots(self, *groups: Group) -> frozenset[str] | None:
        return only_roots(Request(groups=groups), (POOL,))

    def test_anywhere_unless_a_tree_is_named(self) -> None:
        cpu = Group(resources={"VCPU": 1})
        self.assertIsNone(self._roots(cpu))
        named = Group(suffix="1", resources={"VCPU": 1}, in_tree="host")
        self.assertEqual({"host"}, self._roots(cpu, named))

    def test_nowhere_if_two_are(self) -> None:
        groups = [
            Group(suffix=tree, resources={"VCPU": 1}, in_tree=tree) for tree in ("host", "far")
        ]
        self.assertEqual(frozenset(), self._roots(*groups))

    def test_what_a_named_pool_gives_is_used_anywhere(self) -> None:
        disk = {"DISK_GB": 5}
        self.assertIsNone(self._roots(Group(suffix="1", resources=disk, in_tree="pool")))
        self.assertEqual({"pool"}, self._roots(Group(resources=disk, in_tree="pool")))

    def test_one_provider_is_asked_only_where_its_own_tree_will_do(self) -> None:
        def asks(group: Group, **more: frozenset[str]) -> bool:
            return asks_one_provider(Request(groups=(group,), **more))

        self.assertTrue(asks(Group(resources={"VCPU": 1})))
        self.assertTrue(asks(Group(suffix="1", resources={"VCPU": 1, "DISK_GB": 1})))
        self.assertFalse(asks(Group(resources={"VCPU": 1, "DISK_GB": 1})))
        self.assertFalse(asks(Group(resources={"VCPU": 1}, not_member_of=frozenset({"rack"}))))
        self.assertFalse(asks(Group(resources={"VCPU": 1}), root_required=frozenset({"A"})))
