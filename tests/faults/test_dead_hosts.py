"""What can never happen, where hosts die in the middle of everything, moves above all."""

import testscenarios
import testtools
from testtools.content import text_content

from tests.faults.world.dead_hosts import DeadHosts
from tests.faults.world.storm import outcome

load_tests = testscenarios.load_tests_apply_scenarios

SEEDS = (1001, 1002, 1006, 1007, 1009, 1010, 1012, 1016)
"""Those in which moves meet dead hosts at stages of every kind."""


class DeadHostsTest(testtools.TestCase):
    """Two cells with two hosts each, of which one or the other is off most of the time."""

    scenarios = [(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
    seed = 1001

    def test_what_was_accepted_ends_and_nothing_runs_twice_or_is_left_behind(self) -> None:
        wrongs, told = outcome(self.seed, kind=DeadHosts)
        if wrongs:
            self.addDetail("what happened", text_content(told))
        self.assertEqual([], wrongs)
