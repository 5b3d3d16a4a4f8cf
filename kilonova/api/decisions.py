"""How the scheduler decided: ``/kilonova/v1/decisions``, for operators."""

from typing import Any

from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import TEXT, closed, values, whole
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import decisions as views
from kilonova.core.errors import NotFound
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.db import decisions
from kilonova.db.decisions import LONGEST_KEPT, MOST_KEPT, DecisionQuery

_MOST = 100
_USUAL = 20
_NUMBER: dict[str, Any] = {"pattern": r"^[0-9]{1,10}\Z", "description": "a whole number"}
_QUERY = Schemas(
    {
        ALWAYS: closed(
            {
                "server": values(TEXT, once=True),
                "request_id": values(TEXT, once=True),
                "limit": values(_NUMBER, once=True),
            }
        )
    }
)


def list_decisions(asked: Asked) -> Answer:
    """``GET /kilonova/v1/decisions``, newest first: those about a server, or for a request.

    Beside them, which servers wait for their first decision, and for what.
    """
    server, request = asked.one("server"), asked.one("request_id")
    wanted = DecisionQuery(
        server=None if server is None else InstanceUuid(server),
        request_id=None if request is None else RequestId(request),
        limit=whole(asked.one("limit") or _USUAL, "limit", low=1, high=_MOST),
    )
    # First who waits: what is decided meanwhile is told twice rather than not at all.
    waiting = decisions.waiting(asked.services.api_db, wanted)
    found = decisions.list_decisions(asked.services.api_db, wanted)
    told = {"waiting": [views.waiting(one) for one in waiting]}
    return Answer({"decisions": [views.kept(one) for one in found]} | told)


def show(asked: Asked, decision_id: str) -> Answer:
    """``GET /kilonova/v1/decisions/{decision_id}``."""
    found = decisions.get_decision(asked.services.api_db, decision_id)
    if found is None:
        raise NotFound(
            f"There is no decision {decision_id}. None is kept for longer than {LONGEST_KEPT.days} days, "
            f"nor beyond those of the newest {MOST_KEPT:,} servers."
        )
    return Answer({"decision": views.kept(found)})


ROUTES = (
    Route("GET", "/decisions", "kilonova:decisions:list", list_decisions, query=_QUERY),
    Route("GET", "/decisions/{decision_id}", "kilonova:decisions:show", show),
)
