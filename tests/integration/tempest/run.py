"""Runs Tempest in its workspace, and reads what came of it."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import subunit
import testtools

from tests.integration.services.keystone import PROGRAMS

_HERE = Path(__file__).parent
EXCLUDED = _HERE / "excluded.txt"
PASSED_ON = _HERE / "passed_on.txt"
"""What is excluded too where something is asked at a microversion before 2.36."""
TOO_OLD = _HERE / "too_old.txt"
"""What is excluded too where everything is asked at the newest."""

QUICK = _HERE / "quick.txt"
ALL = r"^tempest\.(api\.compute|scenario|serial_tests)\."
"""What asks something of a compute service."""


@dataclass
class Outcome:
    """What became of tests, by their names: how many passed, why others did not run, what failed."""

    passed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def take(self, test: dict[str, Any]) -> None:
        """Count a test that ended."""
        name = test["id"].partition("[")[0]
        if test["status"] in {"success", "xfail"}:
            self.passed.add(name)
        elif test["status"] == "skip":
            reason = test["details"].get("reason")
            self.skipped[name] = reason.as_text() if reason else ""
        elif test["status"] != "exists":
            told = [d.as_text() for d in test["details"].values() if d.content_type.type == "text"]
            self.failed[name] = "\n".join(told)

    def __str__(self) -> str:
        """Say how many, as every run here does."""
        counts = (len(self.passed), len(self.failed), len(self.skipped))
        return "{} passed, {} failed, {} skipped".format(*counts)


def tempest(
    configuration: Path, chosen: Sequence[str], excluded: Sequence[Path], workers: int = 2
) -> Outcome:
    """Run tests that are chosen by options of ``tempest run``, without those in files of excluded ones.

    Raises:
        RuntimeError: it did not get as far as to run a test.
    """
    without = configuration.parent / "excluded.txt"
    without.write_text("".join(path.read_text() for path in excluded))
    command = [
        *(str(PROGRAMS / "tempest"), "run", "--config-file", str(configuration), "--subunit"),
        *("--concurrency", str(workers), "--exclude-list", str(without), *chosen),
    ]
    environment = {name: value for name, value in os.environ.items() if name[:3] != "OS_"}
    outcome = Outcome()
    with (configuration.parent / "said.log").open("w+b") as said:
        process = subprocess.Popen(
            command,
            cwd=configuration.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        summary = testtools.StreamToDict(outcome.take)
        summary.startTestRun()
        subunit.ByteStreamToStreamResult(process.stdout, non_subunit_name="stdout").run(summary)
        summary.stopTestRun()
        process.wait()
        said.seek(0)
        if not (outcome.passed or outcome.skipped or outcome.failed):
            raise RuntimeError(f"Tempest ran nothing:\n{said.read().decode(errors='replace')}")
    return outcome
