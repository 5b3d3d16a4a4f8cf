"""Runs the parts of the tests that it is given, adds up what passed and failed, and says so in one line.

``run_tests.py PART... -- [PATTERN]...``; tools/test calls it, once everything is installed.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from compileall import compile_dir
from contextlib import contextmanager
from pathlib import Path

from lanes import NICE, Batch, Check, Part, Work, go, of_class, queue_of, work_off
from tally import Tally, say

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
PYTHON = ("kilonova", "tests", "tools")
LINTERS = (
    ("ruff", "check", *PYTHON),
    ("ruff", "format", "--check", *PYTHON),
    ("mypy",),
    ("lint-imports",),
    ("python", "tools/check_sizes.py"),
)
WORKERS = {"unit": 2, "functional": 3, "integration": 2, "faults": 2}
"""Functional tests wait now and then. Each worker of the integration tests has its services."""

LONGEST = "integration"

LANES = max(WORKERS.values())

COMPUTING = tuple(f"tests.faults.test_{name}." for name in ("bugs", "dead_hosts", "model", "seeds"))
"""Tests that wait for nothing, and hold to no clock."""

SERVED = ("integration", "faults", "performance")
"""The parts whose processes are looked for at the end."""

TIMED = ("functional", "integration")
"""The parts in which threads and processes wait for each other."""

TRIED_AGAIN = 8
"""How many failed tests of such a part are run once more, at the most."""

MARK = "KILONOVA_TEST_RUN"
"""A variable that every process of the run inherits."""


def lint(total: Tally) -> None:
    """Run every linter over the project."""
    say("== lint")
    for command in LINTERS:
        done = subprocess.run(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=ROOT,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            say(done.stdout.rstrip())
        total.check(" ".join(command), good=done.returncode == 0)


def run_all(parts: list[str], patterns: list[str], total: Tally) -> int:
    """Run parts, side by side where that disturbs nobody; return how many tests were found.

    What failed where tests wait is run once more by itself, if it is little: one that then passes depends
    on how busy the machine was, and is named as unsteady at the end.
    """
    with database_servers(parts) as before:
        tested = [Part(n, patterns, before.get(n, lambda: None)) for n in parts if n != "lint"]
        shared = [part for part in tested if part.name != "performance"]
        # Two lanes at the most take part in the longest, and the others in the rest meanwhile.
        shared.sort(key=lambda part: part.name != LONGEST)
        waiting = [Batch(part, WORKERS[part.name], _waits) for part in shared]
        computing: list[Work] = [
            Batch(part, WORKERS[part.name], _computes) for part in shared if part.name == "faults"
        ]
        if "lint" in parts:
            computing.insert(0, Check(lambda: lint(total)))
        go([*[(0, [*waiting, *computing])] * LANES, (NICE, computing)])
        # What is measured has the machine to itself.
        go([(0, [Batch(part, 1) for part in tested if part not in shared])])
        for part in tested:
            part.count_lost()
            if part.name in TIMED:
                _try_again(part)
            total.add(part.tally)
    return sum(part.tally.ran for part in tested)


def _computes(name: str) -> bool:
    return name.startswith(COMPUTING)


def _waits(name: str) -> bool:
    return not _computes(name)


def _try_again(part: Part) -> None:
    failed = set(part.tally.failures)
    if not 0 < len(failed) <= TRIED_AGAIN:
        return
    chosen = [[n for n in group if {n, of_class(n)} & failed] for group in part.groups()]
    if not any(chosen):
        return
    say(f"-- {len(failed)} of {part.name} once more, alone")
    again = Tally()
    work_off(queue_of([group for group in chosen if group]), again)
    part.tally.unsteady += [name for name in part.tally.failures if name not in again.failures]
    part.tally.failures = []
    part.tally.add(again)


@contextmanager
def database_servers(parts: list[str]) -> Iterator[dict[str, Callable[[], None]]]:
    """Yield what serves MariaDB and PostgreSQL to a part, by its name: to the functional tests.

    It is for where integration tests run anyway.
    """
    if not {"functional", "integration"} <= set(parts):
        yield {}
        return
    from tests.integration import services  # noqa: PLC0415

    def serve() -> None:
        os.environ["KILONOVA_TEST_MARIADB"] = services.mariadb().server_url
        os.environ["KILONOVA_TEST_POSTGRESQL"] = services.postgresql().server_url

    try:
        yield {"functional": serve}
    finally:
        services.stop_all()


def leftovers() -> dict[int, str]:
    """Return the processes, by id, that inherited this run's mark and are not this one."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = command.decode(errors="replace")[:150]
        except OSError:
            continue
    return found


def main() -> int:
    """Run the parts; return the exit status."""
    split = sys.argv.index("--")
    parts, patterns = sys.argv[1:split], sys.argv[split + 1 :]
    os.environ[MARK] = uuid.uuid4().hex
    # Hundreds of processes start: not one of them is to compile what it imports.
    compile_dir(ROOT / "kilonova", quiet=1)
    compile_dir(ROOT / "tests", quiet=1)
    total = Tally()
    found = run_all(parts, patterns, total)
    if patterns and not found:
        total.check(f"tests whose names have {' or '.join(patterns)}", good=False)
    if set(parts) & set(SERVED):
        left = leftovers()
        print("".join(f"left behind: {pid} {command}\n" for pid, command in left.items()), end="")
        total.check("no process left behind", good=not left)
    total.tell()
    return 1 if total.failed or not total.ran else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
