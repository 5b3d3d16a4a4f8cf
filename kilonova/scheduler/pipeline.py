"""The recipe of a decision: candidates -> filters -> weighers -> picks. Pure.

Nothing here knows a bus, a database, a clock or a configuration: the simulator and the service run the same
functions.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from kilonova.core.decision_record import Scored
from kilonova.core.ids import InstanceUuid
from kilonova.core.scheduling import Decision, NoHost, Reason, RequestSpec
from kilonova.core.server_group import GroupRule, Policy
from kilonova.scheduler.device_filters import occupied
from kilonova.scheduler.filters import Filter, Moment, concerns, is_steady
from kilonova.scheduler.fit import Fit
from kilonova.scheduler.ranking import Ranking
from kilonova.scheduler.weighers import Weigher

_COMPARED = 100
"""Hosts that are compared for one server. The best of so many taken at random is among the best percent."""
_COMPARED_EACH = 4
"""Hosts that are compared for each further server of a request."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Which filters are asked, in order, and which weighers count how much.

    No decision looks at more than ``most`` hosts. ``packs``: the fullest hosts are wanted, of which there
    are few, and not the emptiest, of which a sample always has some.
    """

    filters: tuple[tuple[str, Filter], ...]
    weighers: tuple[tuple[str, Weigher, float], ...]
    subset_size: int = 1
    most: int = 1000
    packs: bool = False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """For which servers, all alike, a host is wanted; ``seed`` decides among equals.

    Each gets up to ``alternates`` further hosts. The first ``explained`` hosts are told with their scores.
    """

    spec: RequestSpec
    instances: Sequence[InstanceUuid]
    moment: Moment
    alternates: int = 0
    seed: int = 0
    explained: int = 0


def enough(question: Question, recipe: Recipe) -> int | None:
    """Return how many hosts that fit need be compared; None is all that there are.

    Where nothing is to be placed, it is asked why. Where a server belongs to certain hosts or to a cell, or
    where hosts are to be packed, no sample of the fleet will do.
    """
    spec, servers = question.spec, len(question.instances)
    if not servers:
        return None
    if spec.group or spec.moves_from or recipe.packs:
        return recipe.most
    return min(recipe.most, _COMPARED + _COMPARED_EACH * (servers - 1))


class Refusals:
    """Every reason why hosts were refused, counted, with the nearest miss of each."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._nearest: dict[tuple[str, str], Reason] = {}

    def add(self, reason: Reason) -> None:
        """Count one host's reason."""
        key = (reason.refused_by, reason.sentence)
        self._counts[key] += reason.hosts
        nearest = self._nearest.get(key)
        if reason.nearest_miss and (nearest is None or reason.short_by < nearest.short_by):
            self._nearest[key] = reason

    def total(self, considered: int) -> NoHost:
        """Return them, most frequent first."""
        reasons = []
        for key, hosts in self._counts.most_common():
            nearest = self._nearest.get(key) or Reason(refused_by=key[0], sentence=key[1])
            reasons.append(replace(nearest, hosts=hosts))
        return NoHost(considered=considered, reasons=tuple(reasons))


class Sifted(msgspec.Struct, kw_only=True):
    """The hosts that every filter passes, of so many that were looked at, and why the others do not."""

    fits: list[Fit]
    considered: int
    refusals: Refusals


def sift(question: Question, candidates: Iterable[Fit], recipe: Recipe) -> Sifted:
    """Ask the filters about candidates, in their order, until enough of them fit.

    A host counts under the first filter that refuses it.
    """
    spec, moment, wanted = question.spec, question.moment, enough(question, recipe)
    asks = [ask for _, ask in recipe.filters if concerns(ask, spec)]
    fits: list[Fit] = []
    refusals = Refusals()
    considered = 0
    for fit in candidates:
        considered += 1
        for ask in asks:
            reason = ask(spec, fit.host, moment)
            if reason is not None:
                refusals.add(reason)
                break
        else:
            fits.append(fit)
            if len(fits) == wanted:
                break
    return Sifted(fits=fits, considered=considered, refusals=refusals)


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for each server, in the order asked for, and how the best hosts scored before."""

    decisions: list[Decision]
    best: tuple[Scored, ...] = ()


def pick(question: Question, fits: Sequence[Fit], recipe: Recipe) -> Picked:
    """Choose a host for each server against one picture; each pick is deducted before the next.

    ``fits`` are changed by that. Servers for which nothing is left get a decision without destination.
    """
    spec = question.spec
    chance = random.Random(question.seed)
    members = dict(question.moment.members)
    moment = question.moment.with_members(members) if spec.group else question.moment
    asked_anew = [ask for _, ask in recipe.filters if concerns(ask, spec) and not is_steady(ask)]

    def still_passes(fit: Fit) -> bool:
        return all(ask(spec, fit.host, moment) is None for ask in asked_anew)

    with_room = [fit for fit in fits if fit.has_room()]
    ranking = Ranking(spec, with_room, moment, recipe.weighers, chance)
    best = ranking.best(question.explained)
    decisions = []
    for uuid in question.instances:
        count = len(ranking)
        if not count:
            decisions.append(Decision(instance_uuid=uuid))
            continue
        subset = min(recipe.subset_size, count)
        fit = ranking.take(chance.randrange(subset) if subset > 1 else 0)
        others = ranking.first_of(fit.host.cell_uuid, question.alternates)
        destination = ranking.taken()
        decisions.append(Decision(instance_uuid=uuid, destination=destination, alternates=others))
        fit.deduct(fit.amounts)
        fit.host = occupied(spec, fit.host)
        if spec.group:
            members[fit.host.host] = members.get(fit.host.host, 0) + 1
        if fit.has_room() and still_passes(fit):
            ranking.put_back()
        if spec.group and spec.group.policy == Policy.AFFINITY:
            # The first server of a group decides for all the others.
            ranking.keep([still_passes(other) for other in with_room])
    if spec.group and spec.group.is_hard:
        decisions = with_alternates_of_group(spec.group, decisions, ranking, question.alternates)
    return Picked(decisions=decisions, best=best)


def with_alternates_of_group(
    rule: GroupRule, decisions: Sequence[Decision], ranking: Ranking, count: int
) -> list[Decision]:
    """Return decisions for servers of a group with alternates on which its rule can hold.

    All servers of an affinity group try the same hosts in the same order, those that the first of them
    got: if their host can build none of them, they meet again on the next. Those that are to be apart
    get hosts that none of them went to, each beginning with another.
    """
    chosen = [decision for decision in decisions if decision.destination]
    if rule.policy == Policy.AFFINITY:
        common = chosen[0].alternates if chosen else ()
        return [replace(d, alternates=common) if d.destination else d for d in decisions]
    most = count + len(chosen)

    def apart(number: int, decision: Decision) -> Decision:
        if decision.destination is None:
            return decision
        left = ranking.first_of(decision.destination.cell_uuid, most)
        start = number % len(left) if left else 0
        return replace(decision, alternates=(left[start:] + left[:start])[:count])

    return [apart(number, decision) for number, decision in enumerate(decisions)]
