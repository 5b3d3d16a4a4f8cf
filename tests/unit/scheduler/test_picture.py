"""Servers of one request see each other: groups, counts, and the scale on which hosts are weighed."""

from collections import Counter
from dataclasses import replace

import testtools

from kilonova.core.ids import HostName
from kilonova.core.scheduling import RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.scheduler import host_filters, neighbour_filters, weighers
from kilonova.scheduler.pipeline import Recipe, pick
from tests.unit.scheduler.fleet import MOMENT, fit, spec
from tests.unit.scheduler.test_pipeline import ask, hosts_of, recipe


def grouped(policy: str, limit: int = 1) -> RequestSpec:
    """Return a request for servers of a group."""
    return spec(group=GroupRule(group_uuid="g", policy=policy, max_server_per_host=limit))


GROUPS = Recipe(
    filters=(
        ("anti", neighbour_filters.group_anti_affinity),
        ("affinity", neighbour_filters.group_affinity),
        ("IoOps", host_filters.io_ops),
    ),
    weighers=(
        ("RAM", weighers.ram, 1.0),
        ("affine", weighers.soft_affinity, 10.0),
        ("anti", weighers.soft_anti_affinity, 10.0),
    ),
)


class GroupsTest(testtools.TestCase):
    """Servers of one request see each other."""

    def _spread(self, request: RequestSpec, count: int, **members: int) -> dict[str, int]:
        fits = [fit(f"h{n}", memory=9000 - 2000 * n) for n in range(3)]
        there = {HostName(name): n for name, n in members.items()}
        question = ask(count, request, moment=MOMENT.with_members(there))
        return dict(Counter(hosts_of(pick(question, fits, GROUPS).decisions)))

    def test_each_server_of_an_anti_affine_group_gets_a_host_of_its_own(self) -> None:
        self.assertEqual({"h0": 1, "h1": 1, "h2": 1}, self._spread(grouped("anti-affinity"), 5))
        self.assertEqual({"h0": 2, "h1": 2, "h2": 2}, self._spread(grouped("anti-affinity", 2), 9))

    def test_members_that_are_there_already_count(self) -> None:
        held = {"h0": 1, "h2": 2}
        self.assertEqual({"h0": 1, "h1": 2}, self._spread(grouped("anti-affinity", 2), 3, **held))

    def test_all_servers_of_an_affine_group_go_where_the_first_went(self) -> None:
        self.assertEqual({"h0": 5}, self._spread(grouped("affinity"), 5))

    def test_an_affine_group_stays_where_it_is_even_if_it_is_full(self) -> None:
        # 8 VCPUs are free on each host.
        self.assertEqual({"h0": 8}, self._spread(grouped("affinity"), 9))

    def test_soft_policies_prefer_and_do_not_refuse(self) -> None:
        self.assertEqual({"h1": 5}, self._spread(grouped("soft-affinity"), 5, h1=1))
        self.assertEqual(
            {"h0": 2, "h1": 1, "h2": 1}, self._spread(grouped("soft-anti-affinity"), 4)
        )

    def _tries(self, request: RequestSpec, count: int) -> list[list[str]]:
        """Return each server's host and its alternates, of four hosts in one cell and one in another."""
        fits = [fit(f"h{n}", memory=9000 - 2000 * n) for n in range(4)]
        fits.append(fit("far", cell="cell2", memory=600))
        decisions = pick(ask(count, request, alternates=2), fits, GROUPS).decisions
        return [[d.host for d in (one.destination, *one.alternates) if d] for one in decisions]

    def test_alternates_of_those_to_be_apart_are_hosts_that_none_of_them_went_to(self) -> None:
        apart = grouped("anti-affinity")
        self.assertEqual([["h0", "h1", "h2"]], self._tries(apart, 1))
        self.assertEqual([["h0", "h2", "h3"], ["h1", "h3", "h2"]], self._tries(apart, 2))
        crowd = self._tries(apart, 6)
        self.assertEqual([["h0"], ["h1"], ["h2"], ["h3"], ["far"], []], crowd)

    def test_a_host_with_a_place_left_is_an_alternate_for_another(self) -> None:
        pairs = self._tries(grouped("anti-affinity", 2), 7)
        self.assertEqual(["h0", "h0", "h1", "h1", "h2", "h2", "h3"], sorted(p[0] for p in pairs))
        self.assertEqual([["h3"]] * 7, [p[1:] for p in pairs])

    def test_those_that_belong_together_all_try_the_same_hosts_in_the_same_order(self) -> None:
        together = grouped("affinity")
        self.assertEqual([["h0", "h1", "h2"]] * 3, self._tries(together, 3))

    def test_those_that_join_others_try_no_other_host(self) -> None:
        question = ask(
            2, grouped("affinity"), alternates=2, moment=MOMENT.with_members({HostName("h1"): 1})
        )
        # The filters leave no other.
        decisions = pick(question, [fit("h1")], GROUPS).decisions
        self.assertEqual([(), ()], [decision.alternates for decision in decisions])

    def test_soft_wishes_change_no_alternates(self) -> None:
        self.assertEqual([["h0", "h1", "h2"]], self._tries(grouped("soft-anti-affinity"), 1))

    def test_a_filter_that_counts_servers_sees_those_of_the_same_request(self) -> None:
        moment = replace(MOMENT, max_io_ops_per_host=2)
        fits = [fit("h0", memory=90000), fit("h1", memory=4000)]
        decisions = pick(ask(9, moment=moment), fits, GROUPS).decisions
        self.assertEqual({"h0": 2, "h1": 2}, dict(Counter(hosts_of(decisions))))

    def test_members_of_other_decisions_are_not_changed(self) -> None:
        there: dict[HostName, int] = {}
        question = ask(2, grouped("anti-affinity"), moment=MOMENT.with_members(there))
        pick(question, [fit("h1"), fit("h2")], GROUPS)
        self.assertEqual({}, there)


class ScoresTest(testtools.TestCase):
    """The first hosts with each weigher's part."""

    how = Recipe(
        filters=(),
        weighers=(
            ("RAM", weighers.ram, 1.0),
            ("CPU", weighers.cpu, -2.0),
            ("none", weighers.disk, 0.0),
        ),
    )

    def test_the_best_hosts_are_told_with_the_parts_of_their_scores(self) -> None:
        fits = [
            fit("a", memory=4000, vcpu=8),
            fit("b", memory=8000, vcpu=6),
            fit("c", memory=6000, vcpu=4),
        ]
        best = pick(ask(2, explained=2), fits, self.how).best
        self.assertEqual(
            [("c", 0.5, {"RAM": 0.5, "CPU": 0.0}), ("b", 0.0, {"RAM": 1.0, "CPU": -1.0})],
            [(one.host, one.total, one.parts) for one in best],
        )

    def test_nothing_is_told_where_nobody_asks(self) -> None:
        self.assertEqual((), pick(ask(1), [fit("a")], self.how).best)

    def test_servers_of_one_request_are_weighed_on_the_scale_of_its_beginning(self) -> None:
        # 100 MiB apart: a server of 512 MiB puts a host far behind, and no rescaling brings it back.
        fits = [fit("a", memory=8100), fit("b", memory=8000)]
        decisions = pick(ask(4), fits, recipe()).decisions
        self.assertEqual(["a", "b", "a", "b"], hosts_of(decisions))
