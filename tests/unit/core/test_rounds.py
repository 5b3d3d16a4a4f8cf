"""Rounds: what comes together is done together, and each ends as if it had come alone."""

import threading
from collections.abc import Sequence

import testtools

from kilonova.core.errors import BusUnavailable, Invalid
from kilonova.core.rounds import Rounds


class RoundsTest(testtools.TestCase):
    """Work that notes its rounds, and refuses some pieces."""

    def setUp(self) -> None:
        super().setUp()
        self.rounds_done: list[list[str]] = []
        self.refused: dict[str, Exception] = {}
        self.began, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.rounds = Rounds(self._work)

    def _work(self, pieces: Sequence[str]) -> None:
        self.began.set()
        if not self.may_end.wait(120):
            raise AssertionError("nobody lets the round end")
        for piece in pieces:
            if piece in self.refused:
                raise self.refused[piece]
        self.rounds_done.append(list(pieces))

    def _behind(self, first: str, others: Sequence[str]) -> dict[str, Exception | None]:
        """Have one done, and the others come while it is; return what each was refused with."""
        came: dict[str, Exception | None] = {}

        def carry_out(piece: str) -> None:
            (came[piece],) = self.rounds.carry_out([piece])

        self.may_end.clear()
        threads = [threading.Thread(target=carry_out, args=(first,))]
        threads[0].start()
        self.assertTrue(self.began.wait(120))
        for number, piece in enumerate(others):
            threads.append(threading.Thread(target=carry_out, args=(piece,)))
            threads[-1].start()
            pause = threading.Event()
            while len(self.rounds._arrived) <= number:
                pause.wait(0.001)
        self.may_end.set()
        for thread in threads:
            thread.join(120)
        return came

    def test_who_comes_alone_goes_alone(self) -> None:
        self.assertEqual([None], self.rounds.carry_out(["a"]))
        self.assertEqual([None], self.rounds.carry_out(["b"]))
        self.assertEqual([["a"], ["b"]], self.rounds_done)

    def test_those_who_come_during_a_round_share_the_next_in_the_order_they_came(self) -> None:
        came = self._behind("first", "abcde")
        self.assertEqual(dict.fromkeys(["first", *"abcde"]), came)
        self.assertEqual([["first"], list("abcde")], self.rounds_done)

    def test_only_who_is_to_blame_is_refused(self) -> None:
        self.refused = {"c": Invalid("no c"), "e": Invalid("no e")}
        came = self._behind("first", "abcdef")
        self.assertEqual(
            {"c": "no c", "e": "no e"}, {p: str(error) for p, error in came.items() if error}
        )
        self.assertEqual(["first", *"abdf"], [p for done in self.rounds_done for p in done])

    def test_a_part_that_does_not_answer_is_asked_once(self) -> None:
        self.refused = {"c": BusUnavailable("away")}
        came = self._behind("first", "abcdef")
        self.assertEqual(set("abcdef"), {p for p, error in came.items() if error})
        self.assertEqual([["first"]], self.rounds_done)

    def test_a_round_has_no_more_than_a_hundred_pieces(self) -> None:
        self.assertEqual([None] * 250, self.rounds.carry_out([str(n) for n in range(250)]))
        self.assertEqual([100, 100, 50], [len(done) for done in self.rounds_done])
