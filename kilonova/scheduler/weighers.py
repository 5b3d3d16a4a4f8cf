"""Weighers: how good is each host that passed. Pure functions.

A weigher takes the request and the hosts with their free room and returns one raw score each; the
pipeline scales every weigher's scores to 0..1 and multiplies them.
"""

from collections.abc import Callable, Sequence

from kilonova.core.scheduling import RequestSpec, Room

Rooms = dict[str, Room]
Weigher = Callable[[RequestSpec, Sequence[Rooms]], list[float]]


def _free(name: str, rooms: Sequence[Rooms]) -> list[float]:
    return [float(room[name].free) if name in room else 0.0 for room in rooms]


def ram(_spec: RequestSpec, rooms: Sequence[Rooms]) -> list[float]:
    """More free memory is better."""
    return _free("MEMORY_MB", rooms)


def cpu(_spec: RequestSpec, rooms: Sequence[Rooms]) -> list[float]:
    """More free VCPUs are better."""
    return _free("VCPU", rooms)


def disk(_spec: RequestSpec, rooms: Sequence[Rooms]) -> list[float]:
    """More free disk is better."""
    return _free("DISK_GB", rooms)


def normalised(scores: Sequence[float]) -> list[float]:
    """Return scores scaled to 0..1; all 0 where they are equal, as then they say nothing."""
    low, high = min(scores), max(scores)
    if high == low:
        return [0.0] * len(scores)
    return [(score - low) / (high - low) for score in scores]
