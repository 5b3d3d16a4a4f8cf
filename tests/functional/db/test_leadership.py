"""Who leads knows until when, without asking: a leader that stands still stops before another begins."""

from collections.abc import Callable
from datetime import timedelta

import testscenarios

from kilonova.conductor.leadership import Leadership
from kilonova.core.errors import DatabaseUnavailable
from tests.functional.db.api_database import ApiDatabaseTest
from tests.functional.db.databases import statements_of

load_tests = testscenarios.load_tests_apply_scenarios

LENGTH = timedelta(seconds=0.6)


class LeadershipTest(ApiDatabaseTest):
    """A lease of 0.6 s, on a clock of this process that the test moves."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0

    def candidate(self, holder: str, clock: Callable[[], float] | None = None) -> Leadership:
        """Return one who wants to lead."""
        return Leadership(self.db, "converger", holder, LENGTH, clock or (lambda: self.now))

    def test_one_leads_until_it_lets_go(self) -> None:
        one, other = self.candidate("one"), self.candidate("other")
        self.assertEqual((False, True, False), (one.holds(), one.take(), other.take()))
        self.assertEqual((True, False), (one.holds(), other.holds()))
        one.let_go()
        self.assertEqual((False, True), (one.holds(), other.take()))
        self.assertGreater(other.token or 0, one.token or 0)

    def test_who_stood_still_for_longer_than_the_lease_knows_that_it_does_not_lead(self) -> None:
        one = self.candidate("one")
        one.take()
        self.now += 0.61
        self.assertEqual([], statements_of(self.db, lambda: self.assertFalse(one.holds())))

    def test_a_lease_that_is_half_over_is_asked_for_again_and_not_before(self) -> None:
        one = self.candidate("one")
        one.take()
        self.now += 0.29
        self.assertEqual([], statements_of(self.db, lambda: self.assertTrue(one.holds())))
        self.now += 0.02
        self.assertNotEqual([], statements_of(self.db, lambda: self.assertTrue(one.holds())))
        self.now += 0.5
        self.assertTrue(one.holds())

    def test_who_cannot_ask_leads_to_the_end_of_what_it_has_and_no_longer(self) -> None:
        one = self.candidate("one")
        one.take()
        self.break_database()
        self.now += 0.2
        self.assertTrue(one.holds())
        self.now += 0.2
        self.assertRaises(DatabaseUnavailable, one.holds)
        self.now += 0.21
        self.assertFalse(one.holds())

    def break_database(self) -> None:
        """Let the database answer nobody."""
        self.patch(self.db, "write", _broken)


def _broken(_work: object) -> None:
    raise DatabaseUnavailable("The database is away.")
