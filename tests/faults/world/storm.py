"""One storm from a seed: people ask for servers while everything breaks; then it is calm, and judged."""

import gc
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import testtools

from kilonova.compute.script import Step
from kilonova.core.states import VmState
from tests.faults.world.deployment import Deployment
from tests.faults.world.keeper import Keeper
from tests.faults.world.layout import layout_of
from tests.faults.world.people import KEPT, Person
from tests.faults.world.verdict import Verdict

_STARTS = 5.0
_QUIET = 15.0
"""Seconds in which everybody's first servers come to run, before it blows."""
_SERVERS_BEFORE = 2
_REST = 100.0
"""Seconds after which everything is judged that seems settled: what is late still comes, and is refused."""
_SHORT_REST = 15.0
"""The same where nothing is late and nothing is wrong."""
_LOOK = 5.0
_PATIENCE = 1500.0
"""Seconds after the storm within which everything must be settled, deadlines and all."""
_CALM_SERVERS = 3
_HOSTS_STAND_STILL = 0.7
_CLOCK_JUMPS = 0.4
_FAR = 60.0
"""Seconds that a clock is ahead or behind, at the most."""
_DECISIONS = 5
_TOLD = 400


class World(testtools.TestCase):
    """What is patched for one storm, and taken back after it."""

    def runTest(self) -> None:
        """Nothing by itself."""


def outcome(
    seed: int,
    bug: Callable[[testtools.TestCase], None] | None = None,
    kind: "type[Storm] | None" = None,
) -> "Outcome":
    """Let a seed's storm blow over, with a bug put in if there is one, and return what came of it."""
    # Worlds are small and short: looking for what they leave takes less time between them.
    gc.collect()
    gc.freeze()
    gc.disable()
    world = World()
    world.setUp()
    try:
        if bug is not None:
            bug(world)
        storm = (kind or Storm)(world, seed)
        return Outcome(storm.run(), storm.told)
    finally:
        world.doCleanups()
        gc.enable()


class Outcome(NamedTuple):
    """What came out wrong, and what happened."""

    wrongs: list[str]
    told: str


class Storm:
    """A seed's storm, and what came of it. ``plays`` is what goes on at hosts beside the usual mishaps."""

    plays: tuple[Step, ...] = ()
    layout_of = staticmethod(layout_of)

    def __init__(self, case: testtools.TestCase, seed: int) -> None:
        logging.disable(logging.CRITICAL)
        case.addCleanup(logging.disable, logging.NOTSET)
        self._chance = random.Random(f"storm {seed}")
        self._layout = self.layout_of(seed)
        self._deployment = Deployment(case, seed, self._layout, self.plays)
        case.addCleanup(self._deployment.kernel.end)
        self._people = [
            Person(self._deployment, f"person-{n}", seed * 100 + n)
            for n in range(self._layout.people)
        ]
        self._keeper = Keeper(self._deployment, seed) if self._layout.desired else None

    @property
    def told(self) -> str:
        """What happened, in order."""
        return "\n".join(self._deployment.told[-_TOLD:])

    def run(self) -> list[str]:
        """Let it blow over, and return everything that came out wrong."""
        kernel = self._deployment.kernel
        kernel.run(_STARTS)
        for person in self._people:
            for _ in range(_SERVERS_BEFORE):
                self._deployment.do(person.create)
        end = kernel.now + _QUIET + self._layout.blows
        if self._keeper is not None:
            self._deployment.do(partial(self._keeper.live, end))
        kernel.run(kernel.now + _QUIET)
        for person in self._people:
            self._deployment.do(lambda p=person: p.live(end))
        self._blow(end)
        self._calm()
        restless = self._settle(end + _PATIENCE)
        self._rest()
        self._decide()
        late = Person(self._deployment, "late", seed=0)
        for _ in range(_CALM_SERVERS):
            self._deployment.do(late.create)
        self._people.append(late)
        self._rest()
        verdict = self._verdict()
        wrongs = [f"not settled: {what}" for what in restless or verdict.unrest()]
        wrongs += [f"{name} failed: {error!r}" for name, error in kernel.failures]
        askers = [*self._people, *([self._keeper] if self._keeper else [])]
        wrongs += [refusal for asker in askers for refusal in asker.refusals]
        wrongs += [*self._deployment.network.bugs, *self._deployment.wrongs, *verdict.wrongs()]
        running = {one.uuid for _, one in verdict.servers if one.vm_state == VmState.ACTIVE}
        kept = {uuid for uuid, fate in late.fates.items() if fate == KEPT}
        if kept and not kept & running:
            wrongs.append("nothing is built in the calm")
        return wrongs

    def _decide(self) -> None:
        """Let whoever has resized a server confirm that, or revert it."""
        for _ in range(_DECISIONS):
            undecided = self._verdict().undecided()
            if not undecided:
                return
            for uuid in undecided:
                what = self._chance.choice(("confirm", "revert"))
                self._deployment.do(partial(self._people[0].act, uuid, what))
            self._settle(self._deployment.kernel.now + _PATIENCE)

    def _rest(self) -> None:
        """Let come what still comes."""
        kernel = self._deployment.kernel
        quiet, end = kernel.now, kernel.now + _REST
        while kernel.now < end:
            kernel.run(kernel.now + _LOOK)
            verdict = self._verdict()
            if self._deployment.is_awaited or verdict.unrest() or any(verdict.wrongs()):
                quiet = kernel.now
            elif kernel.now >= quiet + _SHORT_REST and not self._layout.rests_long:
                return

    def _verdict(self) -> Verdict:
        fates = {uuid: fate for person in self._people for uuid, fate in person.fates.items()}
        return Verdict(self._deployment, fates, self._keeper.count if self._keeper else None)

    def _blow(self, end: float) -> None:
        kernel, weather = self._deployment.kernel, self._deployment.weather
        often = (0.01, 0.03) if self._layout.desired else (0.0, 0.003, 0.01, 0.03)
        self._deployment.crash_odds = self._chance.choice(often)
        weather.lost = self._chance.choice((0.0, 0.05, 0.2))
        weather.twice = self._chance.choice((0.0, 0.1, 0.4))
        weather.late = self._chance.choice((0.0, 0.1, 0.3))
        lost_answers = self._chance.choice((0.0, 0.0, 0.02))
        self._deployment.storage.loses_answer = lambda: kernel.chance.random() < lost_answers
        while kernel.now < end:
            self._outage()
            kernel.run(min(end, kernel.now + self._chance.uniform(0.5, 15.0)))
            self._clear()

    def _outage(self) -> None:
        weather, storage = self._deployment.weather, self._deployment.storage
        which = self._chance.random()
        if which < 0.25:
            away = self._chance.choice(storage.names)
            storage.away.add(away)
            self._deployment.tell(f"the database {away} is away")
        elif which < 0.4:
            weather.bus_away = True
            self._deployment.tell("the bus is away")
        elif which < 0.5:
            weather.placement_away = True
            self._deployment.tell("Placement is away")
        elif which < 0.6:
            self._end_host(self._chance.choice(list(self._layout.hosts)))
        elif which < 0.85:
            self._freeze()
        if self._layout.clocks_jump and self._chance.random() < _CLOCK_JUMPS:
            name = self._chance.choice(self._deployment.services)
            self._deployment.set_clock(name, self._chance.uniform(-_FAR, _FAR))

    def _freeze(self) -> None:
        """Let a service stand still; where hosts are fenced, often one of theirs."""
        fenced = self._layout.fenced and self._chance.random() < _HOSTS_STAND_STILL
        names = tuple(self._layout.hosts) if fenced else self._deployment.services
        self._deployment.freeze(self._chance.choice(names), self._chance.uniform(1.0, 60.0))

    def _end_host(self, host: str) -> None:
        """Let a host be off for a while, and an operator do what there is to do about it."""
        if not self._deployment.is_off(host):
            self._deployment.power_off(host, self._chance.uniform(60.0, 90.0))
            operator, known = self._people[0], self._chance.uniform(30.0, 40.0)
            self._deployment.do(lambda: operator.rescue_from(host, known))

    def _clear(self) -> None:
        self._deployment.weather.bus_away = self._deployment.weather.placement_away = False
        self._deployment.storage.away.clear()

    def _calm(self) -> None:
        weather = self._deployment.weather
        self._deployment.tell("it is calm")
        self._deployment.crash_odds = weather.lost = weather.twice = weather.late = 0.0
        self._deployment.storage.loses_answer = lambda: False
        for name in list(self._deployment.clocks):
            self._deployment.set_clock(name, 0.0)

    def _settle(self, deadline: float) -> list[str]:
        """Wait until nothing is under way; return what still is at the deadline."""
        kernel = self._deployment.kernel
        while True:
            kernel.run(kernel.now + 2 * _LOOK)
            restless = self._verdict().unrest()
            if self._keeper is not None and self._keeper.count is None:
                restless.append("the keeper is not heard")
            if not restless or kernel.now > deadline:
                return restless
