"""Who may claim for a server when several do at once: only who is not behind the others."""

from typing import Any

import testscenarios

from kilonova.core.errors import Fenced
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_holdings, placement_inventories, placement_providers
from kilonova.db.placement_claims import Claim, free, replace_all
from kilonova.db.placement_rounds import ClaimRounds
from tests.functional.placement.placement_case import PlacementCase

load_tests = testscenarios.load_tests_apply_scenarios

HERE, THERE = (f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(2))
SERVER, OTHER = (f"bbbbbbbb-0000-4000-8000-{n:012}" for n in range(2))


class FencesTest(PlacementCase):
    """Two providers with room for ten each."""

    def setUp(self) -> None:
        super().setUp()
        for uuid in (HERE, THERE):
            placement_providers.create(self.db, uuid, uuid)
            placement_inventories.replace(self.db, uuid, None, {"VCPU": Inventory(total=10)})

    def claim(self, fence: int, provider: str | None, consumer: str = SERVER) -> None:
        """Claim one VCPU of a provider for a server, or nothing."""
        replace_all(self.db, [_claim(fence, provider, consumer)])

    def held(self) -> dict[str, Any]:
        """Return what the server holds."""
        found = placement_holdings.of_consumer(self.db, SERVER)
        return {} if found is None else dict(found.allocation)

    def test_a_greater_fence_replaces_what_a_smaller_one_claimed(self) -> None:
        self.claim(1, HERE)
        self.claim(2, THERE)
        self.assertEqual({THERE: {"VCPU": 1}}, self.held())

    def test_a_smaller_fence_changes_nothing_any_more(self) -> None:
        self.claim(2, THERE)
        for provider in (HERE, THERE, None):
            self.assertRaises(Fenced, self.claim, 1, provider)
        self.assertEqual({THERE: {"VCPU": 1}}, self.held())

    def test_under_one_fence_the_first_claim_stands_and_may_be_repeated(self) -> None:
        self.claim(1, HERE)
        self.claim(1, HERE)
        self.assertRaises(Fenced, self.claim, 1, THERE)
        self.assertEqual({HERE: {"VCPU": 1}}, self.held())

    def test_who_claimed_may_give_back(self) -> None:
        self.claim(1, HERE)
        self.claim(1, None)
        self.assertEqual({}, self.held())

    def test_who_has_no_fence_is_not_compared_and_leaves_the_fence(self) -> None:
        self.claim(3, HERE)
        self.claim(0, THERE)
        self.assertEqual({THERE: {"VCPU": 1}}, self.held())
        self.assertRaises(Fenced, self.claim, 2, HERE)
        free(self.db, [SERVER])
        self.assertEqual({}, self.held())

    def test_of_many_only_the_fenced_one_is_refused(self) -> None:
        self.claim(2, HERE)
        refused = ClaimRounds(self.db).claim_each(
            [_claim(1, THERE, SERVER), _claim(1, THERE, OTHER)]
        )
        self.assertEqual({SERVER: Fenced}, {uuid: type(why) for uuid, why in refused.items()})
        self.assertEqual({HERE: {"VCPU": 1}}, self.held())


def _claim(fence: int, provider: str | None, consumer: str) -> Claim:
    allocation = {} if provider is None else {provider: {"VCPU": 1}}
    return Claim(consumer=consumer, project_id="p", user_id="u", allocation=allocation, fence=fence)
