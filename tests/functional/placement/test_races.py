"""Claims by many processes at once, some of them killed in the middle."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import sqlalchemy as sa
import testscenarios

from kilonova.core.scheduling import Inventory
from kilonova.db import placement_audit, placement_inventories, placement_providers
from kilonova.db.placement_schema import StoredAllocation
from kilonova.db.statements import table_of
from tests.functional.placement.placement_case import PlacementCase, used_and_allocated

load_tests = testscenarios.load_tests_apply_scenarios

ROOT = Path(__file__).resolve().parents[3]
PROVIDERS = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(3)]
CAPACITY = {"VCPU": 20, "MEMORY_MB": 15}
WORKERS = 4
TURNS = 40


class Claimer:
    """A claiming process, and what it said of each consumer: held, free, or being changed."""

    def __init__(self, url: str, seed: int, turns: int) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.functional.placement.claimer"),
                *(url, str(seed), str(turns), *PROVIDERS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.held: set[str] = set()
        self.free: set[str] = set()
        self.changing = ""
        self.lines = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._ready = threading.Event()
        self._thread.start()

    def _listen(self) -> None:
        verb = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines += 1
            said = line.split()
            if said[0] == "ready":
                self._ready.set()
            elif len(said) == 2:
                verb, self.changing = said
            else:
                holds = (verb == "claim") == (said[0] == "done")
                (self.held if holds else self.free).add(self.changing)
                (self.free if holds else self.held).discard(self.changing)
                self.changing = ""

    def wait_ready(self) -> None:
        """Return when it has everything imported."""
        if not self._ready.wait(60):
            raise AssertionError("a claimer did not start")

    def go(self) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def end(self) -> int:
        """Return its exit status once it and its last word are there."""
        status = self._process.wait(120)
        self._thread.join(10)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return status


class RacesTest(PlacementCase):
    """Whatever happens, nothing is taken twice, lost, or taken in part."""

    def setUp(self) -> None:
        """Let there be a few providers, with less than is wanted."""
        super().setUp()
        inventories = {name: Inventory(total=total) for name, total in CAPACITY.items()}
        for number, uuid in enumerate(PROVIDERS):
            placement_providers.create(self.db, uuid, f"p{number}")
            placement_inventories.replace(self.db, uuid, 0, inventories)

    def _start(self, turns: int) -> list[Claimer]:
        claimers = [Claimer(self.url, seed, turns) for seed in range(WORKERS)]
        for claimer in claimers:
            self.addCleanup(claimer.end)
            self.addCleanup(claimer.kill)
            claimer.wait_ready()
        for claimer in claimers:
            claimer.go()
        return claimers

    def _check(self, claimers: list[Claimer]) -> None:
        for (_provider, name), (used, allocated) in used_and_allocated(self.db).items():
            self.assertEqual(allocated, used)
            self.assertLessEqual(used, CAPACITY[name])
        self.assertEqual((), placement_audit.drift(self.db))
        table = table_of(StoredAllocation)
        rows = self.db.query(lambda c: c.execute(sa.select(table)).all())
        classes: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            classes.setdefault((row.consumer_uuid, row.provider_uuid), set()).add(
                row.resource_class
            )
        for names in classes.values():
            self.assertEqual({"VCPU", "MEMORY_MB"}, names)
        holding = {consumer for consumer, _provider in classes}
        held = set[str]().union(*(claimer.held for claimer in claimers))
        unknown = {claimer.changing for claimer in claimers}
        self.assertEqual(holding - unknown, held - unknown)

    def test_processes_that_run_to_their_end(self) -> None:
        claimers = self._start(TURNS)
        self.assertEqual([0] * WORKERS, [claimer.end() for claimer in claimers])
        self._check(claimers)
        refused = sum(len(claimer.free) for claimer in claimers)
        self.assertGreater(refused, 0)

    def test_processes_that_are_killed_in_the_middle(self) -> None:
        chance = random.Random(0)
        claimers = self._start(100_000)
        for claimer in claimers:
            # Wherever it is then: before, within or after a transaction.
            least = claimer.lines + chance.randint(10, 40)
            deadline = time.monotonic() + 30
            while claimer.lines < least and time.monotonic() < deadline:
                time.sleep(chance.uniform(0, 0.003))
            self.assertLessEqual(least, claimer.lines)
            claimer.kill()
        self.assertEqual([-9] * WORKERS, [claimer.end() for claimer in claimers])
        self._check(claimers)
