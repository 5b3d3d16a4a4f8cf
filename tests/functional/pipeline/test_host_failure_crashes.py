"""Convergers that end while they deal with a dead host, and two that do so at once."""

import threading
import time
from typing import Any

from kilonova.conductor import converger, evacuations, fencing, repairs
from kilonova.conductor.fencing import Fencer
from kilonova.conductor.repairs import host_failures
from kilonova.core.errors import KilonovaError
from kilonova.db import host_fences
from tests.functional.pipeline.host_failure_case import FencedCase
from tests.functional.pipeline.moving_case import SMALL


class Killed(BaseException):
    """The converger's process ends here."""


class KilledConvergerTest(FencedCase):
    """Convergers that end between two steps, and two at once: rounds are made by the test alone."""

    def setUp(self) -> None:
        others = {
            name: look
            for name, look in repairs.OF_CELL.items()
            if name not in ("silent host", "left behind")
        }
        self.patch(converger, "OF_CELL", others)
        super().setUp()

    def round(self) -> None:
        """Do what a converger does about silent hosts, in a process of its own that asks fences itself."""
        scene, cell = self.scene(), self.cell().uuid
        for look in (host_failures.silent, host_failures.left_behind):
            for finding in look(scene, cell):
                finding.mend()

    def own_fencer(self) -> None:
        """Let fences be asked by who makes the round, so that one ends with the other."""
        asker = Fencer(f"{self.fence}/fence --now", self.scene().cells)
        object.__setattr__(self.scene().hands, "fence", asker.ask)

    def test_a_converger_that_ends_between_two_steps_is_followed_by_another(self) -> None:
        self.own_fencer()
        points: list[tuple[Any, str, bool]] = [
            (host_fences, "suspect", True),
            (host_fences, "ask", False),
            (host_fences, "ask", True),
            (fencing, "run", False),
            (fencing, "run", True),
            (host_fences, "answer", True),
            (evacuations, "begin", False),
            (evacuations, "begin", True),
        ]
        uuid = self.active("vm")
        for module, name, after in points:
            where = f"{'after' if after else 'before'} {name}"
            dead = self.host(uuid)
            died = self.dies(dead)
            killed = self._ending_once(module, name, after=after)
            deadline = time.monotonic() + 120
            while self.host(uuid) == dead or self.server(uuid)["OS-EXT-STS:task_state"]:
                try:
                    self.round()
                except Killed:
                    self.assertEqual(dead, self.host(uuid), where)
                self.assertGreater(deadline, time.monotonic(), where)
                time.sleep(0.1)
            self.assertEqual([where], killed)
            self.assertEqual("ACTIVE", self.server(uuid)["status"], where)
            done = [one["status"] for one in self.migrations(uuid)]
            self.returns(died)
            self.until_migration(uuid, "completed")
            self.assertEqual(1 + done[1:].count("completed"), len(done), where)
            self.until("all is forgotten", self._forgotten)
            self.settled(uuid, "ACTIVE", SMALL)

    def _forgotten(self) -> bool:
        self.round()
        return not host_fences.all_of(self.database())

    def _ending_once(self, module: Any, name: str, *, after: bool) -> list[str]:
        """Let the next call of a function be the last thing that its process does, or does not do."""
        through = getattr(module, name)
        killed: list[str] = []

        def last(*args: Any, **more: Any) -> Any:
            done = through(*args, **more) if after or killed else None
            if not killed:
                killed.append(f"{'after' if after else 'before'} {name}")
                raise Killed
            return done

        self.patch(module, name, last)
        return killed

    def test_two_convergers_at_once_ask_one_fence_once_and_move_each_server_once(self) -> None:
        self.own_fencer()
        uuids = [self.active(f"vm-{n}") for n in range(6)]
        dead = self.host(uuids[0])
        moved = [uuid for uuid in uuids if self.host(uuid) == dead]
        self.dies(dead)
        ended = threading.Event()
        failed: list[BaseException] = []

        def converge() -> None:
            while not ended.is_set():
                try:
                    self.round()
                except KilonovaError:
                    continue
                except BaseException as error:
                    failed.append(error)
                    raise

        threads = [threading.Thread(target=converge) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for uuid in moved:
                self.elsewhere(uuid, dead)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        self.assertEqual([], failed)
        self.assertEqual(1, len(self.asked()))
        for uuid in moved:
            self.assertEqual(["done"], [one["status"] for one in self.migrations(uuid)])
