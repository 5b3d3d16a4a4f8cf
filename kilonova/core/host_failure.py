"""Hosts that fall silent: which of them may be dead, what is to be done about each, and whose servers are
started elsewhere then. Pure: values in, values out.

A host that nobody hears of may run its guests still, so silence alone starts nothing: a fence has to say
that the host is off. And where many fall silent together it is not the hosts, so nothing is done at all.

    silent -> SUSPECTED -> ASKED -> DEAD -> its servers are started elsewhere
                             ^ |
                             | v
                           REFUSED
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from kilonova.core.host import Service
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance

TOGETHER = timedelta(minutes=10)
"""Hosts whose last signs of life are no further apart fell silent together."""
FEWEST, SHARE = 5, 0.2
"""So many hosts that fall silent together, and more than such a part of the cell's, are left alone."""
STAYS_SILENT = timedelta(seconds=8)
"""A suspect is silent for so long more, while others are heard, before it is taken for dead."""
FENCE_SECONDS = 60.0
"""What a fence may take; longer is a no."""
_ANSWERED_BY = timedelta(seconds=FENCE_SECONDS + 15)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=10)

WISH = "kilonova:evacuate"
"""The metadata item of a server, and the extra spec of a flavor, by which it is asked for."""
_YES = frozenset({"1", "t", "true", "on", "y", "yes"})


class Mode(StrEnum):
    """Of which servers ``[ha] evacuate_on_host_failure`` speaks."""

    NEVER = "never"
    ASKED = "asked"
    ALWAYS = "always"


class Policy(msgspec.Struct, frozen=True):
    """What a deployment does about dead hosts. ``fences``: it can make sure that one is off."""

    mode: Mode = Mode.NEVER
    fences: bool = False


class Verdict(StrEnum):
    """What is known of a silent host."""

    SUSPECTED = "suspected"
    ASKED = "asked"
    DEAD = "dead"
    """The fence said yes."""
    REFUSED = "refused"
    """The fence said no, or nothing in time."""


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """One silence of one host: it counts as long as ``since`` is the host's last sign of life.

    ``tries`` counts how often its fence was asked, ``token`` is who asked last, ``words`` are what it said.
    """

    host: HostName
    since: datetime
    verdict: Verdict
    changed_at: datetime
    tries: int = 0
    token: str = ""
    words: str = ""


class Held(msgspec.Struct, frozen=True):
    """Silent hosts that are left alone, and why."""

    hosts: frozenset[HostName]
    sentence: str


class Suspect(msgspec.Struct, frozen=True):
    """Take note that a host is silent."""

    host: HostName
    since: datetime


class Ask(msgspec.Struct, frozen=True):
    """Let nothing that the host says count any more, and ask its fence."""

    fence: Fence


class Forget(msgspec.Struct, frozen=True):
    """The silence is over, or is not to be judged now."""

    fence: Fence
    why: str


Step = Suspect | Ask | Forget


def wants(server: Instance, mode: Mode) -> bool:
    """Whether a server is to leave its host when that dies; its own word outweighs its flavor's."""
    said = server.metadata.get(WISH, server.flavor.extra_specs.get(WISH))
    if said is None or mode is Mode.NEVER:
        return mode is Mode.ALWAYS
    return said.strip().lower() in _YES


def _is_heard(one: Service, now: datetime, down_after: float) -> bool:
    return one.last_seen is not None and (now - one.last_seen).total_seconds() <= down_after


def silent(
    services: Iterable[Service], now: datetime, down_after: float
) -> dict[HostName, datetime]:
    """Return the hosts of which nothing was heard for ``down_after`` seconds, and their last signs of life.

    Those that are disabled are with their operator, and those that never said anything have nothing.
    """
    return {
        one.host: one.last_seen
        for one in services
        if one.enabled and one.last_seen is not None and not _is_heard(one, now, down_after)
    }


def held_back(services: Collection[Service], now: datetime, down_after: float) -> Held | None:
    """Return which silent hosts are to be left alone, or None: they fell silent with too many others, or
    there is no host left that is heard.

    It goes by when each was heard last and not by the time that has passed, so it does not give way.
    """
    quiet = silent(services, now, down_after)
    known = [one for one in services if one.enabled and one.last_seen is not None]
    if not quiet:
        return None
    if not any(_is_heard(one, now, down_after) for one in services):
        return Held(frozenset(quiet), "No compute host of the cell gives a sign of life.")
    moments = sorted(quiet.values())
    together = {host: _near(moments, moment) for host, moment in quiet.items()}
    held = {host for host, n in together.items() if n >= FEWEST and n > SHARE * len(known)}
    if not held:
        return None
    most = max(together[host] for host in held)
    minutes = int(TOGETHER.total_seconds() // 60)
    sentence = f"{most} of {len(known)} compute hosts fell silent within {minutes} minutes."
    return Held(frozenset(held), sentence)


def _near(moments: list[datetime], moment: datetime) -> int:
    first = bisect_left(moments, moment - TOGETHER)
    return bisect_right(moments, moment + TOGETHER) - first


def plan(
    services: Collection[Service],
    fences: Mapping[HostName, Fence],
    candidates: Collection[HostName],
    now: datetime,
) -> tuple[Step, ...]:
    """Return what is to be done about hosts; ``candidates`` are silent, not held back, and have a server
    that is waited for."""
    heard = {one.host: one.last_seen for one in services}
    steps: list[Step] = []
    for host in sorted(candidates):
        since, fence = heard[host], fences.get(host)
        if since is None or (fence is not None and fence.since != since):
            continue
        if fence is None:
            steps.append(Suspect(host, since))
        elif fence.verdict is not Verdict.DEAD and fence.changed_at <= now - _pause(fence):
            steps.append(Ask(fence))
    for fence in fences.values():
        if heard.get(fence.host) != fence.since:
            steps.append(Forget(fence, "it gave a sign of life"))
        elif fence.host not in candidates and fence.verdict in (Verdict.SUSPECTED, Verdict.REFUSED):
            steps.append(Forget(fence, "it is not judged now"))
    return tuple(steps)


def _pause(fence: Fence) -> timedelta:
    match fence.verdict:
        case Verdict.SUSPECTED:
            return STAYS_SILENT
        case Verdict.ASKED:
            return _ANSWERED_BY
        case _:
            return again_after(fence.tries)


def again_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: from half a minute to ten."""
    doubled: int = 2 ** min(10, max(0, failures - 1))
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * doubled)
