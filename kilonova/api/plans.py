"""Dry runs: ``/kilonova/v1/plans`` says what would become of the servers that a request asks for.

The request is that of ``POST /servers``. It is refused for whatever that would refuse; then the scheduler
decides as it would, and nothing is written or claimed.
"""

import uuid

from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.servers import PLAN
from kilonova.api.servers import create as server_create
from kilonova.api.views import decisions as views
from kilonova.core.errors import NotSupported
from kilonova.core.ids import InstanceUuid
from kilonova.rpc.messages import Destinations, SelectDestinations

_RULE = "kilonova:plans:create"
_TIMEOUT = 55.0


def create(asked: Asked) -> Answer:
    """``POST /kilonova/v1/plans``. Answers 200, also where no server fits: that is the answer."""
    asked.body["server"].setdefault("name", "plan")
    wanted = server_create.wanted(asked)
    count = server_create.admitted(asked, wanted)
    message = SelectDestinations(
        spec=wanted.spec,
        instance_uuids=tuple(InstanceUuid(str(uuid.uuid4())) for _ in range(count)),
        alternates=0,
        dry_run=True,
    )
    answer = asked.services.bus.call(asked.context, message, Destinations, timeout=_TIMEOUT)
    if answer.record is None:
        raise NotSupported("The scheduler is of a version that makes no plans.")
    sees_hosts = asked.allows(f"{_RULE}:hosts")
    told = views.in_full(answer.record) if sees_hosts else views.outline(answer.record)
    places = [views.place(one, with_host=sees_hosts) for one in answer.decisions]
    return Answer({"plan": told | {"servers": places}})


ROUTES = (Route("POST", "/plans", _RULE, create, body=PLAN),)
