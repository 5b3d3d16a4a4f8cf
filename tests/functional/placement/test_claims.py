"""Claims against a model that knows nothing of databases, and how many statements they are."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import testscenarios

from kilonova.core.errors import GenerationConflict, InventoryInUse, NoCapacity
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_claims, placement_inventories, placement_providers
from kilonova.db.placement_claims import Claim, free, replace_all
from kilonova.db.placement_rounds import ClaimRounds
from tests.functional.db.databases import statements_of
from tests.functional.placement.placement_case import PlacementCase, used_and_allocated

load_tests = testscenarios.load_tests_apply_scenarios

PROVIDERS = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(4)]
CONSUMERS = [f"bbbbbbbb-0000-4000-8000-{n:012}" for n in range(8)]
INVENTORIES = {
    "VCPU": Inventory(total=6, allocation_ratio=2.0, max_unit=5),
    "MEMORY_MB": Inventory(total=64, min_unit=4, step_size=4, reserved=4),
}
Holdings = dict[str, dict[str, dict[str, int]]]


def claim(consumer: str, allocation: dict[str, dict[str, int]], **changed: Any) -> Claim:
    """Return a claim of project p."""
    fields = {"consumer": consumer, "project_id": "p", "user_id": "u", "allocation": allocation}
    return Claim(**(fields | changed))


class Model:
    """What should be: who holds what, at which generation, and how much each provider has."""

    def __init__(self) -> None:
        self.holdings: Holdings = {}
        self.generations: dict[str, int] = {}
        self.inventories = {uuid: dict(INVENTORIES) for uuid in PROVIDERS}

    def used(self, holdings: Holdings) -> dict[tuple[str, str], int]:
        """Return what is used of each class of each provider."""
        sums: defaultdict[tuple[str, str], int] = defaultdict(int)
        for allocation in holdings.values():
            for uuid, amounts in allocation.items():
                for name, amount in amounts.items():
                    sums[uuid, name] += amount
        return sums

    def accept(self, claims: list[Claim]) -> bool:
        """Apply claims if all of them fit; say whether they do."""
        after = self.holdings | {c.consumer: c.allocation for c in claims}
        before, then = self.used(self.holdings), self.used(after)
        for one in claims:
            for uuid, amounts in one.allocation.items():
                for name, amount in amounts.items():
                    inventory = self.inventories[uuid][name]
                    if not inventory.min_unit <= amount <= inventory.max_unit:
                        return False
                    if amount % inventory.step_size:
                        return False
        for (uuid, name), amount in then.items():
            if amount > before[uuid, name] and amount > self.inventories[uuid][name].capacity:
                return False
        for one in claims:
            self.forget(one.consumer) if not one.allocation else self.hold(one)
        return True

    def hold(self, one: Claim) -> None:
        """Let a consumer hold what its claim says."""
        self.holdings[one.consumer] = one.allocation
        self.generations[one.consumer] = self.generations.get(one.consumer, 0) + 1

    def forget(self, consumer: str) -> None:
        """Let a consumer hold nothing."""
        self.holdings.pop(consumer, None)
        self.generations.pop(consumer, None)


class ClaimsTest(PlacementCase):
    """On each database."""

    def setUp(self) -> None:
        """Let there be four equal providers."""
        super().setUp()
        for number, uuid in enumerate(PROVIDERS):
            placement_providers.create(self.db, uuid, f"p{number}")
            placement_inventories.replace(self.db, uuid, 0, INVENTORIES)

    def _random_claim(self, chance: random.Random, consumer: str, model: Model) -> Claim:
        allocation = {
            uuid: {
                name: chance.choice((1, 2, 3, 4, 5, 8, 12))
                for name in chance.sample(sorted(INVENTORIES), chance.choice((1, 2)))
            }
            for uuid in chance.sample(PROVIDERS, chance.choice((0, 1, 1, 1, 2, 3)))
        }
        known = model.generations.get(consumer)
        return claim(consumer, allocation, generation=chance.choice((-1, known, known, 7)))

    def test_whatever_is_asked_in_whatever_order_is_as_the_model_says(self) -> None:
        chance, model = random.Random(20), Model()
        for turn in range(200):
            does = chance.random()
            if does < 0.1:
                gone = chance.sample(CONSUMERS, 2)
                free(self.db, gone)
                for consumer in gone:
                    model.forget(consumer)
            elif does < 0.15:
                self._resize(chance, model)
            else:
                names = chance.sample(CONSUMERS, chance.choice((1, 1, 1, 2, 3)))
                claims = [self._random_claim(chance, name, model) for name in names]
                self.assertEqual(self._expected(model, claims), self._answer(claims), turn)
            expected = model.used(model.holdings)
            for key, (used, allocated) in used_and_allocated(self.db).items():
                self.assertEqual((expected[key], expected[key]), (used, allocated), turn)
        self.assertEqual(model.generations, self._generations())

    def _expected(self, model: Model, claims: list[Claim]) -> str:
        if any(c.generation not in (-1, model.generations.get(c.consumer)) for c in claims):
            return "conflict"
        return "done" if model.accept(claims) else "refused"

    def _answer(self, claims: list[Claim]) -> str:
        try:
            replace_all(self.db, claims)
        except NoCapacity:
            return "refused"
        except GenerationConflict:
            return "conflict"
        return "done"

    def _resize(self, chance: random.Random, model: Model) -> None:
        uuid = chance.choice(PROVIDERS)
        vcpus = Inventory(total=chance.choice((1, 3, 6, 9)), max_unit=5)
        new = INVENTORIES | {"VCPU": vcpus}
        shrinks = vcpus.capacity < model.inventories[uuid]["VCPU"].capacity
        if shrinks and vcpus.capacity < model.used(model.holdings)[uuid, "VCPU"]:
            with self.assertRaises(InventoryInUse):
                placement_inventories.replace(self.db, uuid, None, new)
        else:
            placement_inventories.replace(self.db, uuid, None, new)
            model.inventories[uuid] = new

    def _generations(self) -> dict[str, int]:
        table = sa.table("consumers", sa.column("uuid"), sa.column("generation"))
        rows = self.db.query(lambda c: c.execute(sa.select(table.c.uuid, table.c.generation)).all())
        return {row[0]: row[1] for row in rows}

    def _statements(self, work: Callable[[], Any]) -> int:
        return sum(not s.startswith("BEGIN") for s in statements_of(self.db, work))

    def test_a_claim_is_four_statements_whoever_else_claims_and_whatever_there_is(self) -> None:
        one = {PROVIDERS[0]: {"VCPU": 1, "MEMORY_MB": 4}}
        self.assertEqual(4, self._statements(lambda: replace_all(self.db, [claim("c0", one)])))
        for number in range(5):
            replace_all(self.db, [claim(f"more{number}", {PROVIDERS[1]: {"VCPU": 1}})])
        all_of_them = {uuid: {"VCPU": 1, "MEMORY_MB": 4} for uuid in PROVIDERS}
        claims = [claim("c1", all_of_them), claim("c2", {PROVIDERS[0]: {"VCPU": 1}})]
        # The first provider has another demand than the rest.
        self.assertEqual(5, self._statements(lambda: replace_all(self.db, claims)))
        many = [claim(f"c{n + 3}", {uuid: {"VCPU": 1}}) for n, uuid in enumerate(PROVIDERS)]
        self.assertEqual(4, self._statements(lambda: ClaimRounds(self.db).claim_each(many)))

    def test_claiming_again_what_one_holds_of_a_full_provider_is_no_refusal(self) -> None:
        full = {PROVIDERS[0]: {"VCPU": 4}}
        for number in range(3):
            replace_all(self.db, [claim(f"c{number}", full)])
        rounds = ClaimRounds(self.db)
        self.assertEqual({}, rounds.claim_each([claim("c0", full), claim("c1", full)]))
        refused = rounds.claim_each([claim("c3", full), claim("c0", full)])
        self.assertEqual(["c3"], list(refused))

    def test_amounts_of_which_only_the_sum_is_in_steps_are_refused(self) -> None:
        claims = [claim(name, {PROVIDERS[0]: {"MEMORY_MB": 6}}) for name in ("c0", "c1")]
        with self.assertRaises(NoCapacity):
            replace_all(self.db, claims)

    def test_a_provider_that_does_not_exist_refuses_only_its_own_claim(self) -> None:
        nowhere = claim("c0", {"dddddddd-0000-4000-8000-000000000000": {"VCPU": 1}})
        somewhere = claim("c1", {PROVIDERS[0]: {"VCPU": 1}})
        refused = ClaimRounds(self.db).claim_each([nowhere, somewhere])
        self.assertEqual(["c0"], list(refused))
        self.assertEqual({"c1": 1}, self._generations())

    def test_a_drift_that_only_freeing_meets_does_not_stop_it(self) -> None:
        replace_all(self.db, [claim("c0", {PROVIDERS[0]: {"VCPU": 1}})])
        gone = sa.text("DELETE FROM inventories WHERE resource_class = 'VCPU'")
        self.db.write(lambda c: c.execute(gone))
        self.assertEqual(1, free(self.db, [placement_claims.ConsumerUuid("c0")]))
        self.assertEqual({}, self._generations())
