"""Guests and their places: the matching that the search looks ahead with."""

import itertools
import random

import testtools

from kilonova.placement.candidates_search import matches


def slowly(places: list[list[str]], seats: dict[str, int]) -> bool:
    """Whether some choice of places seats everybody."""
    return any(
        all(chosen.count(place) <= seats[place] for place in set(chosen))
        for chosen in itertools.product(*places)
    )


class MatchingTest(testtools.TestCase):
    """Each guest takes one of its places, and no place has more guests than seats."""

    def test_it_says_what_trying_all_choices_says(self) -> None:
        said = set()
        for seed in range(1000):
            chance = random.Random(seed)
            names = "abcd"[: chance.randint(1, 4)]
            seats = {name: chance.choice((1, 1, 2)) for name in names}
            places = [
                chance.sample(names, chance.randint(1, len(names)))
                for _ in range(chance.randint(1, 6))
            ]
            self.assertEqual(slowly(places, seats), matches(places, seats), f"{places} {seats}")
            said.add(matches(places, seats))
        self.assertEqual({True, False}, said)

    def test_one_who_sits_moves_on_along_a_chain(self) -> None:
        places = [["a"], ["a", "b"], ["b", "c"], ["c", "d"]]
        self.assertTrue(matches(list(reversed(places)), dict.fromkeys("abcd", 1)))
        self.assertFalse(matches([*places, ["a", "b"], ["d"]], dict.fromkeys("abcd", 1)))

    def test_nobody_is_seated_without_trouble_and_nobody_sits_nowhere(self) -> None:
        self.assertTrue(matches([], {}))
        self.assertFalse(matches([[]], {"a": 1}))
