"""One leads at a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import testscenarios

from kilonova.db import leases
from tests.functional.db.api_database import NOW, ApiDatabaseTest
from tests.functional.db.databases import statements_of

load_tests = testscenarios.load_tests_apply_scenarios

LENGTH = timedelta(seconds=30)


class LeasesTest(ApiDatabaseTest):
    """A lease of 30 seconds."""

    def _hold(self, holder: str, after: float = 0, name: str = "converger") -> int | None:
        return leases.hold(self.db, name, holder, NOW + timedelta(seconds=after), LENGTH)

    def test_the_first_to_ask_leads_and_nobody_else(self) -> None:
        self.assertEqual(1, self._hold("a"))
        self.assertIsNone(self._hold("b"))
        self.assertIsNone(self._hold("b", 29.9))

    def test_who_leads_keeps_on_leading_under_the_same_token_by_asking_in_time(self) -> None:
        for after in (0, 20, 40, 60):
            self.assertEqual(1, self._hold("a", after))
            self.assertIsNone(self._hold("b", after + 15))

    def test_when_a_lease_is_over_another_leads_under_a_greater_token(self) -> None:
        self._hold("a")
        self.assertEqual(2, self._hold("b", 30))
        # The one that was late is told so, and not let in beside the other.
        self.assertIsNone(self._hold("a", 31))
        self.assertEqual(3, self._hold("a", 61))

    def test_a_lease_that_is_over_is_its_holders_until_another_asks(self) -> None:
        self._hold("a")
        self.assertEqual(1, self._hold("a", 300))

    def test_a_lease_that_is_given_back_is_free_at_once(self) -> None:
        self._hold("a")
        leases.let_go(self.db, "converger", "a")
        self.assertEqual(2, self._hold("b", 1))

    def test_nobody_gives_back_anothers_lease(self) -> None:
        self._hold("a")
        leases.let_go(self.db, "converger", "b")
        self.assertIsNone(self._hold("b"))

    def test_leases_of_other_names_are_other_leases(self) -> None:
        self.assertEqual((1, 1), (self._hold("a"), self._hold("b", name="another")))

    def test_of_many_that_ask_at_once_one_leads(self) -> None:
        for round_ in range(3):
            with ThreadPoolExecutor(8) as threads:
                tokens = list(
                    threads.map(lambda n, r=round_: self._hold(f"{r}-{n}", 100.0 * r), range(8))
                )
            self.assertEqual([round_ + 1], [token for token in tokens if token is not None])

    def test_keeping_a_lease_is_two_statements(self) -> None:
        self._hold("a")
        seen = statements_of(self.db, lambda: self._hold("a", 1))
        self.assertEqual(2, len([s for s in seen if not s.startswith("BEGIN")]), seen)
