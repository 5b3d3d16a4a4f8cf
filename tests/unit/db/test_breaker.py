"""The breaker before a database: when it looks, when it is shut, and how it opens again."""

import threading
import time
from collections.abc import Callable

import testtools

from kilonova.core.errors import DatabaseUnavailable, NotFound
from kilonova.db import breaker
from kilonova.db.breaker import Breaker


class BreakerTest(testtools.TestCase):
    """A database that is away, or slow to say so, as the test says."""

    def setUp(self) -> None:
        super().setUp()
        self.away = False
        self.slow = threading.Event()
        self.slow.set()
        self.looks = 0
        self.cuts = 0
        self.breaker = Breaker(self._look, self._cut)

    def _look(self) -> None:
        self.looks += 1
        self.slow.wait(60)
        if self.away:
            raise DatabaseUnavailable("away")

    def _cut(self) -> None:
        self.cuts += 1

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline, "It did not come true.")
            time.sleep(0.005)

    def _work(self, error: Exception | None = None) -> None:
        with self.breaker.passing():
            if error is not None:
                raise error

    def _fail(self) -> None:
        """Let work fail, and the breaker learn that the database is away."""
        self.away = True
        self.assertRaises(DatabaseUnavailable, self._work, DatabaseUnavailable("gone"))
        self._until(lambda: self.breaker.is_shut)

    def test_work_passes_and_nobody_looks(self) -> None:
        self._work()
        self.assertRaises(NotFound, self._work, NotFound("no"))
        self.assertEqual((0, False), (self.looks, self.breaker.is_shut))

    def test_work_that_fails_alone_shuts_nothing(self) -> None:
        self.assertRaises(DatabaseUnavailable, self._work, DatabaseUnavailable("once"))
        self._until(lambda: self.looks == 1)
        self._work()
        self.assertEqual(0, self.cuts)

    def test_a_database_that_is_away_is_cut_off_and_refused(self) -> None:
        self._fail()
        self.assertEqual(1, self.cuts)
        self.assertRaises(DatabaseUnavailable, self._work)

    def test_one_that_says_at_once_that_it_is_away_is_found_by_the_first_who_comes(self) -> None:
        self._fail()
        self.assertRaises(DatabaseUnavailable, self._work)
        self.away = False
        self._work()

    def test_one_that_lets_wait_is_looked_at_once_a_second_and_all_others_are_refused(self) -> None:
        self.patch(breaker, "_MOMENT", 0.05)
        self.slow.clear()
        self.away = True
        self.assertRaises(DatabaseUnavailable, self._work, DatabaseUnavailable("gone"))
        time.sleep(0.1)
        self.slow.set()
        self._until(lambda: self.breaker.is_shut)
        looks, began = self.looks, time.monotonic()
        for _ in range(100):
            self.assertRaises(DatabaseUnavailable, self._work)
        self.assertLess(time.monotonic() - began, 0.5)
        self.assertEqual(looks, self.looks)

    def test_work_that_takes_long_makes_it_look_and_goes_on_if_the_database_answers(self) -> None:
        self.patch(breaker, "_SLOW", 0.05)
        with self.breaker.passing():
            time.sleep(0.1)
            self.breaker.watch()
            self._until(lambda: self.looks == 1)
        self.assertEqual((0, False), (self.cuts, self.breaker.is_shut))

    def test_a_look_without_end_counts_as_one_without_answer(self) -> None:
        self.patch(breaker, "_LONGEST_LOOK", 0.05)
        self.slow.clear()
        self.breaker.doubt()
        time.sleep(0.1)
        self.breaker.watch()
        self.assertEqual((1, True), (self.cuts, self.breaker.is_shut))
        self.slow.set()
        self._until(lambda: not self.breaker.is_shut)

    def test_what_is_in_hand_is_watched_without_anybody_coming(self) -> None:
        self.patch(breaker, "_SLOW", 0.05)
        self.away = True
        with self.breaker.passing():
            self._until(lambda: self.cuts > 0)
