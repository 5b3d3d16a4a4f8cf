"""Lists a part's tests, or runs those that it takes from a queue; tools/run_tests.py starts it.

``test_worker.py list PART [PATTERN]...`` prints groups of tests as JSON: ``[[ID, ...], ...]``. The tests of
a class that prepares something for all of them are one group; every other test is a group of its own.

``test_worker.py run QUEUE`` runs one group after the other and tells of them in subunit. The queue is a
file with a group a line, from which any number of workers take the first.
"""

import faulthandler
import fcntl
import importlib
import json
import os
import re
import sys
import unittest
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import subunit
import testtools
from subunit.test_results import AutoTimingTestResultDecorator

ROOT = Path(__file__).resolve().parent.parent
_STUCK = 900.0
"""Seconds after which a test will not end any more: its worker says where it stands, and dies."""


def tests_in(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Yield every test of a suite."""
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from tests_in(one)
        else:
            yield one


def groups(part: str, patterns: list[str]) -> list[list[str]]:
    """Return the tests of a part whose names have one of the patterns, as they belong together.

    Raises:
        ImportError: a module cannot be loaded.
    """
    loader = unittest.TestLoader()
    suite = loader.discover(f"tests/{part}", top_level_dir=".")
    if loader.errors:
        raise ImportError("\n".join(loader.errors))
    found: dict[str, list[str]] = {}
    for test in tests_in(suite):
        name = test.id()
        if hasattr(sys.modules[type(test).__module__], "setUpModule"):
            raise ImportError(f"{name}: what several tests need is for a class to prepare")
        if not patterns or any(re.search(pattern, name) for pattern in patterns):
            found.setdefault(class_of(name) if _prepares(test) else name, []).append(name)
    return list(found.values())


def _prepares(test: unittest.TestCase) -> bool:
    return test.setUpClass.__func__ is not unittest.TestCase.setUpClass.__func__  # type: ignore[attr-defined]


def class_of(name: str) -> str:
    """Return the name of a test's class, with its module's."""
    # A scenario's name, in brackets, may have dots of its own.
    return name.partition("(")[0].rpartition(".")[0]


def put(queue: Path, waiting: list[list[str]]) -> None:
    """Write a queue."""
    queue.write_text("".join(json.dumps(group) + "\n" for group in waiting))


def take(queue: Path) -> list[str]:
    """Take the first group out of a queue; there is none left if it is empty."""
    with queue.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first, _, rest = file.read().partition("\n")
        file.seek(0)
        file.truncate()
        file.write(rest)
        # Before the lock goes, which it does with the file.
        file.flush()
    return json.loads(first) if first else []


@cache
def _module(name: str) -> dict[str, unittest.TestCase]:
    """Return a module's tests by their names."""
    suite = unittest.TestLoader().loadTestsFromModule(importlib.import_module(name))
    return {test.id(): test for test in tests_in(suite)}


class _Watched(AutoTimingTestResultDecorator):  # type: ignore[misc]
    """Ends the worker if a test, or what is prepared for it, takes far too long."""

    def startTest(self, test: unittest.TestCase) -> None:
        """See ``unittest.TestResult``."""
        faulthandler.dump_traceback_later(_STUCK, exit=True)
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        """See ``unittest.TestResult``."""
        super().stopTest(test)
        faulthandler.dump_traceback_later(_STUCK, exit=True)


def run(queue: Path) -> None:
    """Run what is in a queue until it is empty."""
    # What tests print goes with their logs.
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    stream = subunit.StreamResultToBytes(told)
    result = _Watched(testtools.ExtendedToStreamDecorator(stream))
    result.startTestRun()
    while group := take(queue):
        tests = _module(class_of(group[0]).rpartition(".")[0])
        # Taken out, so that nothing of a test stays once it is over.
        unittest.TestSuite([tests.pop(name) for name in group])(result)
    faulthandler.cancel_dump_traceback_later()
    result.stopTestRun()


def main() -> None:
    """Do what the command line says."""
    what, subject, *patterns = sys.argv[1:]
    if what == "list":
        found = groups(subject, patterns)
        # After whatever modules printed as they were loaded.
        print("\n" + json.dumps(found))
    else:
        run(Path(subject))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
