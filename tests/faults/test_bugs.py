"""Whether storms notice anything: each bug of a list is put in by hand, and some seed must tell."""

import testscenarios
import testtools
from testtools.content import text_content

from tests.faults.world.bugs import BUGS, Bug
from tests.faults.world.storm import outcome

load_tests = testscenarios.load_tests_apply_scenarios

_SEEDS = 100
"""Seeds that are tried before a bug counts as one that nothing notices."""


class BugTest(testtools.TestCase):
    """One bug at a time."""

    scenarios = [(bug.__name__, {"bug": staticmethod(bug), "seed": n}) for bug, n in BUGS.items()]
    bug: Bug
    seed = 1

    def test_a_bug_is_noticed(self) -> None:
        for seed in dict.fromkeys((self.seed, *range(1, _SEEDS))):
            wrongs = outcome(seed, self.bug).wrongs
            if wrongs:
                self.addDetail("noticed", text_content(f"seed {seed}: {wrongs[0]}"))
                return
        self.fail(f"{self.bug.__doc__} None of {_SEEDS} storms noticed.")
