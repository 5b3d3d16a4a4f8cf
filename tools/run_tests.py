"""Runs the parts of the tests that it is given, adds up what passed and failed, and says so in one line.

``run_tests.py PART... -- [PATTERN]...``; tools/test calls it, once everything is installed.
"""

import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import subunit
import testtools

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

SERVED = ("integration", "faults", "performance")
"""The parts whose processes are looked for at the end."""

TIMED = ("functional", "integration")
"""The parts in which threads and processes wait for each other."""

TRIED_AGAIN = 8
"""How many failed tests of such a part are run once more, at the most."""

LOGGED = 60
"""How many lines of a part's logs are printed when it failed."""

MARK = "KILONOVA_TEST_RUN"
"""A variable that every process of the run inherits."""


@dataclass
class Tally:
    """What a run came to."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many failed."""
        return len(self.failures)

    def add(self, other: "Tally") -> None:
        """Take in what another part came to."""
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures
        self.unsteady += other.unsteady

    def check(self, what: str, *, good: bool) -> None:
        """Count one check that is not a test."""
        print(f"{'ok    ' if good else 'FAILED'} {what}", flush=True)
        if good:
            self.passed += 1
        else:
            self.failures.append(what)

    def take(self, test: dict[str, Any]) -> None:
        """Count a test that ended, and print it unless it passed quickly."""
        status = test["status"]
        start, stop = test["timestamps"]
        seconds = (stop - start).total_seconds() if start and stop else 0.0
        if status in {"success", "xfail"}:
            self.passed += 1
            if seconds >= 1:
                print(f"ok     {test['id']} ({seconds:.1f} s)", flush=True)
        elif status == "skip":
            self.skipped += 1
            reason = test["details"].get("reason")
            print(f"skip   {test['id']}: {reason.as_text() if reason else ''}", flush=True)
        elif status != "exists":
            self.failures.append(test["id"])
            print(f"FAILED {test['id']} ({status}, {seconds:.1f} s)")
            for name, detail in test["details"].items():
                if detail.content_type.type == "text":
                    print(f"--- {name}\n{detail.as_text().rstrip()}")
            print(end="", flush=True)

    @property
    def ran(self) -> int:
        """How many tests were found."""
        return self.passed + self.failed + self.skipped


def lint(total: Tally) -> None:
    """Run every linter over the project."""
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
            print(done.stdout.rstrip())
        total.check(" ".join(command), good=done.returncode == 0)


def run_part(part: str, patterns: list[str], total: Tally) -> int:
    """Run one directory's tests and return how many were found.

    What failed where tests wait is run once more by itself, if it is little: one that then passes depends
    on how busy the machine was, and is named as unsteady at the end.
    """
    found = _stestr(part, patterns, WORKERS.get(part, 1))
    if part in TIMED and 0 < len(found.failures) <= TRIED_AGAIN:
        print(f"-- {len(found.failures)} of {part} once more, alone", flush=True)
        again = _stestr(part, [_alone(name) for name in found.failures], 1)
        if again.ran:
            found.unsteady += [name for name in found.failures if name not in again.failures]
            found.failures = []
            found.add(again)
    total.add(found)
    return found.ran


def _alone(name: str) -> str:
    """Return the pattern that chooses a test that failed, or the class whose preparation failed."""
    whole_class = re.fullmatch(r"(?:setUp|tearDown)Class \((.*)\)", name)
    return f"^{re.escape(whole_class[1])}[.]" if whole_class else f"^{re.escape(name)}$"


def _stestr(part: str, patterns: list[str], workers: int) -> Tally:
    found = Tally()
    command = [str(PROGRAMS / "stestr"), "--test-path", f"tests/{part}", "--top-dir", "."]
    # A repository of its own: two runs in one checkout do not meet.
    with tempfile.TemporaryDirectory() as results, tempfile.TemporaryFile() as logged:
        command += [
            "--repo-url",
            results,
            "run",
            "--subunit",
            "--concurrency",
            str(workers),
            *patterns,
        ]
        runner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=logged)
        summary = testtools.StreamToDict(found.take)
        source = subunit.ByteStreamToStreamResult(runner.stdout, non_subunit_name="stdout")
        summary.startTestRun()
        source.run(_WithoutOutput(summary))
        summary.stopTestRun()
        status = runner.wait()
        if status and not found.failed and (found.ran or not patterns):
            found.check(f"stestr of {part} (exit {status})", good=False)
        if found.failed:
            _print_end(logged)
    return found


def _print_end(logged: BinaryIO) -> None:
    """Print the last lines that the tests of a part logged."""
    logged.seek(0)
    lines = logged.read().decode(errors="replace").splitlines()
    print("--- logged last", *lines[-LOGGED:], sep="\n", flush=True)


class _WithoutOutput(testtools.StreamResult):  # type: ignore[misc]
    """Passes on what belongs to a test; prints the rest."""

    def __init__(self, target: testtools.StreamResult) -> None:
        super().__init__()
        self._target = target

    def status(self, *args: Any, **fields: Any) -> None:
        """See ``testtools.StreamResult``."""
        if fields.get("test_id", args[0] if args else None) is None:
            content = fields.get("file_bytes")
            print(bytes(content).decode(errors="replace") if content else "", end="", flush=True)
        else:
            self._target.status(*args, **fields)


@contextmanager
def database_servers(parts: list[str]) -> Iterator[None]:
    """Serve MariaDB and PostgreSQL to the functional tests too, where integration tests run anyway."""
    if not {"functional", "integration"} <= set(parts):
        yield
        return
    from tests.integration import services  # noqa: PLC0415

    with ExitStack() as stack:
        stack.callback(services.stop_all)
        os.environ["KILONOVA_TEST_MARIADB"] = services.mariadb().server_url
        os.environ["KILONOVA_TEST_POSTGRESQL"] = services.postgresql().server_url
        yield


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
    total = Tally()
    found = 0
    with database_servers(parts):
        for part in parts:
            print(f"== {part}", flush=True)
            if part == "lint":
                lint(total)
            elif any((ROOT / "tests" / part).rglob("test_*.py")):
                ran = run_part(part, patterns, total)
                found += ran
                if not ran and not patterns:
                    total.check(f"tests found in tests/{part}", good=False)
    if patterns and not found:
        total.check(f"tests whose names have {' or '.join(patterns)}", good=False)
    if set(parts) & set(SERVED):
        left = leftovers()
        print("".join(f"left behind: {pid} {command}\n" for pid, command in left.items()), end="")
        total.check("no process left behind", good=not left)
    print(
        "".join(f"unsteady: {what} failed, and passed alone\n" for what in total.unsteady), end=""
    )
    print("".join(f"failed: {what}\n" for what in total.failures), end="")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.ran else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
