"""Which tests run when: lanes go through the parts side by side, and work wherever they are let in.

Tests that wait for threads and processes have most lanes, of which the last ones of one part run beside
the first ones of the next. What only computes has a lane of low priority of its own: it takes what the
others leave of the machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import subunit
import testtools
from tally import Tally, say
from test_worker import class_of, put

ROOT = Path(__file__).resolve().parent.parent
WORKER = (sys.executable, str(ROOT / "tools" / "test_worker.py"))

LOGGED = 60
"""How many lines of a part's logs are printed when it failed."""

NICE = 5
"""How much those who only compute step back."""

_queues = tempfile.TemporaryDirectory(prefix="kilonova-tests-")
_over = threading.Event()
"""That somebody ended the run."""

FIRST = (
    "tests.functional.api.test_malformed_bodies.",
    "tests.functional.pipeline.test_host_failure_crashes.",
    "tests.functional.pipeline.test_dying_movers.",
    "tests.functional.pipeline.test_desired.",
    "tests.functional.pipeline.test_move_failures.",
    "tests.functional.api.test_openapi.",
    "tests.integration.test_tempest.",
    "tests.integration.test_volumes.",
    "tests.integration.test_clients.",
    "tests.integration.test_storm.",
    "tests.integration.test_moves.",
    "tests.integration.test_networked_guests.",
    "tests.integration.test_boot.",
    "tests.integration.test_cells.",
    "tests.integration.test_dead_parts.",
    "tests.integration.test_guests.",
    "tests.integration.test_placement_client.",
    "tests.integration.test_explain.",
    "tests.faults.test_moving_storm.",
    "tests.faults.test_bugs.",
)
"""What takes longest begins first, so that no lane works alone in the end."""


class Part:
    """One directory of tests."""

    def __init__(
        self, name: str, patterns: Sequence[str], before: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self.tally = Tally()
        self._patterns = patterns
        self._before = before
        self._lock = threading.Lock()
        self._groups: list[list[str]] | None = None

    def groups(self) -> list[list[str]]:
        """Return the names of its tests, in groups that one process runs, the longest first.

        They are looked for once. One that cannot be loaded counts as a failure.
        """
        with self._lock:
            if self._groups is None:
                say(f"== {self.name}")
                self._before()
                self._groups = sorted(self._listed(), key=_turn)
            return self._groups

    def _listed(self) -> list[list[str]]:
        command = [*WORKER, "list", self.name, *self._patterns]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if listed.returncode:
            say(listed.stderr.rstrip())
            self.tally.check(f"tests/{self.name} can be loaded", good=False)
            return []
        found: list[list[str]] = json.loads(listed.stdout.splitlines()[-1])
        if not found and not self._patterns:
            self.tally.check(f"tests found in tests/{self.name}", good=False)
        return found

    def count_lost(self) -> None:
        """Count every test as failed that never came to an end, though its class was prepared."""
        ended = self.tally.ended
        for name in [name for group in self.groups() for name in group]:
            if name not in ended and of_class(name) not in ended:
                self.tally.check(name, good=False)


def of_class(name: str) -> str:
    """Return what is told of a test's class if that cannot be prepared."""
    return f"setUpClass ({class_of(name)})"


def _turn(group: list[str]) -> int:
    return next((n for n, begin in enumerate(FIRST) if group[0].startswith(begin)), len(FIRST))


class Work(Protocol):
    """What a lane may find to do."""

    def join(self, niceness: int) -> None:
        """Help with it; return when nothing is left for one more."""


@dataclass
class Check:
    """Work that one lane does alone."""

    do: Callable[[], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def join(self, niceness: int) -> None:
        """See ``Work``."""
        if self._lock.acquire(blocking=False):
            self.do()


class Batch:
    """Those tests of a part that are ``wanted``, for so many workers at a time at the most."""

    def __init__(
        self,
        part: Part,
        workers: int,
        wanted: Callable[[str], bool] = lambda _name: True,
    ) -> None:
        self.part = part
        self._free = threading.Semaphore(workers)
        self._wanted = wanted
        self._lock = threading.Lock()
        self._queue: Path | None = None

    def join(self, niceness: int) -> None:
        """See ``Work``."""
        if not self._free.acquire(blocking=False):
            return
        try:
            with self._lock:
                if self._queue is None:
                    self._queue = queue_of([g for g in self.part.groups() if self._wanted(g[0])])
            work_off(self._queue, self.part.tally, niceness)
        finally:
            self._free.release()


def queue_of(groups: list[list[str]]) -> Path:
    """Return a queue of tests."""
    queue = Path(_queues.name, uuid.uuid4().hex)
    put(queue, groups)
    return queue


def work_off(queue: Path, tally: Tally, niceness: int = 0) -> None:
    """Run a queue's tests until none is left, with another worker if one dies."""
    while not _over.is_set() and (left := queue.stat().st_size):
        failed = tally.failed
        with tempfile.TemporaryFile() as logged:
            worker = subprocess.Popen(
                [*WORKER, "run", str(queue)], cwd=ROOT, stdout=subprocess.PIPE, stderr=logged
            )
            os.setpriority(os.PRIO_PROCESS, worker.pid, niceness)
            summary = testtools.StreamToDict(tally.take)
            source = subunit.ByteStreamToStreamResult(worker.stdout, non_subunit_name="stdout")
            summary.startTestRun()
            source.run(_WithoutOutput(summary))
            summary.stopTestRun()
            if status := worker.wait():
                tally.check(f"a worker that ended with {status}", good=False)
            if tally.failed > failed:
                _print_end(logged)
        if queue.stat().st_size == left:
            return


def _print_end(logged: BinaryIO) -> None:
    """Print the last lines that a worker's tests logged."""
    logged.seek(0)
    lines = logged.read().decode(errors="replace").splitlines()
    say("--- logged last", *lines[-LOGGED:])


class _WithoutOutput(testtools.StreamResult):
    """Passes on what belongs to a test; prints the rest."""

    def __init__(self, target: testtools.StreamResult) -> None:
        super().__init__()
        self._target = target

    def status(self, *args: Any, **fields: Any) -> None:
        """See ``testtools.StreamResult``."""
        if fields.get("test_id", args[0] if args else None) is None:
            content = fields.get("file_bytes")
            if content:
                say(bytes(content).decode(errors="replace").rstrip())
        else:
            self._target.status(*args, **fields)


def go(lanes: Sequence[tuple[int, Sequence[Work]]]) -> None:
    """Let lanes, each with its niceness and what it goes through, run side by side to their ends."""

    def walk(niceness: int, works: Sequence[Work]) -> None:
        for work in works:
            work.join(niceness)

    threads = [threading.Thread(target=walk, args=lane) for lane in lanes]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        _over.set()
        raise
