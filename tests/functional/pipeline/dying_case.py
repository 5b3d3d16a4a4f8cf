"""Hosts that lose their power, and the network with it, at one point of a move."""

import threading
import time
from concurrent.futures import Future
from typing import Any

from kilonova.compute.mover import Mover
from kilonova.core.errors import BusUnavailable
from kilonova.core.migration import Side, Stage
from kilonova.core.states import PowerState
from kilonova.rpc.memory import MemoryBus
from tests.functional.pipeline.host_failure_case import FencedCase

BEFORE, AFTER = "before", "after"
UNKNOWN = 1.0
"""Seconds, and rounds of the converger, for which a host is off and counts as up."""


class DyingCase(FencedCase):
    """Three hosts, of which one dies as soon as a move comes to the point that ``kills`` names."""

    def setUp(self) -> None:
        super().setUp()
        self.off: set[str] = set()
        self.dead: list[Any] = []
        self._point: tuple[Stage, Side, str] | None = None
        self.ends = threading.Event()
        self.addCleanup(self.ends.set)
        self._cut_wires()
        through = Mover._work_patiently

        def work(mover: Any, part: Any) -> None:
            point, move = self._point, part.migration
            if point is None or move.stage is not point[0]:
                through(mover, part)
                return
            self._point = None
            if point[2] == AFTER:
                through(mover, part)
            victim = move.host_of(point[1])
            self.power_off(victim)
            if mover._host == victim:
                # Nothing more comes of what it had in hand.
                self.ends.wait()
            elif point[2] == BEFORE:
                through(mover, part)

        self.patch(Mover, "_work_patiently", work)

    def _cut_wires(self) -> None:
        through = MemoryBus._put

        def put(bus: MemoryBus, context: Any, message: Any, host: Any) -> Any:
            if getattr(message, "host", None) in self.off:
                raise BusUnavailable("The host is off.")
            if host in self.off:
                return Future()
            return through(bus, context, message, host)

        self.patch(MemoryBus, "_put", put)

    def kills(self, stage: Stage, side: Side, when: str = BEFORE) -> None:
        """Let the host of one side die before, or after, the next part of a move at a stage is done."""
        self._point = (stage, side, when)

    def power_off(self, name: str | None) -> None:
        """Let a host be off from now on, and its guests with it."""
        services: Any = self.deployment.part("compute")
        (dead,) = [one for one in services._services if one._host == name]
        self.off.add(dead._host)
        for guest in dead._driver._guests.values():
            guest.power = PowerState.SHUTDOWN
        self.dead.append(dead)
        for work in (dead.stop, lambda: self._falls_silent(dead)):
            threading.Thread(target=work, daemon=True).start()
        dead.stop = lambda: None

    def _falls_silent(self, dead: Any) -> None:
        dead._stopped.wait()
        # Whatever it has in hand hangs, but its last sign of life is given.
        dead._thread.join()
        time.sleep(UNKNOWN)
        if dead._host in self.off:
            self.ages(dead._host)

    def power_on(self) -> None:
        """Let all dead hosts be back, with the guests that they had, which are shut down."""
        while self.dead:
            died = self.dead.pop()
            self.off.discard(died._host)
            self.returns(died)

    def until_off(self) -> str:
        """Wait until a host has died, and return its name."""
        self.until("a host dies", lambda: bool(self.off))
        (name,) = self.off
        return name

    def force(self, host: str, *, down: bool) -> None:
        """Say that a host is dead, or that it is not."""
        path = f"/os-services?host={host}&binary=nova-compute"
        (found,) = self.get("compute", path)["services"]
        answer = self.ask("compute", "PUT", f"/os-services/{found['id']}", {"forced_down": down})
        self.assertEqual(200, answer.status_code, answer.text)
