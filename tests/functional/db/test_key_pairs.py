"""Key pairs in a real database, and their exact count."""

from concurrent.futures import ThreadPoolExecutor

import testscenarios

from kilonova.core.errors import Conflict, Invalid, NotFound, QuotaExceeded
from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair
from kilonova.db import key_pairs, quotas
from tests.functional.db.api_database import NOW, ApiDatabaseTest

load_tests = testscenarios.load_tests_apply_scenarios

ANN, BOB = UserId("ann"), UserId("bob")


def key(name: str) -> KeyPair:
    """Return a key pair of that name."""
    return KeyPair(name=name, kind="ssh", fingerprint="00:11", public_key="ssh-ed25519 AAAA")


class KeyPairsTest(ApiDatabaseTest):
    """A user's key pairs are their own and are counted exactly."""

    def _create(self, name: str, user: UserId = ANN, limit: int = 100) -> None:
        key_pairs.create(self.db, user, key(name), limit=limit, now=NOW)

    def _names(self, **page: object) -> list[str]:
        found = key_pairs.list_key_pairs(self.db, ANN, **{"limit": 100} | page)  # type: ignore[arg-type]
        return [owned.key_pair.name for owned in found]

    def test_a_key_pair_is_found_by_its_owner_only(self) -> None:
        self._create("laptop")
        found = key_pairs.get(self.db, ANN, "laptop")
        self.assertEqual(
            (key("laptop"), ANN, NOW), (found.key_pair, found.user_id, found.created_at)
        )
        self.assertRaises(NotFound, key_pairs.get, self.db, BOB, "laptop")
        self.assertRaises(NotFound, key_pairs.delete, self.db, BOB, "laptop")
        self.assertEqual(["laptop"], self._names())

    def test_a_name_is_taken_once_for_each_user_and_counted_once(self) -> None:
        self._create("laptop")
        self._create("laptop", BOB)
        self.assertRaises(Conflict, self._create, "laptop")
        self.assertEqual(1, quotas.key_pairs_of(self.db, ANN))

    def test_a_key_pair_over_the_limit_is_refused_and_not_written(self) -> None:
        self._create("one", limit=1)
        error = self.assertRaises(QuotaExceeded, self._create, "two", limit=1)
        self.assertIn("already used 1 of 1 key_pairs", str(error))
        self.assertEqual(["one"], self._names())

    def test_a_limit_of_nothing_allows_nothing_and_minus_one_everything(self) -> None:
        self.assertRaises(QuotaExceeded, self._create, "one", limit=0)
        self._create("one", limit=-1)
        self.assertEqual(1, quotas.key_pairs_of(self.db, ANN))

    def test_a_deleted_key_pair_makes_room_and_a_failed_delete_does_not(self) -> None:
        self._create("one", limit=1)
        self.assertRaises(NotFound, key_pairs.delete, self.db, ANN, "two")
        self.assertRaises(QuotaExceeded, self._create, "two", limit=1)
        key_pairs.delete(self.db, ANN, "one")
        self._create("two", limit=1)
        self.assertEqual(["two"], self._names())

    def test_many_requests_at_once_end_exactly_at_the_limit(self) -> None:
        def attempt(number: int) -> bool:
            try:
                self._create(f"k{number}", limit=5)
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(attempt, range(16)))
        self.assertEqual(5, sum(made))
        self.assertEqual(5, len(self._names()))

    def test_pages_are_in_order_of_name(self) -> None:
        for name in ("b", "c", "a"):
            self._create(name)
        self.assertEqual(["a", "b"], self._names(limit=2))
        self.assertEqual(["c"], self._names(limit=2, marker="b"))
        self.assertEqual([], self._names(marker="c"))
        self.assertRaises(Invalid, self._names, marker="nothing")
