"""A decision in words and lines for people, from what the API tells of it. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from kilonova.cli.shown import Told
from kilonova.core.scheduling import Reason

_MOST = 10
"""Servers that are listed by themselves."""

Document = Mapping[str, Any]


def columns(decision: Document) -> dict[str, Any]:
    """Return what of a decision or of a plan is shown, by name, in the order of the API's answer."""
    return {
        name: Told(value, _TEXTS[name](value)) if name in _TEXTS else value
        for name, value in decision.items()
    }


def _resources(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{amount} {name}" for name, amount in amounts.items())


def _refused(reasons: Sequence[Document]) -> str:
    lines = []
    for one in reasons:
        reason = Reason(refused_by=one["refused_by"], sentence=one["sentence"], hosts=one["hosts"])
        miss = one.get("nearest_miss")
        by = "" if one["refused_by"] in one["sentence"] else f"  [{one['refused_by']}]"
        lines.append(reason.counted() + (f": {miss}" if miss else "") + by)
    return "\n".join(lines)


def _servers(servers: Sequence[Document]) -> str:
    if servers and "fits" in servers[0]:
        counted = Counter(_place(one) for one in servers)
        return "\n".join(f"{count} {where}" for where, count in counted.items())
    lines = [
        f"{one['id']} {'on ' + one['host'] if one['host'] else 'has no host'}"
        for one in servers[:_MOST]
    ]
    if len(servers) > _MOST:
        lines.append(f"and {len(servers) - _MOST} more")
    return "\n".join(lines)


def _place(planned: Document) -> str:
    if not planned["fits"]:
        return "nowhere"
    on = f"on {planned['host']} " if "host" in planned else ""
    return f"{on}in zone {planned['availability_zone']}"


def _best(hosts: Sequence[Document]) -> str:
    lines = []
    for one in hosts:
        parts = [f"{name} {part:g}" for name, part in one["parts"].items() if part]
        lines.append(
            f"{one['host']}: {one['total']:g}" + (f" = {' + '.join(parts)}" if parts else "")
        )
    return "\n".join(lines)


def _claims(rounds: Sequence[Document]) -> str:
    lines = []
    for number, one in enumerate(rounds, start=1):
        lines.append(f"round {number}: {one['granted']} of {one['asked']} granted")
        lines += [f"  {count} refused: {why}" for why, count in one["refused"].items()]
    return "\n".join(lines)


def _stages(stages: Sequence[Document]) -> str:
    return "\n".join(f"{one['name']:10} {1e3 * one['seconds']:9.3f} ms" for one in stages)


def boot(events: Sequence[Document]) -> Told:
    """Return the events of a server's action as they began: how long each took, where, with what end."""
    begun = sorted(events, key=lambda event: str(event["start_time"]))
    return Told(begun, "\n".join(_event(event) for event in begun))


def _event(event: Document) -> str:
    took = "still runs"
    if event["finish_time"]:
        ends = [datetime.fromisoformat(event[name]) for name in ("start_time", "finish_time")]
        took = f"{1e3 * (ends[1] - ends[0]).total_seconds():9.3f} ms  {event['result']}"
    on = f"  on {event['host']}" if event.get("host") else ""
    why = f": {event['details']}" if event["result"] == "Error" and event.get("details") else ""
    return f"{event['event']:34} {took}{on}{why}"


_TEXTS: dict[str, Callable[[Any], str]] = {
    "resources": _resources,
    "exhausted": ", ".join,
    "refused": _refused,
    "servers": _servers,
    "best": _best,
    "claims": _claims,
    "stages": _stages,
}
