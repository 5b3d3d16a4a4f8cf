"""Servers: routes and handlers of everything but their creation and their lists."""

import logging
from typing import Any

from kilonova.api import server_create, server_lists
from kilonova.api.find import find_server, missing
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas import servers as schemas
from kilonova.api.server_actions import ROUTES as ACTION_ROUTES
from kilonova.api.server_actions import begin, check_unlocked
from kilonova.api.server_queries import QUERY
from kilonova.api.server_sight import sight_of
from kilonova.api.views import servers as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.instance import Fault, Located
from kilonova.core.states import Action, VmState
from kilonova.db import build_requests, instances
from kilonova.rpc.messages import DeleteInstance

LOG = logging.getLogger(__name__)

_S = "os_compute_api:servers"


def show(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}``."""
    located = find_server(asked, server_id)
    return Answer(
        {"server": views.full(located.instance, fault_of(asked, located), sight_of(asked))}
    )


def fault_of(asked: Asked, located: Located) -> Fault | None:
    """Return the newest fault of a server in ERROR."""
    if located.cell_uuid is None or located.instance.vm_state != VmState.ERROR:
        return None
    uuid = located.instance.uuid
    return instances.newest_faults(asked.services.cells.database(located.cell_uuid), [uuid]).get(
        uuid
    )


_FIELD_OF = {
    "name": "name",
    "description": "description",
    "hostname": "hostname",
    "accessIPv4": "access_ipv4",
    "accessIPv6": "access_ipv6",
}


def update(asked: Asked, server_id: str) -> Answer:
    """``PUT /servers/{server_id}``: name, description, hostname and access addresses."""
    body = asked.body["server"]
    located = find_server(asked, server_id)
    if located.cell_uuid is None:
        raise missing(server_id)
    values: dict[str, Any] = {
        field: body[key] or None if key.startswith("access") else body[key]
        for key, field in _FIELD_OF.items()
        if key in body
    }
    database = asked.services.cells.database(located.cell_uuid)
    if values and not instances.update(database, located.instance.uuid, values):
        raise missing(server_id)
    after = find_server(asked, server_id)
    view = views.full(after.instance, fault_of(asked, after), sight_of(asked))
    if asked.version < (2, 75):
        view = {
            key: view[key] for key in view if not key.startswith(("OS-EXT-", "OS-SRV", "os-ext"))
        }
    return Answer({"server": view})


def delete(asked: Asked, server_id: str) -> Answer:
    """``DELETE /servers/{server_id}``: wins over whatever is under way."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    if located.cell_uuid is None:
        if build_requests.withdraw(asked.services.api_db, located.instance.uuid):
            return Answer(status=204)
        # Placed between the look and the withdrawal: then it is in a cell by now.
        located = find_server(asked, server_id)
        if located.cell_uuid is None:
            raise missing(server_id)
    begin(asked, located, Action.DELETE)
    build_requests.queue_for_delete(asked.services.api_db, located.instance.uuid)
    if located.instance.host is None:
        _bury(asked, located)
        return Answer(status=204)
    try:
        asked.services.cell_bus(located.cell_uuid).cast(
            asked.context, DeleteInstance(instance=located.instance), host=located.instance.host
        )
    except KilonovaError:
        LOG.warning("%s: deleting waits for the converger", located.instance.uuid)
    return Answer(status=204)


def _bury(asked: Asked, located: Located) -> None:
    """Mark a server deleted that no host has anything of."""
    if located.cell_uuid is not None:
        database = asked.services.cells.database(located.cell_uuid)
        instances.mark_deleted(database, [located.instance.uuid], utcnow())


def addresses(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/ips``."""
    find_server(asked, server_id)
    return Answer({"addresses": {}})


ROUTES = (
    Route("GET", "/servers", f"{_S}:index", server_lists.index, query=QUERY),
    Route("POST", "/servers", f"{_S}:create", server_create.create, body=schemas.CREATE),
    Route("GET", "/servers/detail", f"{_S}:detail", server_lists.detail, query=QUERY),
    Route("GET", "/servers/{server_id}", f"{_S}:show", show),
    Route("PUT", "/servers/{server_id}", f"{_S}:update", update, body=schemas.UPDATE),
    Route("DELETE", "/servers/{server_id}", f"{_S}:delete", delete),
    Route("GET", "/servers/{server_id}/ips", "os_compute_api:ips:index", addresses),
    *ACTION_ROUTES,
)
