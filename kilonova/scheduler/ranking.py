"""The hosts that passed, best first, kept in order while servers are placed on them. Pure.

Placing a server changes one host's score, so that a pick costs a little more than a look at the first: no
host but the chosen is weighed again. For that, the scale to which each weigher's scores are brought (0 for
the least, 1 for the most) is that of the picture before the first pick.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

from kilonova.core.decision_record import Scored
from kilonova.core.ids import CellUuid
from kilonova.core.scheduling import Destination, HostState, RequestSpec
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.fit import Fit
from kilonova.scheduler.multipliers import KEYS
from kilonova.scheduler.weighers import Weigher, concerns

_Key = tuple[float, float, int]
"""The negated score, a random number that decides among equals, the index of the fit."""


class _Scale:
    """One weigher with the scale of its scores.

    Its part of a host's total is ``(score - low) * factor``. A factor is the weigher's multiplier, or the
    one that the host's aggregates set under ``key``, divided by ``width``.
    """

    __slots__ = ("factor", "is_flat", "key", "low", "name", "weigh", "width")

    def __init__(self, name: str, weigh: Weigher, multiplier: float, scores: list[float]) -> None:
        self.name, self.weigh, self.key = name, weigh, KEYS.get(name, "")
        self.low, high = min(scores), max(scores)
        self.is_flat = high == self.low
        # Where all are equal, servers that are placed tell them apart: by the size of the scores then.
        self.width = high - self.low or abs(high) or 1.0
        self.factor = multiplier / self.width

    def factor_on(self, host: HostState) -> float:
        """Return the factor for one host."""
        own = host.multipliers.get(self.key)
        return self.factor if own is None else own / self.width


class Ranking:
    """Hosts in order of score; among equals ``chance`` decides."""

    def __init__(
        self,
        spec: RequestSpec,
        fits: Sequence[Fit],
        moment: Moment,
        weighers: Sequence[tuple[str, Weigher, float]],
        chance: random.Random,
    ) -> None:
        self._spec, self._fits, self._moment = spec, fits, moment
        self._scales: list[_Scale] = []
        totals = self._weigh_all(weighers)
        decide = chance.random
        self._keys: list[_Key] = [(-t, decide(), index) for index, t in enumerate(totals)]
        self._order = sorted(self._keys)
        # The order within each cell, made when it is first asked for.
        self._cells: dict[CellUuid, list[_Key]] = {}
        self._destinations: dict[int, Destination] = {}

    def _weigh_all(self, weighers: Sequence[tuple[str, Weigher, float]]) -> list[float]:
        spec, fits, moment = self._spec, self._fits, self._moment
        totals = [0.0] * len(fits)
        if not fits:
            return totals
        own = {key for fit in fits if fit.host.multipliers for key in fit.host.multipliers}
        for name, weigh, multiplier in weighers:
            differs = KEYS.get(name) in own
            if not (multiplier or differs) or not concerns(weigh, spec):
                continue
            scores = weigh(spec, fits, moment)
            scale = _Scale(name, weigh, multiplier, scores)
            self._scales.append(scale)
            if scale.is_flat:
                continue
            low, factor = scale.low, scale.factor
            if differs:
                factors = [scale.factor_on(fit.host) for fit in fits]
                rows = zip(totals, scores, factors, strict=True)
                totals = [t + (s - low) * f for t, s, f in rows]
            else:
                totals = [t + (s - low) * factor for t, s in zip(totals, scores, strict=True)]
        return totals

    def __len__(self) -> int:
        return len(self._order)

    def best(self, count: int) -> tuple[Scored, ...]:
        """Return the first hosts with each weigher's part of their scores."""
        found = []
        for _, _, index in self._order[:count]:
            fit = self._fits[index]
            parts = {s.name: self._part(s, fit) for s in self._scales}
            host = fit.host
            total = sum(parts.values())
            found.append(Scored(host=host.host, node=host.node, total=total, parts=parts))
        return tuple(found)

    def _part(self, scale: _Scale, fit: Fit) -> float:
        (score,) = scale.weigh(self._spec, (fit,), self._moment)
        factor = scale.factor_on(fit.host) if fit.host.multipliers else scale.factor
        return (score - scale.low) * factor

    def take(self, place: int) -> Fit:
        """Take a host out of the order, by its place in it."""
        key = self._order.pop(place)
        self._taken = key[2]
        fit = self._fits[self._taken]
        if self._cells:
            cell = self._cells[fit.host.cell_uuid]
            del cell[bisect_left(cell, key)]
        return fit

    def put_back(self) -> None:
        """Put the host that was taken last where its score is now."""
        index = self._taken
        fit = self._fits[index]
        total = 0.0
        for scale in self._scales:
            total += self._part(scale, fit)
        key = (-total, self._keys[index][1], index)
        self._keys[index] = key
        insort(self._order, key)
        if self._cells:
            insort(self._cells[fit.host.cell_uuid], key)

    def keep(self, passes: Sequence[bool]) -> None:
        """Keep only the hosts, by their index among the fits, that still pass."""
        self._order = [key for key in self._order if passes[key[2]]]
        self._cells = {}

    def first_of(self, cell: CellUuid, count: int) -> tuple[Destination, ...]:
        """Return the best hosts of a cell."""
        if not count:
            return ()
        if not self._cells:
            for fit in self._fits:
                self._cells[fit.host.cell_uuid] = []
            for key in self._order:
                self._cells[self._fits[key[2]].host.cell_uuid].append(key)
        return tuple([self._destination(key[2]) for key in self._cells[cell][:count]])

    def taken(self) -> Destination:
        """Return the host that was taken last as where a server goes."""
        return self._destination(self._taken)

    def _destination(self, index: int) -> Destination:
        found = self._destinations.get(index)
        if found is None:
            found = self._destinations[index] = self._fits[index].destination()
        return found
