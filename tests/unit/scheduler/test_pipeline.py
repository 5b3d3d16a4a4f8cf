"""The decision: who is refused with what counted, and who is picked."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import testtools

from kilonova.core.scheduling import Decision, HostState, Reason, RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.scheduler import host_filters, weighers
from kilonova.scheduler.filters import Moment, about
from kilonova.scheduler.fit import Fit, amounts_of
from kilonova.scheduler.pipeline import Question, Recipe, Refusals, Sifted, pick, sift
from tests.unit.scheduler.fleet import CELL, MOMENT, NOW, fit, flavor, host, spec, uuids


def recipe(*, ram: float = 1.0, subset_size: int = 1) -> Recipe:
    """Return the usual filters, and weighers of which memory counts so much."""
    return Recipe(
        filters=(
            ("requested host", host_filters.forced),
            ("ComputeFilter", host_filters.compute),
            ("AvailabilityZoneFilter", host_filters.availability_zone),
        ),
        weighers=(("RAM", weighers.ram, ram), ("CPU", weighers.cpu, 0.0)),
        subset_size=subset_size,
    )


def ask(count: int, request: RequestSpec | None = None, **changed: Any) -> Question:
    """Return the question where so many servers go."""
    usual = {"moment": MOMENT, "seed": 1}
    return Question(spec=request or spec(), instances=uuids(count), **usual | changed)


def choose(
    fits: Sequence[Fit],
    count: int,
    *,
    alternates: int = 0,
    seed: int = 1,
    how: Recipe | None = None,
) -> list[Decision]:
    """Pick hosts for so many servers."""
    question = ask(count, alternates=alternates, seed=seed)
    return pick(question, fits, how or recipe()).decisions


def hosts_of(decisions: Sequence[Decision]) -> list[str]:
    """Return the hosts of decisions, in order; a server that got none is left out."""
    return [d.destination.host for d in decisions if d.destination]


class PickTest(testtools.TestCase):
    """From hosts that passed, with their room."""

    def test_every_server_gets_a_decision_in_the_order_in_which_it_was_asked_for(self) -> None:
        decisions = choose([fit("h1"), fit("h2")], 5)
        self.assertEqual(uuids(5), [decision.instance_uuid for decision in decisions])
        self.assertEqual(5, len(hosts_of(decisions)))

    def test_a_destination_is_the_host_with_its_cell_zone_and_allocation(self) -> None:
        (decision,) = choose([fit("h1", cell="c9")], 1)
        chosen = decision.destination
        assert chosen is not None
        self.assertEqual(
            ("h1", "h1.example", "c9", "provider-of-h1", "nova"),
            (
                chosen.host,
                chosen.node,
                chosen.cell_uuid,
                chosen.provider_uuid,
                chosen.availability_zone,
            ),
        )
        self.assertEqual(
            {"provider-of-h1": {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}}, chosen.allocation
        )

    def test_equal_hosts_fill_evenly_whatever_the_seed(self) -> None:
        for seed in range(10):
            fits = [fit(f"h{number}", vcpu=100, memory=99999, disk=9999) for number in range(16)]
            counts = Counter(hosts_of(choose(fits, 160, seed=seed)))
            self.assertEqual([10] * 16, sorted(counts.values()))

    def test_hosts_are_equal_again_when_the_fuller_one_was_left_alone(self) -> None:
        fits = [
            fit("full", vcpu=99, memory=4096, disk=999),
            fit("empty", vcpu=99, memory=8192, disk=999),
        ]
        counts = Counter(hosts_of(choose(fits, 8 + 6)))
        # 8 x 512 MiB bring the empty one down to the other; the next 6 are shared.
        self.assertEqual({"empty": 11, "full": 3}, dict(counts))

    def test_one_server_at_a_time_spreads_over_equal_hosts_by_the_seed(self) -> None:
        fleet = [f"h{number}" for number in range(8)]
        first = Counter(
            hosts_of(choose([fit(name) for name in fleet], 1, seed=seed))[0] for seed in range(400)
        )
        self.assertEqual(set(fleet), set(first))
        self.assertLess(max(first.values()), 2 * 400 / 8)

    def test_the_same_seed_decides_the_same_and_another_differently(self) -> None:
        def run(seed: int) -> list[Decision]:
            fits = [fit(f"h{number}") for number in range(20)]
            return choose(fits, 10, alternates=2, seed=seed)

        self.assertEqual(run(7), run(7))
        self.assertNotEqual(hosts_of(run(7)), hosts_of(run(8)))

    def test_every_pick_is_deducted_before_the_next(self) -> None:
        decisions = choose([fit("h1", vcpu=2), fit("h2", vcpu=1)], 5)
        self.assertEqual({"h1": 2, "h2": 1}, dict(Counter(hosts_of(decisions))))
        self.assertEqual([None, None], [d.destination for d in decisions[3:]])

    def test_whatever_runs_out_first_ends_a_host(self) -> None:
        for free in ({"vcpu": 3}, {"memory": 3 * 512 + 511}, {"disk": 39}):
            self.assertEqual(3, len(hosts_of(choose([fit("h1", **free)], 9))), free)

    def test_a_host_with_no_figure_for_what_is_wanted_has_no_room(self) -> None:
        without = fit("h1")
        del without.free["DISK_GB"]
        self.assertEqual([], hosts_of(choose([without], 1)))

    def test_nothing_to_pick_from_decides_for_nobody(self) -> None:
        self.assertEqual([Decision(instance_uuid=u) for u in uuids(2)], choose([], 2))

    def test_the_weights_say_whether_servers_spread_or_pack(self) -> None:
        fits = [fit("small", memory=1024), fit("big", memory=8192)]
        self.assertEqual(["big"], hosts_of(choose(fits, 1)))
        self.assertEqual(["small", "small", "big"], hosts_of(choose(fits, 3, how=recipe(ram=-1.0))))

    def test_weighers_count_by_their_multipliers(self) -> None:
        by_ram, by_cpu = fit("ram", vcpu=1, memory=8192), fit("cpu", vcpu=8, memory=1024)
        for ram, cpu, best in ((1.0, 0.5, "ram"), (0.5, 1.0, "cpu"), (0.0, 1.0, "cpu")):
            how = Recipe(
                filters=(), weighers=(("RAM", weighers.ram, ram), ("CPU", weighers.cpu, cpu))
            )
            self.assertEqual([best], hosts_of(choose([by_ram, by_cpu], 1, how=how)))

    def test_the_pick_is_among_the_best_few_when_so_configured(self) -> None:
        seen = set()
        for seed in range(60):
            fits = [fit(f"h{n}", memory=1024 * n) for n in range(1, 7)]
            seen |= set(hosts_of(choose(fits, 1, seed=seed, how=recipe(subset_size=3))))
        self.assertEqual({"h4", "h5", "h6"}, seen)
        self.assertEqual(["h1"], hosts_of(choose([fit("h1")], 1, how=recipe(subset_size=3))))


class AlternatesTest(testtools.TestCase):
    """Where a build that fails may go without scheduling again."""

    def _alternates(self, fits: Sequence[Fit], wanted: int) -> list[str]:
        (decision,) = choose(fits, 1, alternates=wanted)
        return [one.host for one in decision.alternates]

    def test_alternates_are_the_next_best_and_not_the_destination(self) -> None:
        fits = [fit(f"h{n}", memory=1024 * n) for n in range(1, 6)]
        self.assertEqual(["h4", "h3"], self._alternates(fits, 2))

    def test_alternates_are_in_the_cell_of_the_destination(self) -> None:
        fits = [
            fit("best", cell="c1", memory=9000),
            fit("next", cell="c2", memory=8000),
            fit("last", cell="c1", memory=7000),
        ]
        self.assertEqual(["last"], self._alternates(fits, 2))

    def test_there_are_as_many_as_there_are_hosts_or_none_if_none_are_wanted(self) -> None:
        fits = [fit("h1"), fit("h2")]
        self.assertEqual(1, len(self._alternates(fits, 5)))
        self.assertEqual([], self._alternates(fits, 0))
        self.assertEqual([], self._alternates([fit("h1")], 5))

    def test_a_host_that_earlier_picks_filled_is_no_alternate(self) -> None:
        decisions = choose([fit("h1", vcpu=1, memory=9000), fit("h2")], 2, alternates=2)
        self.assertEqual(["h1", "h2"], hosts_of(decisions))
        self.assertEqual(
            [["h2"], []], [[alternate.host for alternate in d.alternates] for d in decisions]
        )

    def test_an_alternate_carries_what_would_be_allocated_on_it(self) -> None:
        (decision,) = choose([fit("h1", memory=9000), fit("h2")], 1, alternates=1)
        self.assertEqual(
            {"provider-of-h2": {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}},
            decision.alternates[0].allocation,
        )


def look(
    fleet: Sequence[HostState], request: RequestSpec | None = None, *, count: int = 1
) -> Sifted:
    """Ask the usual filters about hosts."""
    candidates = [Fit(host=state) for state in fleet]
    return sift(ask(count, request), candidates, recipe())


class RefusalsTest(testtools.TestCase):
    """Why hosts were refused, counted."""

    def test_hosts_pass_every_filter_or_are_counted_under_the_first_that_refuses(self) -> None:
        fleet = [
            host("good", availability_zone="z1"),
            host("away", availability_zone="z2"),
            host("gone", availability_zone="z1", last_seen=NOW - timedelta(seconds=99)),
            host("off and away", availability_zone="z2", enabled=False),
            host("lost and away", availability_zone="z2", last_seen=NOW - timedelta(seconds=60)),
        ]
        sifted = look(fleet, spec(availability_zone="z1"))
        self.assertEqual(["good"], [one.host.host for one in sifted.fits])
        self.assertEqual(5, sifted.considered)
        no_host = sifted.refusals.total(5)
        self.assertEqual(5, no_host.considered)
        self.assertEqual(
            {
                ("ComputeFilter", "are down", 2),
                ("ComputeFilter", "are disabled", 1),
                ("AvailabilityZoneFilter", "are in another zone", 1),
            },
            {(r.refused_by, r.sentence, r.hosts) for r in no_host.reasons},
        )

    def test_the_miss_that_is_told_is_the_nearest_of_all_hosts(self) -> None:
        fleet = [host("new", last_seen=None)] + [
            host(f"h{n}", last_seen=NOW - timedelta(seconds=n)) for n in (900, 20, 60)
        ]
        for some, miss in (
            (fleet, "last heard of 20 s ago, down after 15 s"),
            (fleet[:2], "last heard of 900 s ago, down after 15 s"),
            (fleet[:1], "never heard of"),
        ):
            (reason,) = look(some).refusals.total(len(some)).reasons
            self.assertEqual((len(some), miss), (reason.hosts, reason.nearest_miss))

    def test_reasons_are_counted_most_frequent_first(self) -> None:
        refusals = Refusals()
        refusals.add(Reason(refused_by="a", sentence="x"))
        for miss in ("", "broken", "dusty"):
            refusals.add(Reason(refused_by="b", sentence="y", nearest_miss=miss))
        refusals.add(Reason(refused_by="b", sentence="z", hosts=2))
        self.assertEqual(
            (("b", "y", 3, "broken"), ("b", "z", 2, ""), ("a", "x", 1, "")),
            tuple(
                (r.refused_by, r.sentence, r.hosts, r.nearest_miss)
                for r in refusals.total(6).reasons
            ),
        )

    def test_no_more_hosts_are_looked_at_than_are_enough(self) -> None:
        fleet = [host(f"h{n}", enabled=n % 2 == 0) for n in range(1000)]
        for count, most in ((1, 100), (2, 104), (100, 496)):
            sifted = look(fleet, count=count)
            self.assertEqual((most, 2 * most - 1), (len(sifted.fits), sifted.considered))

    def test_all_hosts_are_looked_at_where_a_server_belongs_to_some(self) -> None:
        fleet = [host(f"h{n}") for n in range(300)]
        group = GroupRule(group_uuid="g", policy="soft-affinity")
        for request in (spec(group=group), spec(moves_from=CELL)):
            self.assertEqual(300, look(fleet, request).considered)
        self.assertEqual(300, look(fleet, count=0).considered)

    def test_no_sample_will_do_where_hosts_are_packed(self) -> None:
        candidates = [Fit(host=host(f"h{n}")) for n in range(300)]
        how = Recipe(filters=(), weighers=(), packs=True, most=200)
        self.assertEqual(200, len(sift(ask(1), candidates, how).fits))

    def test_filters_that_cannot_refuse_the_request_are_not_asked(self) -> None:
        asked = []

        @about(lambda request: request.forced_host is not None)
        def picky(_spec: RequestSpec, state: HostState, _moment: Moment) -> None:
            asked.append(state.host)

        for request in (spec(), spec(forced_host="h1")):
            candidates = [Fit(host=host("h1"))]
            sift(ask(1, request), candidates, Recipe(filters=(("x", picky),), weighers=()))
        self.assertEqual(["h1"], asked)


class DeductTest(testtools.TestCase):
    """Taking amounts out of a picture."""

    def test_amounts_are_taken_out_of_what_is_free(self) -> None:
        held = Fit(host=host(), free={"VCPU": 7, "DISK_GB": 0})
        held.deduct({"VCPU": 3, "CUSTOM_GPU": 1})
        self.assertEqual({"VCPU": 4, "DISK_GB": 0}, held.free)

    def test_what_providers_under_a_host_give_counts_together(self) -> None:
        both = {"host": {"VCPU": 2}, "under": {"VGPU": 1, "VCPU": 1}}
        amounts = amounts_of(both)
        self.assertEqual({"VCPU": 3, "VGPU": 1}, amounts)
        nested = Fit(host=host(), allocation=both, amounts=amounts, free={"VCPU": 3, "VGPU": 1})
        self.assertTrue(nested.has_room())
        nested.deduct({"VGPU": 1})
        self.assertFalse(nested.has_room())

    def test_a_request_of_a_bigger_flavor_takes_more(self) -> None:
        request = spec(flavor=flavor(vcpus=4))
        fits = [fit("h1", request=request, vcpu=9)]
        decisions = pick(ask(3, request), fits, recipe()).decisions
        self.assertEqual(["h1", "h1"], hosts_of(decisions))
