"""What can never happen, where one host's clock stays wrong: signs of life and leases go by others'."""

import testscenarios
import testtools
from testtools.content import text_content

from tests.faults.world.storm import outcome
from tests.faults.world.wrong_clocks import WrongClock

load_tests = testscenarios.load_tests_apply_scenarios

SEEDS = (2001, 2002, 2003, 2006, 2007, 2009, 2010, 2014)
"""Small worlds, and ones with desired servers and fences; clocks ahead and behind."""


class WrongClocksTest(testtools.TestCase):
    """Nobody mends that clock."""

    scenarios = [(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
    seed = 2001

    def test_what_was_accepted_ends_and_nothing_runs_twice_or_is_left_behind(self) -> None:
        wrongs, told = outcome(self.seed, kind=WrongClock)
        if wrongs:
            self.addDetail("what happened", text_content(told))
        self.assertEqual([], wrongs)
