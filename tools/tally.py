"""What a run of tests comes to, and what is printed of it as it goes on."""

import re
import threading
from dataclasses import dataclass, field
from typing import Any

_printing = threading.Lock()
_LONG = 20.0
"""Seconds from which on a test that passed is worth a line."""
_SHORT = 300
"""Characters of why a test failed, where it is named among the others."""


def say(*lines: str) -> None:
    """Print lines that stay together, whoever else prints."""
    with _printing:
        print(*lines, sep="\n", flush=True)


@dataclass
class Tally:
    """What a run came to."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    """The names of all tests that came to an end, and of the classes that could not be prepared."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why tests failed, by their names, in short."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def failed(self) -> int:
        """How many failed."""
        return len(self.failures)

    @property
    def ran(self) -> int:
        """How many tests were found."""
        return self.passed + self.failed + self.skipped

    def add(self, other: "Tally") -> None:
        """Take in what another part came to."""
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures
        self.unsteady += other.unsteady
        self.reasons |= other.reasons

    def tell(self) -> None:
        """Print what it came to."""
        for what in self.unsteady:
            say(f"unsteady: {what} failed, and passed alone: {self.reasons.get(what, '')}")
        for what in self.failures:
            say(f"failed: {what}: {self.reasons.get(what, '')}")
        say(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")

    def check(self, what: str, *, good: bool) -> None:
        """Count one check that is not a test."""
        say(f"{'ok    ' if good else 'FAILED'} {what}")
        with self._lock:
            if good:
                self.passed += 1
            else:
                self.failures.append(what)

    def take(self, test: dict[str, Any]) -> None:
        """Count a test that ended, and print it unless it passed before long."""
        status, name = test["status"], test["id"]
        start, stop = test["timestamps"]
        seconds = (stop - start).total_seconds() if start and stop else 0.0
        if status == "exists":
            return
        with self._lock:
            self.ended.add(name)
            if status in {"success", "xfail"}:
                self.passed += 1
            elif status == "skip":
                self.skipped += 1
            else:
                self.failures.append(name)
        if status == "skip":
            reason = test["details"].get("reason")
            say(f"skip   {name}: {reason.as_text() if reason else ''}")
        elif status not in {"success", "xfail"}:
            texts = {
                title: detail.as_text().rstrip()
                for title, detail in test["details"].items()
                if detail.content_type.type == "text"
            }
            self.reasons[name] = _reason(texts.get("traceback", ""))
            details = [f"--- {title}\n{text}" for title, text in texts.items()]
            say(f"FAILED {name} ({status}, {seconds:.1f} s)", *details)
        elif seconds >= _LONG:
            say(f"ok     {name} ({seconds:.1f} s)")


def _reason(traceback: str) -> str:
    """Return what a traceback ends with, in one line: the error and what it says."""
    said = re.split(r"\n(?=\S*(?:Error|Exception)\b)", traceback)[-1]
    return " ".join(said.split())[:_SHORT]
