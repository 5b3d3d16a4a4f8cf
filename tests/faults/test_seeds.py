"""What can never happen, in storms that follow from their seed alone.

``tools/test faults --seed N`` replays one, and tells what happened in it.
"""

import os

import testscenarios
import testtools
from testtools.content import text_content

from tests.faults.world.storm import outcome

load_tests = testscenarios.load_tests_apply_scenarios

SEEDS = (
    [int(os.environ["KILONOVA_FAULT_SEED"])]
    if "KILONOVA_FAULT_SEED" in os.environ
    else list(range(1, 97))
)


class SeedTest(testtools.TestCase):
    """Worlds of all kinds; see ``world.layout``."""

    scenarios = [(f"seed {seed}", {"seed": seed}) for seed in SEEDS]
    seed = 1

    def test_what_was_accepted_ends_and_nothing_runs_twice_or_is_left_behind(self) -> None:
        wrongs, told = outcome(self.seed)
        if wrongs or len(SEEDS) == 1:
            self.addDetail("what happened", text_content(told))
        self.assertEqual([], wrongs)
