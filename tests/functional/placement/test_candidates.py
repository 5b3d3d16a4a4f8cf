"""Candidates out of a database: the right ones, from all over, by statements that no fleet adds to."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import falcon.testing
import msgspec
import testscenarios

from kilonova.core import settings
from kilonova.core.candidates import Candidate, Need, Provider, Request, Tree
from kilonova.db import placement_candidates as store
from kilonova.placement import candidates_needs
from kilonova.placement.candidates_engine import Engine
from kilonova.placement.wsgi import assemble
from tests.functional.db.databases import statements_of
from tests.functional.placement.placement_case import PlacementCase
from tests.functional.placement.stored_fleets import clear
from tests.functional.placement.stored_fleets import store as write
from tests.unit.placement import fleets
from tests.unit.placement.fleets import lone, shown, stock

load_tests = testscenarios.load_tests_apply_scenarios


def hosts(count: int, *, with_room: int | None = None) -> list[Tree]:
    """Return like hosts; if not all have room, the others have given all their VCPUs away."""
    return [
        lone(
            str(uuid.uuid4()),
            stock={
                "VCPU": stock(8, used=8 if with_room is not None and n >= with_room else 0),
                "MEMORY_MB": stock(4096),
            },
            traits=("COMPUTE_NODE", "HW_CPU_X86_AVX"),
        )
        for n in range(count)
    ]


class NarrowingTest(PlacementCase):
    """What the statements leave out could not have been a candidate."""

    def _found(self, request: Request, few: int | None, chance: random.Random) -> list[Candidate]:
        shared = store.sharing_trees(self.db, ())
        wanted = store.Wanted(
            needs=candidates_needs.needs(request, shared),
            root_required=request.root_required,
            root_forbidden=request.root_forbidden,
        )
        roots = candidates_needs.only_roots(request, shared)
        if roots is None:
            windows = store.trees(self.db, wanted, few=few, chance=chance)
        else:
            windows = store.trees_under(self.db, wanted, sorted(roots), few=few)
        return list(Engine(request, shared, chance).candidates(windows))

    def test_nothing_is_lost_and_nothing_comes_twice(self) -> None:
        served = 0
        for seed in range(5):
            chance = random.Random(seed)
            # Few share: what many pools could give together is a product that would take long to list.
            fleet = [
                _renamed(tree, f"{n}.{tree.root}", sharing=n < 2)
                for n in range(16)
                for tree in fleets.random_fleet(chance)
            ]
            clear(self.db)
            write(self.db, fleet)
            for _ in range(15):
                request = fleets.random_request(chance, fleet)
                got = [shown(c) for c in self._found(request, chance.choice((1, None)), chance)]
                self.assertEqual(len(got), len(set(got)), f"{seed}: {request}")
                expected = {shown(c) for c in _in_memory(request, fleet)}
                self.assertEqual(expected, set(got), f"{seed}: {request}")
                served += bool(got)
        self.assertGreater(served, 40)

    def test_every_root_comes_once_wherever_one_begins(self) -> None:
        fleet = hosts(150)
        write(self.db, fleet)
        for seed in range(20):
            windows = store.trees(self.db, store.Wanted(), few=1, chance=random.Random(seed))
            roots = [tree.root for window in windows for tree in window]
            self.assertEqual(sorted(tree.root for tree in fleet), sorted(roots))

    def test_of_what_is_rare_all_holders_are_found(self) -> None:
        fleet = hosts(200, with_room=90)
        write(self.db, fleet)
        need = Need(resources=(("VCPU", 1),), spans=True)
        for seed in range(5):
            chance = random.Random(seed)
            windows = store.trees(self.db, store.Wanted(needs=(need,)), few=1, chance=chance)
            roots = [tree.root for window in windows for tree in window]
            self.assertEqual(sorted(tree.root for tree in fleet[:90]), sorted(roots))

    def test_only_roots_with_all_traits_that_are_wanted_of_them_are_read(self) -> None:
        fleet = hosts(12)
        both = ("COMPUTE_NODE", "HW_CPU_X86_AVX")
        fleet += [lone(f"one{n}", traits=(trait,)) for n, trait in enumerate(both)]
        write(self.db, fleet)
        for wanted in (
            store.Wanted(root_required=frozenset(both)),
            store.Wanted(
                root_required=frozenset(both[1:]), root_forbidden=frozenset({"HW_CPU_X86_SSE"})
            ),
            store.Wanted(root_forbidden=frozenset(both[:1])),
        ):
            read = {t.root for w in store.trees(self.db, wanted, few=None, chance=None) for t in w}
            expected = {
                tree.root
                for tree in fleet
                if wanted.root_required <= set(tree.providers[0].traits)
                and not wanted.root_forbidden & set(tree.providers[0].traits)
            }
            self.assertEqual(expected, read)

    def test_a_provider_is_read_with_all_that_it_has(self) -> None:
        child = Provider(
            "child",
            "root",
            "root",
            {"VCPU": stock(8, used=3, max_unit=4, min_unit=2, step_size=2)},
            ("CUSTOM_A", "CUSTOM_B"),
            ("rack-1", "rack-2"),
        )
        tree = Tree("root", (Provider("root", None, "root"), child))
        write(self.db, [tree])
        ((read,),) = list(store.trees(self.db, store.Wanted(), few=None, chance=None))
        bare, full = sorted(read.providers, key=lambda provider: provider.parent or "")
        self.assertEqual(tree.providers[0], bare)
        self.assertEqual(child.stock, full.stock)
        self.assertEqual(child.traits, tuple(sorted(full.traits)))
        self.assertEqual(child.aggregates, tuple(sorted(full.aggregates)))


def _renamed(tree: Tree, root: str, *, sharing: bool) -> Tree:
    def name(old: str) -> str:
        return old.replace(tree.root, root)

    providers = tuple(
        msgspec.structs.replace(
            p,
            uuid=name(p.uuid),
            root=root,
            parent=name(p.parent) if p.parent else None,
            traits=tuple(t for t in p.traits if sharing or t != fleets.SHARES),
        )
        for p in tree.providers
    )
    return Tree(root, providers)


def _in_memory(request: Request, fleet: Sequence[Tree]) -> list[Candidate]:
    shared = [tree for tree in fleet if any(fleets.SHARES in p.traits for p in tree.providers)]
    return list(Engine(request, shared).candidates([fleet]))


class ServiceTest(PlacementCase):
    """``GET /allocation_candidates`` of fleets."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self._client()

    def _client(self, **options: object) -> falcon.testing.TestClient:
        conf = settings.read_config([], prog="kilonova-placement", default_files=())
        conf.set_override("auth_strategy", "noauth2", "api")
        for name, value in options.items():
            conf.set_override(name, value, "placement_api")
        return falcon.testing.TestClient(assemble(conf, self.db))

    def _ask(
        self, query: str, version: str = "1.36", client: falcon.testing.TestClient | None = None
    ) -> Any:
        answer = (client or self.client).simulate_get(
            "/allocation_candidates",
            query_string=query,
            headers={"X-Auth-Token": "admin", "OpenStack-API-Version": f"placement {version}"},
        )
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json

    def _hosts(self, query: str, client: falcon.testing.TestClient | None = None) -> list[str]:
        found = self._ask(query, client=client)["allocation_requests"]
        return [next(iter(request["allocations"])) for request in found]

    def test_the_fleet_adds_no_statement(self) -> None:
        query = "resources=VCPU:1,MEMORY_MB:512&required=HW_CPU_X86_AVX&limit=5"
        counts = []
        for more in (100, 300, 900):
            write(self.db, hosts(more))
            self._ask(query)
            counts.append(len(statements_of(self.db, lambda: self._ask(query))))
        self.assertEqual([3, 3, 3], counts)

    def test_full_hosts_add_few_statements_and_no_search(self) -> None:
        query = "resources=VCPU:1,MEMORY_MB:512&limit=5"
        write(self.db, hosts(1200, with_room=0))
        seen = statements_of(self.db, lambda: self.assertEqual([], self._hosts(query)))
        self.assertLess(len(seen), 8)
        write(self.db, few := hosts(7))
        for _ in range(5):
            found: list[str] = []
            seen = statements_of(self.db, lambda: found.extend(self._hosts(query)))  # noqa: B023
            self.assertLess(len(seen), 8)
            self.assertEqual(5, len(set(found)))
            self.assertLessEqual(set(found), {tree.root for tree in few})

    def test_under_a_limit_each_of_many_like_hosts_gets_its_share(self) -> None:
        write(self.db, hosts(24))
        got = Counter(h for _ in range(400) for h in self._hosts("resources=VCPU:1&limit=3"))
        self.assertEqual(24, len(got))
        self.assertLess(max(got.values()), 3 * min(got.values()))

    def test_in_a_fleet_larger_than_a_stretch_they_come_from_all_over(self) -> None:
        write(self.db, hosts(400))
        got = Counter(h for _ in range(300) for h in self._hosts("resources=VCPU:1&limit=1"))
        self.assertGreater(len(got), 150)
        self.assertLess(max(got.values()), 15)

    def test_without_chance_the_same_come_first_every_time(self) -> None:
        write(self.db, hosts(100))
        client = self._client(randomize_allocation_candidates=False)
        got = {tuple(self._hosts("resources=VCPU:1&limit=4", client)) for _ in range(5)}
        self.assertEqual(1, len(got))

    def test_no_answer_has_more_than_the_deployment_allows(self) -> None:
        write(self.db, hosts(50))
        client = self._client(max_allocation_candidates=20)
        self.assertEqual(20, len(set(self._hosts("resources=VCPU:1", client))))
        self.assertEqual(5, len(set(self._hosts("resources=VCPU:1&limit=5", client))))
        self.assertEqual(50, len(set(self._hosts("resources=VCPU:1"))))

    def test_the_summaries_are_of_the_trees_that_the_candidates_take_from(self) -> None:
        pool = lone(
            "pool",
            stock={"DISK_GB": stock(100)},
            traits=(fleets.SHARES,),
            aggregates=("rack",),
        )
        trees = []
        for n in range(40):
            root = f"host{n}"
            child = Provider(f"numa{n}", root, root, {"VCPU": stock(4)})
            trees.append(Tree(root, (Provider(root, None, root, aggregates=("rack",)), child)))
        write(self.db, [pool, *trees])
        answer = self._ask("resources=VCPU:1,DISK_GB:10&limit=2")
        used = {u for r in answer["allocation_requests"] for u in r["allocations"]}
        self.assertEqual(3, len(used))
        numbers = {name.removeprefix("numa") for name in used if name.startswith("numa")}
        expected = {"pool"} | {f"{kind}{n}" for n in numbers for kind in ("host", "numa")}
        self.assertEqual(expected, set(answer["provider_summaries"]))
