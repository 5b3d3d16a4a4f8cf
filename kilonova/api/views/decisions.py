"""How a decision came about, as it is shown. Nobody but operators is shown a host or its figures."""

from typing import Any

from kilonova.api.views.moments import precise
from kilonova.core.decision_record import DecisionRecord, KeptDecision, Waiting
from kilonova.core.scheduling import Decision, Reason


def outline(record: DecisionRecord) -> dict[str, Any]:
    """Return what anybody may know of a decision about his own servers."""
    return {
        "sentence": record.sentence(),
        "asked": record.servers,
        "placed": record.placed,
        "considered": record.considered,
        "flavor": record.flavor,
        "resources": record.wanted,
        "exhausted": record.exhausted,
        "refused": [_reason(reason) for reason in record.refused],
    }


def in_full(record: DecisionRecord) -> dict[str, Any]:
    """Return all that is known of a decision. Times are in seconds, scores to four places."""
    misses = [{"nearest_miss": r.nearest_miss, "short_by": r.short_by} for r in record.refused]
    told = outline(record)
    return told | {
        "passed": record.passed,
        "refused": [reason | miss for reason, miss in zip(told["refused"], misses, strict=True)],
        "best": [
            {
                "host": one.host,
                "node": one.node,
                "total": _short(one.total),
                "parts": {name: _short(part) for name, part in one.parts.items()},
            }
            for one in record.best
        ],
        "claims": [
            {"asked": one.asked, "granted": one.granted, "refused": one.refused}
            for one in record.claims
        ],
        "stages": [
            {
                "name": one.name,
                "start_time": precise(one.began_at),
                "seconds": round(one.seconds, 6),
            }
            for one in record.stages
        ],
    }


def _short(score: float) -> float:
    # Without the sign of a negative nothing.
    return round(score, 4) + 0.0


def _reason(reason: Reason) -> dict[str, Any]:
    return {"refused_by": reason.refused_by, "hosts": reason.hosts, "sentence": reason.sentence}


def kept(decision: KeptDecision) -> dict[str, Any]:
    """Return a decision that is kept, with its servers."""
    servers = [
        {"id": one.instance_uuid, "request_id": one.request_id, "host": one.host}
        for one in decision.servers
    ]
    named = {"id": decision.id, "created_at": precise(decision.created_at), "servers": servers}
    return named | in_full(decision.record)


def waiting(server: Waiting) -> dict[str, Any]:
    """Return a server that waits for its first decision; ``because`` is None where nothing is known."""
    return {
        "id": server.instance_uuid,
        "request_id": server.request_id,
        "since": precise(server.since),
        "because": server.because or None,
    }


def place(decision: Decision, *, with_host: bool) -> dict[str, Any]:
    """Return where a planned server would go; its zone is None where it would go nowhere."""
    chosen = decision.destination
    told: dict[str, Any] = {"fits": chosen is not None, "availability_zone": None}
    if chosen is not None:
        told["availability_zone"] = chosen.availability_zone
        if with_host:
            told |= {"host": chosen.host, "node": chosen.node, "cell": chosen.cell_uuid}
    return told
