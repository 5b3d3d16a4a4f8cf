"""Fences are programs: what they say, and that none holds anybody up."""

import sys
import time
from typing import Any

import testtools

from kilonova.conductor.fencing import Fencer, run
from kilonova.core.errors import Invalid


def program(code: str) -> list[str]:
    """Return a command that does this."""
    return [sys.executable, "-c", code]


class RunTest(testtools.TestCase):
    """One call of a fence."""

    def test_only_exit_status_zero_is_a_yes(self) -> None:
        cases: list[tuple[str, bool, str]] = [
            ("print('off')", True, "off"),
            ("pass", True, ""),
            ("import sys; print('no'); print('why', file=sys.stderr); sys.exit(3)", False, "no"),
            ("import os; os.abort()", False, "exit status -6"),
            ("import os; os.write(1, bytes([255, 10]))", True, "\N{REPLACEMENT CHARACTER}"),
        ]
        for code, yes, words in cases:
            said, told = run(program(code))
            self.assertEqual(yes, said, code)
            self.assertIn(words, told)

    def test_it_is_given_the_hosts_name_and_address(self) -> None:
        code = "import sys; print(sys.argv[1:])"
        self.assertEqual((True, "['h1', '10.0.0.1']"), run([*program(code), "h1", "10.0.0.1"]))

    def test_one_that_does_not_end_says_no_and_is_ended_with_its_children(self) -> None:
        code = "import subprocess; print('hm', flush=True); subprocess.run(['sleep', '60'])"
        began = time.monotonic()
        said, told = run(program(code), seconds=1)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual((False, "hm; no answer within 1 seconds"), (said, told))

    def test_a_child_that_stays_holds_nobody_up(self) -> None:
        code = "import subprocess; subprocess.Popen(['sleep', '5'])"
        began = time.monotonic()
        self.assertTrue(run(program(code))[0])
        self.assertLess(time.monotonic() - began, 4)

    def test_one_that_cannot_be_called_says_no(self) -> None:
        said, told = run(["/nonexistent/fence"])
        self.assertFalse(said)
        self.assertIn("could not be called", told)

    def test_of_very_many_words_the_last_are_kept(self) -> None:
        _, told = run(program("print('x' * 100000 + 'end')"))
        self.assertEqual((2000, "end"), (len(told) + 1, told[-3:]))


class CheckTest(testtools.TestCase):
    """What a conductor refuses to start with."""

    def check(self, command: str | None, mode: str) -> None:
        """See ``Fencer.check``."""
        cells: Any = None
        Fencer(command, cells).check(mode)

    def test_there_is_no_evacuation_without_a_fence(self) -> None:
        self.check(None, "never")
        self.check("true", "never")
        self.check("true --now", "always")
        for mode in ("asked", "always"):
            error = self.assertRaises(Invalid, self.check, None, mode)
            self.assertIn("[ha] fence_command", str(error))

    def test_a_fence_that_is_not_there_is_refused(self) -> None:
        for mode in ("never", "always"):
            error = self.assertRaises(Invalid, self.check, "/nonexistent/fence --x", mode)
            self.assertIn("/nonexistent/fence", str(error))
