"""Turns: one thing at a time for each guest."""

import threading
import time

import testtools

from kilonova.compute.guests import Turns
from kilonova.core.ids import InstanceUuid

A, B = InstanceUuid("a"), InstanceUuid("b")


class TurnsTest(testtools.TestCase):
    """Who waits for whom."""

    def setUp(self) -> None:
        super().setUp()
        self.turns = Turns()

    def hold(self, uuid: InstanceUuid) -> tuple[threading.Event, threading.Thread]:
        """Let another thread hold a turn until the event is set."""
        held, release = threading.Event(), threading.Event()

        def work() -> None:
            with self.turns.turn(uuid):
                held.set()
                release.wait(60)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.addCleanup(release.set)
        self.assertTrue(held.wait(60))
        return release, thread

    def test_one_guest_is_worked_on_by_one_thread_at_a_time(self) -> None:
        inside, most = 0, 0
        lock = threading.Lock()

        def work() -> None:
            nonlocal inside, most
            for _ in range(20):
                with self.turns.turn(A):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.0002)
                    with lock:
                        inside -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual((0, 1), (inside, most))

    def test_other_guests_do_not_wait(self) -> None:
        self.hold(A)
        with self.turns.turn(B):
            pass

    def test_a_turn_ends_with_an_error_too(self) -> None:
        def fail() -> None:
            with self.turns.turn(A):
                raise ValueError

        self.assertRaises(ValueError, fail)
        with self.turns.turn_if_free(A) as free:
            self.assertTrue(free)

    def test_a_turn_that_is_free_is_taken_and_kept_from_others(self) -> None:
        entered = threading.Event()

        def work() -> None:
            with self.turns.turn(A):
                entered.set()

        with self.turns.turn_if_free(A) as free:
            self.assertTrue(free)
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self.assertFalse(entered.wait(0.05))
        self.assertTrue(entered.wait(60))
        thread.join(60)

    def test_a_turn_that_is_held_is_not_waited_for(self) -> None:
        release, thread = self.hold(A)
        with self.turns.turn_if_free(A) as free:
            self.assertFalse(free)
        release.set()
        thread.join(60)
        with self.turns.turn_if_free(A) as free:
            self.assertTrue(free)

    def test_nothing_is_kept_of_turns_that_ended(self) -> None:
        for number in range(100):
            with self.turns.turn(InstanceUuid(str(number))):
                pass
        self.assertEqual({}, self.turns._turns)

    def test_the_word_that_a_guest_is_to_go_holds_while_somebody_removes_it(self) -> None:
        self.assertFalse(self.turns.is_going(A))
        with self.turns.going(A) as first:
            self.assertTrue(first)
            self.assertTrue(self.turns.is_going(A))
            self.assertFalse(self.turns.is_going(B))
            with self.turns.going(A) as again:
                self.assertFalse(again)
            self.assertTrue(self.turns.is_going(A))
        self.assertFalse(self.turns.is_going(A))
