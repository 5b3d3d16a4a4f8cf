"""The recipe of a decision: candidates -> filters -> weighers -> picks. Pure.

Nothing here knows a bus, a database, a clock or a configuration: the simulator and the service run the same
function.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from kilonova.core.ids import HostName, InstanceUuid, ProviderUuid
from kilonova.core.scheduling import (
    Allocation,
    Decision,
    Destination,
    HostState,
    NoHost,
    Reason,
    RequestSpec,
    Room,
)
from kilonova.scheduler.filters import Filter, Moment
from kilonova.scheduler.weighers import Rooms, Weigher, normalised


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Which filters are asked, in order, and which weighers count how much."""

    filters: tuple[tuple[str, Filter], ...]
    weighers: tuple[tuple[Weigher, float], ...]
    subset_size: int = 1


class Fit(msgspec.Struct, kw_only=True):
    """A host that a server fits on, with its room; ``rooms`` changes as picks are deducted."""

    host: HostState
    allocation: Allocation
    rooms: Rooms


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
            reasons.append(msgspec.structs.replace(nearest, hosts=hosts))
        return NoHost(considered=considered, reasons=tuple(reasons))


def filter_hosts(
    spec: RequestSpec, hosts: Sequence[HostState], recipe: Recipe, moment: Moment
) -> tuple[list[HostState], Refusals]:
    """Return the hosts that every filter passes, and why the first that did not refused the others."""
    refusals = Refusals()
    passed = []
    for host in hosts:
        for _, ask in recipe.filters:
            reason = ask(spec, host, moment)
            if reason is not None:
                refusals.add(reason)
                break
        else:
            passed.append(host)
    return passed, refusals


def pick(
    spec: RequestSpec,
    instances: Sequence[InstanceUuid],
    fits: Sequence[Fit],
    recipe: Recipe,
    *,
    alternates: int,
    seed: int,
) -> list[Decision]:
    """Choose a host for each server against one picture; each pick is deducted before the next.

    Servers for which nothing is left get a decision without destination. ``seed`` decides among equals.
    """
    chance = random.Random(seed)
    left = list(fits)
    chance.shuffle(left)
    decisions = []
    for uuid in instances:
        left = [fit for fit in left if _has_room(fit)]
        if not left:
            decisions.append(Decision(instance_uuid=uuid))
            continue
        ranked = _rank(spec, left, recipe)
        chosen = ranked[chance.randrange(min(recipe.subset_size, len(ranked)))]
        others = [
            _destination(fit)
            for fit in ranked
            if fit is not chosen and fit.host.cell_uuid == chosen.host.cell_uuid
        ][:alternates]
        decisions.append(
            Decision(instance_uuid=uuid, destination=_destination(chosen), alternates=tuple(others))
        )
        deduct(chosen.rooms, chosen.allocation[chosen.host.provider_uuid])
    return decisions


def _has_room(fit: Fit) -> bool:
    wanted = fit.allocation[fit.host.provider_uuid]
    return all(name in fit.rooms and fit.rooms[name].free >= n for name, n in wanted.items())


def deduct(rooms: Rooms, amounts: Mapping[str, int]) -> None:
    """Take amounts out of a picture's rooms."""
    for name, amount in amounts.items():
        if name in rooms:
            room = rooms[name]
            rooms[name] = Room(capacity=room.capacity, used=room.used + amount)


def _rank(spec: RequestSpec, fits: Sequence[Fit], recipe: Recipe) -> list[Fit]:
    """Return the fits, best first. The sort is stable, so the shuffle before it decides among equals."""
    rooms = [fit.rooms for fit in fits]
    totals = [0.0] * len(fits)
    for weigh, multiplier in recipe.weighers:
        if multiplier:
            for index, score in enumerate(normalised(weigh(spec, rooms))):
                totals[index] += multiplier * score
    order = sorted(range(len(fits)), key=lambda index: -totals[index])
    return [fits[index] for index in order]


def _destination(fit: Fit) -> Destination:
    return Destination(
        host=HostName(fit.host.host),
        node=fit.host.node,
        cell_uuid=fit.host.cell_uuid,
        provider_uuid=fit.host.provider_uuid,
        availability_zone=fit.host.availability_zone,
        allocation=fit.allocation,
    )


def lacking(
    resources: Mapping[str, int],
    rooms: Mapping[ProviderUuid, Rooms],
    refusals: Refusals,
    among: Sequence[ProviderUuid],
) -> None:
    """Count, for hosts that Placement did not offer, which resource class they lack."""
    for provider in among:
        held = rooms.get(provider, {})
        for name, amount in resources.items():
            free = held[name].free if name in held else 0
            if free < amount:
                reason = Reason(
                    refused_by=name,
                    sentence=f"lack {name}",
                    nearest_miss=f"needs {amount}, the best has {free} free",
                    short_by=amount - free,
                )
                refusals.add(reason)
                break
