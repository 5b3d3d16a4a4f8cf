"""Which candidates there are: the engine on fleets of values."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import testtools

from kilonova.core.candidates import Candidate, Group, Provider, Request, Tree
from kilonova.placement.candidates_engine import Engine
from tests.unit.placement import fleets
from tests.unit.placement.fleets import SHARES, lone, shown, stock


def found(request: Request, fleet: Sequence[Tree], **more: random.Random) -> list[Candidate]:
    """Return all candidates of a fleet, which comes in one window."""
    shared = [tree for tree in fleet if any(SHARES in p.traits for p in tree.providers)]
    return list(Engine(request, shared, **more).candidates([fleet]))


def one(amounts: dict[str, int], **more: object) -> Request:
    """Return a request of one group without a suffix."""
    return Request(groups=(Group(resources=amounts, **more),))  # type: ignore[arg-type]


def host(uuid: str, **units: int) -> Tree:
    """Return a host with some units of VCPU, MEMORY_MB and so on."""
    return lone(uuid, stock={name: stock(n) for name, n in units.items()})


class EngineTest(testtools.TestCase):
    """What serves a request, and nothing else."""

    def test_it_finds_what_the_slow_way_finds_each_once(self) -> None:
        served = 0
        for seed in range(400):
            chance = random.Random(seed)
            fleet = fleets.random_fleet(chance)
            request = fleets.random_request(chance, fleet)
            expected = fleets.slowly(request, fleet)
            got = [shown(candidate) for candidate in found(request, fleet, chance=chance)]
            self.assertEqual(len(got), len(set(got)), f"seed {seed}: something comes twice")
            self.assertEqual(expected, set(got), f"seed {seed}: {request}")
            served += bool(expected)
        self.assertGreater(served, 100, "most requests can be served, or nothing is tested")

    def test_a_claim_of_every_candidate_would_be_granted_alone(self) -> None:
        for seed in range(100):
            chance = random.Random(1000 + seed)
            fleet = fleets.random_fleet(chance)
            everybody = {p.uuid: p for tree in fleet for p in tree.providers}
            for candidate in found(fleets.random_request(chance, fleet), fleet):
                for uuid, amounts in candidate.allocation.items():
                    for name, amount in amounts.items():
                        self.assertLessEqual(amount, everybody[uuid].stock[name].most, f"{seed}")

    def test_what_two_groups_ask_of_one_provider_is_added_up(self) -> None:
        groups = tuple(Group(suffix=s, resources={"VCPU": 2}) for s in ("_A", "_B"))
        (candidate,) = found(Request(groups=groups), [host("h", VCPU=4)])
        self.assertEqual({"h": {"VCPU": 4}}, candidate.allocation)
        self.assertEqual({"_A": ("h",), "_B": ("h",)}, candidate.mappings)
        self.assertEqual([], found(Request(groups=groups), [host("h", VCPU=3)]))
        self.assertEqual([], found(Request(groups=groups, isolate=True), [host("h", VCPU=4)]))

    def test_what_is_used_already_counts_for_both_and_so_does_the_most_of_a_claim(self) -> None:
        groups = tuple(Group(suffix=s, resources={"VCPU": 2}) for s in ("_A", "_B"))
        for full in (stock(5, used=2), stock(8, max_unit=3)):
            self.assertEqual([], found(Request(groups=groups), [lone("h", stock={"VCPU": full})]))
            self.assertEqual(
                1, len(found(Request(groups=groups[:1]), [lone("h", stock={"VCPU": full})]))
            )

    def test_a_group_without_resources_is_served_by_what_it_names_and_not_by_anything(self) -> None:
        asking = Group(suffix="_A", resources={"VCPU": 1})
        fleet = [lone("h", stock={"VCPU": stock(4)}, traits=("COMPUTE_NODE",))]
        for other, number in (
            (Group(suffix="_B", required=(frozenset({"COMPUTE_NODE"}),)), 1),
            (Group(suffix="_B", required=(frozenset({"HW_CPU_X86_AVX"}),)), 0),
            (Group(suffix="_B", forbidden=frozenset({"HW_CPU_X86_AVX"})), 0),
        ):
            self.assertEqual(number, len(found(Request(groups=(asking, other)), fleet)))

    def test_a_pool_that_is_named_as_the_tree_is_used_in_its_own_tree_only(self) -> None:
        disk = {"DISK_GB": stock(100)}
        pool = lone("pool", stock=disk, traits=(SHARES,), aggregates=("rack",))
        node = lone("host", traits=("COMPUTE_NODE",), aggregates=("rack",))
        group = Group(resources={"DISK_GB": 1}, in_tree="pool")
        self.assertEqual(1, len(found(Request(groups=(group,)), [pool, node])))
        under = Request(groups=(group,), root_required=frozenset({"COMPUTE_NODE"}))
        self.assertEqual([], found(under, [pool, node]))

    def test_a_host_takes_its_disk_from_a_pool_in_its_aggregate_only(self) -> None:
        disk = {"DISK_GB": stock(100)}
        pools = [
            lone(uuid, stock=disk, traits=(SHARES,), aggregates=(rack,))
            for uuid, rack in (("pool-1", "rack-1"), ("pool-2", "rack-2"))
        ]
        cpus = {"VCPU": stock(4)}
        hosts = [lone("host", stock=cpus, aggregates=("rack-1",)), lone("far", stock=cpus)]
        got = found(one({"VCPU": 1, "DISK_GB": 10}), [*hosts, *pools])
        self.assertEqual(
            [{"host": {"VCPU": 1}, "pool-1": {"DISK_GB": 10}}], [c.allocation for c in got]
        )
        self.assertEqual(("host", "pool-1"), got[0].roots)

    def test_what_pools_give_alone_is_offered_once_however_many_hosts_reach_them(self) -> None:
        both = {"DISK_GB": stock(100), "VCPU": stock(1)}
        pool = lone("pool", stock=both, traits=(SHARES,), aggregates=("rack",))
        hosts = [lone(f"host{n}", aggregates=("rack",)) for n in range(5)]
        got = found(one({"VCPU": 1, "DISK_GB": 10}), [*hosts, pool])
        self.assertEqual([{"pool": {"VCPU": 1, "DISK_GB": 10}}], [c.allocation for c in got])


class OrderTest(testtools.TestCase):
    """Those who take a few get them from all over, and pay for a few."""

    def test_every_tree_gives_its_first_before_any_gives_its_second(self) -> None:
        trees = []
        for root in ("a", "b", "c"):
            cards = [Provider(f"{root}{n}", root, root, {"VGPU": stock(1)}) for n in range(3)]
            trees.append(Tree(root, (Provider(root, None, root), *cards)))
        got = found(one({"VGPU": 1}), trees)
        self.assertEqual(["a", "b", "c"] * 3, [c.roots[0] for c in got])

    def test_with_chance_each_of_like_hosts_comes_first_as_often_as_another(self) -> None:
        hosts = [host(f"h{n}", VCPU=1) for n in range(10)]
        chance = random.Random(7)
        first = Counter(found(one({"VCPU": 1}), hosts, chance=chance)[0].roots for _ in range(2000))
        self.assertEqual(10, len(first))
        for uuid, times in first.items():
            self.assertTrue(140 < times < 260, f"{uuid} came first {times} times of 2000")

    def test_without_chance_the_order_is_always_the_same(self) -> None:
        hosts = [host(f"h{n}", VCPU=1) for n in range(10)]
        got = [[c.roots for c in found(one({"VCPU": 1}), hosts)] for _ in range(3)]
        self.assertEqual([got[0]] * 3, got)

    def test_no_window_is_read_before_it_is_needed(self) -> None:
        read = []

        def windows() -> Iterator[Sequence[Tree]]:
            for n in range(1000):
                read.append(n)
                yield [host(f"h{n}.{k}", VCPU=1) for k in range(4)]

        list(islice(Engine(one({"VCPU": 1})).candidates(windows()), 6))
        self.assertEqual([0, 1], read)


class LookAheadTest(testtools.TestCase):
    """Searches whose product has millions of fillings end at once, whether there is a candidate or not.

    The bounds are a hundred times what is needed here, and far below what trying them all would take.
    """

    def _timed(self, request: Request, tree: Tree, most: int = 10) -> list[Candidate]:
        began = time.process_time()
        engine = Engine(request)
        got = list(islice(engine.candidates([[tree]]), most))
        self.assertLess(time.process_time() - began, 1.0)
        self.assertEqual(0, engine.given_up)
        return got

    def _cards(self, *units: int) -> Tree:
        cards = (
            Provider(f"card{n}", "root", "root", {"VGPU": stock(most)})
            for n, most in enumerate(units)
        )
        return Tree("root", (Provider("root", None, "root"), *cards))

    def _groups(self, amounts: Sequence[int], **more: object) -> Request:
        groups = tuple(
            Group(suffix=f"_{n}", resources={"VGPU": amount}) for n, amount in enumerate(amounts)
        )
        return Request(groups=groups, **more)  # type: ignore[arg-type]

    def test_as_many_groups_as_places(self) -> None:
        for places in (8, 16, 32):
            got = self._timed(self._groups([1] * places), self._cards(*[1] * places))
            self.assertEqual(10, len({shown(candidate) for candidate in got}))

    def test_all_are_found_however_many_there_are(self) -> None:
        got = self._timed(self._groups([1] * 4), self._cards(*[1] * 12), most=100_000)
        self.assertEqual(12 * 11 * 10 * 9, len(got))

    def test_one_group_too_many(self) -> None:
        for places in (8, 16, 32):
            for isolate in (False, True):
                request = self._groups([1] * (places + 1), isolate=isolate)
                self.assertEqual([], self._timed(request, self._cards(*[1] * places)))

    def test_places_that_are_each_too_small_for_two(self) -> None:
        self.assertEqual([], self._timed(self._groups([2] * 13), self._cards(*[3] * 12)))

    def test_more_in_all_than_there_is(self) -> None:
        request = self._groups([5] * 10 + [3] * 10)
        self.assertEqual([], self._timed(request, self._cards(*[7] * 10)))

    def test_groups_that_compete_for_the_few_places_that_suit_them(self) -> None:
        tree = self._cards(*[1] * 20)
        marked = tuple(
            msgspec.structs.replace(provider, traits=("COMPUTE_NODE",)) if n in (3, 9) else provider
            for n, provider in enumerate(tree.providers)
        )
        groups = tuple(
            Group(
                suffix=f"_{n}",
                resources={"VGPU": 1},
                required=(frozenset({"COMPUTE_NODE"}),) if n > 12 else (),
            )
            for n in range(16)
        )
        self.assertEqual([], self._timed(Request(groups=groups), Tree("root", marked)))
        fewer = Request(groups=groups[:15])
        self.assertEqual(10, len(self._timed(fewer, Tree("root", marked))))

    def test_a_subtree_that_no_filling_makes(self) -> None:
        nodes = [Provider("root", None, "root")]
        for n in range(12):
            nodes.append(Provider(f"numa{n}", "root", "root", {"VCPU": stock(1)}))
            nodes.append(Provider(f"card{n}", "root", "root", {"VGPU": stock(1)}))
        groups = tuple(
            Group(suffix=f"_{n}{name}", resources={name: 1})
            for n in range(6)
            for name in ("VCPU", "VGPU")
        )
        pairs = tuple(frozenset({f"_{n}VCPU", f"_{n}VGPU"}) for n in range(6))
        request = Request(groups=groups, same_subtree=pairs)
        self.assertEqual([], self._timed(request, Tree("root", tuple(nodes))))

    def test_a_knapsack_that_cannot_be_decided_in_time_is_given_up(self) -> None:
        # Amounts are even and rooms odd: a unit of each room is lost, and there is none to lose.
        amounts = [176, 136, 200, 142, 150, 108, 124, 108, 166, 108, 176, 138, 200, 116, 198, 82]
        amounts += [132, 186]
        engine = Engine(self._groups(amounts))
        began = time.process_time()
        trees = [self._cards(*[441] * 6)] * 5
        self.assertEqual([], list(engine.candidates([trees])))
        self.assertLess(time.process_time() - began, 10.0)
        self.assertEqual(5, engine.given_up)
