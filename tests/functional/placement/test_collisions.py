"""Two requests at the same moment, of which one makes the other impossible: exactly one wins."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import testscenarios

from kilonova.core.errors import KilonovaError, NotFound
from kilonova.core.ids import ConsumerUuid
from kilonova.core.scheduling import Inventory
from kilonova.db import (
    placement_audit,
    placement_holdings,
    placement_inventories,
    placement_names,
    placement_providers,
    placement_trees,
)
from kilonova.db.placement_claims import Claim, replace_all
from tests.functional.placement.placement_case import PlacementCase

load_tests = testscenarios.load_tests_apply_scenarios

ROUNDS = 8
VCPU = {"VCPU": Inventory(total=4)}
SERVER = ConsumerUuid("bbbbbbbb-0000-4000-8000-000000000001")


def uuid(number: int) -> str:
    """Return a provider's UUID."""
    return f"aaaaaaaa-0000-4000-8000-{number:012}"


class CollisionsTest(PlacementCase):
    """Each is tried a few times, as no round can be made to collide."""

    def setUp(self) -> None:
        """Have two threads."""
        super().setUp()
        self.threads = ThreadPoolExecutor(2)
        self.addCleanup(self.threads.shutdown)

    def _together(self, *works: Callable[[], object]) -> list[bool]:
        """Do two things at once; return which of them were done."""
        start = Barrier(len(works))

        def attempt(work: Callable[[], object]) -> bool:
            start.wait()
            try:
                work()
            except KilonovaError as error:
                self.assertLess(error.status, 500, error)
                return False
            return True

        return list(self.threads.map(attempt, works))

    def _provider(self, number: int, parent: str | None = None) -> str:
        placement_providers.create(self.db, uuid(number), f"p{number}", parent)
        return uuid(number)

    def _claim(self, provider: str, consumer: str = SERVER, **changed: object) -> None:
        fields = {
            "consumer": consumer,
            "project_id": "p",
            "user_id": "u",
            "allocation": {provider: {"VCPU": 1}},
        }
        replace_all(self.db, [Claim(**fields | changed)])  # type: ignore[arg-type]

    def test_two_providers_do_not_become_each_others_parent(self) -> None:
        for turn in range(ROUNDS):
            a, b = self._provider(2 * turn), self._provider(2 * turn + 1)
            done = self._together(
                lambda a=a, b=b: placement_trees.move(self.db, a, a, b, again=True),
                lambda a=a, b=b: placement_trees.move(self.db, b, b, a, again=True),
            )
            self.assertLess(sum(done), 2)
            tree = placement_trees.find(self.db, placement_trees.Query(in_tree=a))
            roots = [provider for provider in tree if provider.parent_uuid is None]
            self.assertEqual(1, len(roots))
            self.assertEqual({roots[0].uuid}, {provider.root_uuid for provider in tree})

    def test_a_child_follows_a_parent_that_moves_as_it_is_born(self) -> None:
        for turn in range(0, 4 * ROUNDS, 4):
            root, other = self._provider(turn), self._provider(turn + 1)
            parent = self._provider(turn + 2, root)
            done = self._together(
                lambda p=parent, o=other: placement_trees.move(self.db, p, p, o, again=True),
                lambda t=turn, p=parent: self._provider(t + 3, p),
            )
            self.assertEqual([True, True], done)
            self.assertEqual(other, placement_providers.get(self.db, uuid(turn + 3)).root_uuid)

    def test_a_provider_that_goes_away_is_not_claimed(self) -> None:
        for turn in range(ROUNDS):
            provider = self._provider(turn)
            placement_inventories.replace(self.db, provider, None, VCPU)
            consumer = f"bbbbbbbb-0000-4000-8000-{turn:012}"
            done = self._together(
                lambda p=provider: placement_providers.delete(self.db, p),
                lambda p=provider, c=consumer: self._claim(p, c),
            )
            self.assertEqual(1, sum(done))
            self.assertEqual(done[1], placement_holdings.of_consumer(self.db, consumer) is not None)
            if done[0]:
                self.assertRaises(NotFound, placement_providers.get, self.db, provider)

    def test_an_inventory_that_goes_away_is_not_claimed(self) -> None:
        for turn in range(ROUNDS):
            provider = self._provider(turn)
            placement_inventories.replace(self.db, provider, None, VCPU)
            consumer = f"bbbbbbbb-0000-4000-8000-{turn:012}"
            done = self._together(
                lambda p=provider: placement_inventories.replace(self.db, p, None, {}),
                lambda p=provider, c=consumer: self._claim(p, c),
            )
            self.assertEqual(1, sum(done))
        self.assertEqual((), placement_audit.drift(self.db))

    def test_a_class_that_goes_away_is_not_had(self) -> None:
        gold = {"CUSTOM_GOLD": Inventory(total=1)}
        for turn in range(ROUNDS):
            provider = self._provider(turn)
            placement_names.add(self.db, "class", "CUSTOM_GOLD")
            done = self._together(
                lambda: placement_names.delete(self.db, "class", "CUSTOM_GOLD"),
                lambda p=provider: placement_inventories.replace(self.db, p, 0, gold, gold),
            )
            self.assertEqual(1, sum(done))
            self.assertEqual((), placement_names.missing(self.db))
            placement_inventories.replace(self.db, provider, None, {})

    def test_of_two_classes_that_get_the_same_name_one_does(self) -> None:
        for turn in range(ROUNDS):
            for name in ("CUSTOM_A", "CUSTOM_B"):
                placement_names.add(self.db, "class", name)
            works = [
                lambda o=old, t=turn: placement_names.rename_class(self.db, o, f"CUSTOM_{t}")
                for old in ("CUSTOM_A", "CUSTOM_B")
            ]
            self.assertEqual(1, sum(self._together(*works)))

    def test_a_trait_that_goes_away_is_not_had(self) -> None:
        fast = {"CUSTOM_FAST"}
        for turn in range(ROUNDS):
            provider = self._provider(turn)
            placement_names.add(self.db, "trait", "CUSTOM_FAST")
            done = self._together(
                lambda: placement_names.delete(self.db, "trait", "CUSTOM_FAST"),
                lambda p=provider: placement_providers.set_traits(self.db, p, 0, fast, fast),
            )
            self.assertEqual(1, sum(done))
            self.assertEqual((), placement_names.missing(self.db))
            placement_providers.set_traits(self.db, provider, None, ())

    def test_of_two_who_make_the_same_consumer_one_is_first(self) -> None:
        provider = self._provider(0)
        placement_inventories.replace(self.db, provider, None, {"VCPU": Inventory(total=100)})
        for turn in range(ROUNDS):
            consumer = f"bbbbbbbb-0000-4000-8000-{turn:012}"
            works = [lambda c=consumer: self._claim(provider, c, generation=None)] * 2
            self.assertEqual(1, sum(self._together(*works)))
            held = placement_holdings.of_consumer(self.db, consumer)
            assert held is not None
            self.assertEqual(1, held.generation)

    def test_of_two_who_read_the_same_generation_one_writes(self) -> None:
        for turn in range(ROUNDS):
            provider = self._provider(turn)
            works = [
                lambda p=provider, v=value: placement_inventories.replace(self.db, p, 0, v)
                for value in (VCPU, {"VCPU": Inventory(total=9)})
            ]
            self.assertEqual(1, sum(self._together(*works)))
            self.assertEqual(1, placement_providers.get(self.db, provider).generation)
