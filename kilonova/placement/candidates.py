"""Allocation candidates over HTTP: who has room for what is asked."""

import random
from typing import Any

from kilonova.core.errors import Invalid
from kilonova.db import placement_candidates
from kilonova.placement.providers import read_wanted
from kilonova.placement.wire import Answer, Asked

_PARAMETERS = frozenset({"resources", "required", "member_of", "limit"})
_ALL = 1_000_000


def list_candidates(asked: Asked) -> Answer:
    """``GET /allocation_candidates`` for one group of resources on one provider.

    The candidates come in random order, so that callers who take the first spread.
    """
    unknown = sorted(set(asked.http.params) - _PARAMETERS)
    if unknown:
        raise Invalid(f"Invalid query string parameters: {', '.join(unknown)} not supported")
    limit = asked.http.get_param_as_int("limit", min_value=1) or _ALL
    wanted = read_wanted(asked)
    found = list(placement_candidates.with_room(asked.database, wanted, limit))
    random.shuffle(found)
    summaries = placement_candidates.summaries(asked.database, found)
    resources = dict(wanted.resources)
    requests = [_request(asked, uuid, resources) for uuid in found if uuid in summaries]
    return Answer(
        {
            "allocation_requests": requests,
            "provider_summaries": {
                uuid: _summary(asked, summary, resources) for uuid, summary in summaries.items()
            },
        }
    )


def _request(asked: Asked, uuid: str, resources: dict[str, int]) -> dict[str, Any]:
    if asked.version < (1, 12):
        return {"allocations": [{"resource_provider": {"uuid": uuid}, "resources": resources}]}
    return {"allocations": {uuid: {"resources": resources}}}


def _summary(
    asked: Asked, summary: placement_candidates.Summary, resources: dict[str, int]
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "resources": {
            name: {"capacity": room.capacity, "used": room.used}
            for name, room in summary.rooms.items()
            if name in resources or asked.version >= (1, 27)
        }
    }
    if asked.version >= (1, 17):
        shown["traits"] = summary.traits
    if asked.version >= (1, 29):
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": summary.uuid}
    return shown
