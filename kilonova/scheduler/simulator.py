"""The simulator: a workload on a fleet, decided by the real pipeline, with no bus and no database.

Time is simulated, so hours take seconds. The same seed places the same servers on the same hosts.
"""

import hashlib
import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import count, islice
from typing import NamedTuple

import msgspec

from kilonova.core.ids import InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Destination, RequestSpec
from kilonova.scheduler import prefilters
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.pipeline import Question, Recipe, pick, sift
from kilonova.scheduler.prefilters import AVAILABILITY_ZONE, TENANT_ISOLATION, Known
from kilonova.scheduler.simulated_fleet import Fleet
from kilonova.scheduler.workload import Asked

_MOMENT = Moment(now=datetime(2000, 1, 1), down_after=15)
_SAMPLES = 100
"""Points of the curves over time."""
_ALTERNATES = 2

_Unlanded = dict[ProviderUuid, Counter[str]]
"""What a scheduler picked and has not claimed yet, by host."""


class _Turn(NamedTuple):
    """Servers that are alike, with their numbers, which a scheduler decides together."""

    scheduler: int
    servers: Sequence[tuple[int, Asked]]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment: servers in all, on the fullest and on the emptiest host."""

    at: float
    servers: int
    most: int
    fewest: int
    placed_per_cpu_second: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a simulation.

    ``cpu_seconds`` were spent on decisions alone. ``balance`` is the servers on the fullest host less those
    on the emptiest, at the end. ``hosts_used`` have servers at the end; ``hosts_at_least`` would be needed
    for these if they could be cut to any size. ``claims_refused`` came too late: another scheduler had
    taken the room. ``used`` is the part of the fleet that is in use by class, ``used_by_host`` the same by
    host, in order of name. ``placements`` is a digest of all that was decided.
    """

    seed: int
    hosts: int
    requests: int
    servers: int
    placed: int
    refused: int
    reasons: dict[str, int]
    nearest_miss: dict[str, str]
    cpu_seconds: float
    placements_per_cpu_second: float
    considered_per_decision: float
    schedulers: int
    claims_refused: int
    balance: int
    hosts_used: int
    hosts_at_least: int
    used: dict[str, float]
    used_by_host: dict[str, list[float]]
    samples: list[Sample]
    placements: str


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """So many schedulers take turns.

    Each claims ``delay`` seconds after it looked at the hosts, and knows only its own picks of meanwhile.
    """

    schedulers: int = 1
    delay: float = 0.0


_ALONE = Crowd()


class Simulation:
    """One run. ``batch`` servers that are alike and arrive at the same moment are decided together."""

    def __init__(
        self, fleet: Fleet, recipe: Recipe, *, seed: int, batch: int = 1, crowd: Crowd = _ALONE
    ) -> None:
        self._fleet, self._recipe, self._seed, self._batch = fleet, recipe, seed, batch
        self._chance = random.Random(seed)
        self._known = Known(
            enabled=(AVAILABILITY_ZONE, TENANT_ISOLATION), aggregates=tuple(fleet.aggregates)
        )
        self._digest = hashlib.sha256()
        self._reasons: Counter[str] = Counter()
        self._misses: dict[str, str] = {}
        self._cpu_seconds = self._build_seconds = 0.0
        self._requests = self._servers = self._placed = self._decisions = self._considered = 0
        self._crowd, self._turns, self._under_way, self._refused = crowd, 0, 0, 0
        self._free_at = [0.0] * crowd.schedulers
        self._unlanded: list[_Unlanded] = [{} for _ in range(crowd.schedulers)]
        # (when, order, what happens): decisions, claims, builds that end and servers that go.
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._samples: list[Sample] = []

    def run(
        self, workload: Iterable[Asked], *, build_seconds: float, progress: Callable[[int], None]
    ) -> Results:
        """Decide every request; ``progress`` is told of each group how many requests it was."""
        every = 1
        self._build_seconds = build_seconds
        for number, group in enumerate(_alike(workload, self._batch)):
            now = group[0].at
            while self._coming and self._coming[0][0] <= now:
                heapq.heappop(self._coming)[2]()
            self._requests += len(group)
            self._arrive(group, now)
            if number % every == 0:
                self._sample(now)
                if len(self._samples) > _SAMPLES:
                    self._samples = self._samples[::2]
                    every *= 2
            progress(len(group))
        while self._under_way:
            heapq.heappop(self._coming)[2]()
        return self._results()

    def _then(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (when, next(self._order), what))

    def decide(
        self, spec: RequestSpec, servers: Sequence[InstanceUuid], unlanded: _Unlanded | None = None
    ) -> list[Destination | None]:
        """Return where servers go, in a picture from which what is ``unlanded`` is deducted."""
        began = time.process_time()
        asked = prefilters.request(spec, self._known)
        question = Question(
            spec=spec,
            instances=servers,
            moment=_MOMENT,
            alternates=_ALTERNATES,
            seed=self._chance.getrandbits(32),
        )
        candidates = islice(self._fleet.candidates(asked, self._chance), self._recipe.most)
        sifted = sift(question, candidates, self._recipe)
        if unlanded:
            for fit in sifted.fits:
                fit.deduct(unlanded.get(fit.host.provider_uuid, {}))
        decisions = pick(question, sifted.fits, self._recipe).decisions
        self._cpu_seconds += time.process_time() - began
        self._decisions += 1
        self._considered += sifted.considered
        if decisions[-1].destination is None:
            missing = sum(1 for decision in decisions if decision.destination is None)
            for reason in sifted.refusals.total(sifted.considered).reasons:
                self._reasons[reason.sentence] += missing
                if reason.nearest_miss:
                    self._misses.setdefault(reason.sentence, reason.nearest_miss)
            if sifted.fits or not sifted.considered:
                self._reasons["no room on any host"] += missing
        return [decision.destination for decision in decisions]

    def _arrive(self, group: Sequence[Asked], now: float) -> None:
        """Deal servers out to the schedulers, each of which does one thing after the other."""
        asked = [one for one in group for _ in range(one.count)]
        numbered = list(enumerate(asked, self._servers))
        self._servers += len(asked)
        for first in range(0, len(asked), self._batch):
            scheduler = self._turns % self._crowd.schedulers
            self._turns += 1
            turn = _Turn(scheduler, numbered[first : first + self._batch])
            begin = max(now, self._free_at[scheduler])
            self._free_at[scheduler] = begin + self._crowd.delay
            if begin > now:
                self._under_way += 1
                self._then(begin, partial(self._begin_later, turn, begin))
            else:
                self._begin(turn, begin)

    def _begin_later(self, turn: _Turn, now: float) -> None:
        self._under_way -= 1
        self._begin(turn, now)

    def _begin(self, turn: _Turn, now: float) -> None:
        """Look at the hosts and pick some; the claims come later."""
        unlanded = self._unlanded[turn.scheduler]
        names = [InstanceUuid(str(number)) for number, _ in turn.servers]
        chosen = self.decide(turn.servers[0][1].spec, names, unlanded)
        if not self._crowd.delay:
            self._land(turn, chosen, now)
            return
        for provider, amounts in _taken(chosen):
            unlanded.setdefault(provider, Counter()).update(amounts)
        self._under_way += 1
        landed = now + self._crowd.delay
        self._then(landed, partial(self._land_later, turn, chosen, landed))

    def _land_later(self, turn: _Turn, chosen: Sequence[Destination | None], now: float) -> None:
        self._under_way -= 1
        unlanded = self._unlanded[turn.scheduler]
        for provider, amounts in _taken(chosen):
            unlanded[provider].subtract(amounts)
            if not any(unlanded[provider].values()):
                del unlanded[provider]
        self._land(turn, chosen, now)

    def _land(self, turn: _Turn, chosen: Sequence[Destination | None], now: float) -> None:
        """Claim; what is refused is decided again."""
        again = []
        for (number, one), destination in zip(turn.servers, chosen, strict=True):
            if destination is None:
                self._digest.update(f"{number} -\n".encode())
            elif not self._claim(number, one, destination, now):
                again.append((number, one))
        if again:
            self._refused += len(again)
            self._begin(_Turn(turn.scheduler, again), now)

    def _claim(self, number: int, one: Asked, destination: Destination, now: float) -> bool:
        fleet = self._fleet
        amounts = destination.allocation[destination.provider_uuid]
        index = fleet.claim(destination.provider_uuid, amounts)
        if index is None:
            if not self._crowd.delay:
                raise AssertionError(f"{destination.host} was promised more than it has")
            return False
        self._digest.update(f"{number} {destination.host}\n".encode())
        self._placed += 1
        end = now + self._build_seconds
        self._then(end, partial(fleet.built, index))
        if one.lifetime is not None:
            # Whoever goes earlier than it is built goes then.
            gone = max(one.at + one.lifetime, end)
            self._then(gone, partial(fleet.give_back, index, amounts))
        return True

    def _sample(self, now: float) -> None:
        counts = [host.servers for host in self._fleet.hosts]
        self._samples.append(
            Sample(
                at=now,
                servers=sum(counts),
                most=max(counts),
                fewest=min(counts),
                placed_per_cpu_second=self._rate(),
            )
        )

    def _rate(self) -> float:
        return self._placed / self._cpu_seconds if self._cpu_seconds else 0.0

    def _results(self) -> Results:
        fleet = self._fleet
        counts = [host.servers for host in fleet.hosts]
        in_order = sorted(range(len(counts)), key=lambda index: fleet.hosts[index].host)
        held = [(fleet.capacities[index], fleet.free[index]) for index in in_order]
        used_of = {n: [has.get(n, 0) - free.get(n, 0) for has, free in held] for n in held[0][0]}
        room_of = {n: [has.get(n, 0) for has, _ in held] for n in used_of}
        return Results(
            seed=self._seed,
            hosts=len(counts),
            requests=self._requests,
            servers=self._servers,
            placed=self._placed,
            refused=self._servers - self._placed,
            reasons=dict(self._reasons.most_common()),
            nearest_miss=self._misses,
            cpu_seconds=self._cpu_seconds,
            placements_per_cpu_second=self._rate(),
            considered_per_decision=self._considered / max(1, self._decisions),
            schedulers=self._crowd.schedulers,
            claims_refused=self._refused,
            balance=max(counts) - min(counts),
            hosts_used=sum(1 for count in counts if count),
            hosts_at_least=fleet.least_hosts({name: sum(used) for name, used in used_of.items()}),
            used={n: sum(used) / max(1, sum(room_of[n])) for n, used in used_of.items()},
            used_by_host=_parts(used_of, room_of),
            samples=self._samples,
            placements=self._digest.hexdigest(),
        )


def _taken(
    chosen: Iterable[Destination | None],
) -> Iterator[tuple[ProviderUuid, Mapping[str, int]]]:
    """Yield what destinations take of their hosts."""
    for one in chosen:
        if one is not None:
            yield one.provider_uuid, one.allocation[one.provider_uuid]


def _parts(
    used: Mapping[str, Sequence[int]], room: Mapping[str, Sequence[int]]
) -> dict[str, list[float]]:
    return {
        name: [round(u / r, 4) if r else 0.0 for u, r in zip(used[name], room[name], strict=True)]
        for name in used
    }


def _alike(workload: Iterable[Asked], most: int) -> Iterator[list[Asked]]:
    """Group requests that arrive at the same moment for servers that are alike, up to so many servers.

    Of what arrives at one moment, what is alike goes together, in the order in which the first came.
    """
    moment: dict[int, list[Asked]] = {}
    now: float | None = None
    for one in workload:
        if one.at != now:
            yield from moment.values()
            moment, now = {}, one.at
        group = moment.setdefault(id(one.spec), [])
        group.append(one)
        if sum(asked.count for asked in group) >= most:
            yield moment.pop(id(one.spec))
    yield from moment.values()
