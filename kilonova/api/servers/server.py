"""Servers: their routes, and what shows or changes one."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from kilonova.api import notices
from kilonova.api.find import find_server, missing
from kilonova.api.microversions import Since
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas import servers as schemas
from kilonova.api.servers import create, delete, lists, wishes
from kilonova.api.servers.actions import ROUTES as ACTION_ROUTES
from kilonova.api.servers.queries import QUERY
from kilonova.api.servers.sight import sight_of
from kilonova.api.servers.tasks import placed
from kilonova.api.views import servers as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, DatabaseUnavailable
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Fault, Instance, Located
from kilonova.core.states import VmState
from kilonova.db import instance_lists, instances, request_specs, unplaced

_S = "os_compute_api:servers"
_PLACING = 5.0
"""Seconds that a change waits for a server to be placed. That takes a fraction of one, if all is well."""


def show(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}``; from 2.69 in part, if its cell does not answer."""
    try:
        located = find_server(asked, server_id)
    except DatabaseUnavailable:
        if asked.version not in Since.DOWN_CELLS:
            raise
        return Answer({"server": _unknown(asked, server_id)})
    return Answer({"server": _view(asked, located)})


def _view(asked: Asked, located: Located) -> dict[str, Any]:
    return views.full(located.instance, fault_of(asked, located), sight_of(asked))


def _unknown(asked: Asked, server_id: str) -> dict[str, Any]:
    """Return what the API database knows of a server.

    Raises:
        DatabaseUnavailable: it does not answer either.
        NotFound: there is none that the asker may know of.
    """
    mapped, spec = instance_lists.outline(asked.services.api_db, str(UUID(server_id)))
    if mapped.project_id != asked.context.project_id and not asked.is_admin:
        raise missing(server_id)
    return views.unknown_full(mapped, spec, sight_of(asked))


def fault_of(asked: Asked, located: Located) -> Fault | None:
    """Return the newest fault of a server in ERROR."""
    instance, cell = located.instance, located.cell_uuid
    if cell is None or instance.vm_state != VmState.ERROR:
        return None
    return instances.newest_faults(asked.services.cells.database(cell), [instance.uuid]).get(
        instance.uuid
    )


def _pin(asked: Asked, instance: Instance, cell: CellUuid, zone: str | None) -> None:
    """Pin a server to the zone that it is in, or to none.

    Raises:
        Conflict: it is pinned to another zone, or is in another.
    """
    pinned = instance.wishes.pinned_zone
    if zone == pinned:
        return
    if zone is not None and pinned is not None:
        raise Conflict(
            f"pinned_availability_zone: The server is pinned to {pinned}; unpin it first (null)."
        )
    if zone is not None and zone != instance.availability_zone:
        raise Conflict(
            f"pinned_availability_zone: The server is in {instance.availability_zone}, not in {zone}."
        )
    # First where the scheduler reads it: a pin that is shown is one that holds.
    request_specs.pin(asked.services.api_db, instance.uuid, zone)
    instances.wish(asked.services.cells.database(cell), instance.uuid, {"pinned_zone": zone})


def update(asked: Asked, server_id: str) -> Answer:
    """``PUT /servers/{server_id}``: name, description, hostname, access addresses, and what else its
    microversion lets be changed."""
    body = asked.body["server"]
    values = wishes.said_in(body)
    located = _changed_or_placed(asked, server_id, body, values)
    if located.cell_uuid is None:
        return _answer(asked, located)
    instance, cell = placed(located, "update")
    database = asked.services.cells.database(cell)
    if "pinned_availability_zone" in body:
        _pin(asked, instance, cell, body["pinned_availability_zone"])
    if "OS-DCF:diskConfig" in body:
        instances.wish(database, instance.uuid, {"disk_config": body["OS-DCF:diskConfig"]})
    values["updated_at"] = utcnow()
    if not instances.update(database, instance.uuid, values):
        raise missing(server_id)
    after = find_server(asked, server_id)
    notices.tell_update(asked, instance, after.instance)
    return _answer(asked, after)


def _changed_or_placed(
    asked: Asked, server_id: str, body: Mapping[str, Any], values: Mapping[str, Any]
) -> Located:
    """Change a server that nobody places yet, and return it; otherwise return one that is in a cell.

    Raises:
        WrongState: it is being placed for longer than a client is let wait.
    """
    until = time.monotonic() + _PLACING
    while True:
        located = find_server(asked, server_id)
        if located.cell_uuid is not None:
            return located
        # A zone is pinned where a server is, and not before.
        if "pinned_availability_zone" in body or time.monotonic() > until:
            placed(located, "update")
        uuid, changed = located.instance.uuid, _change_of(body, values)
        if unplaced.change(asked.services.api_db, uuid, changed):
            return msgspec.structs.replace(located, instance=changed(located.instance))
        time.sleep(0.1)


def _change_of(
    body: Mapping[str, Any], values: Mapping[str, Any]
) -> Callable[[Instance], Instance]:
    disk = body.get("OS-DCF:diskConfig")
    wished = {} if disk is None else {"disk_config": disk}

    def change(instance: Instance) -> Instance:
        all_ = msgspec.structs.replace(instance.wishes, **wished)
        return msgspec.structs.replace(instance, wishes=all_, updated_at=utcnow(), **values)

    return change


def _answer(asked: Asked, located: Located) -> Answer:
    shown = views.changed(located.instance, fault_of(asked, located), sight_of(asked))
    return Answer({"server": shown})


ROUTES = (
    Route("GET", "/servers", f"{_S}:index", lists.index, query=QUERY),
    Route("POST", "/servers", f"{_S}:create", create.create, body=schemas.CREATE),
    Route("GET", "/servers/detail", f"{_S}:detail", lists.detail, query=QUERY),
    Route("GET", "/servers/{server_id}", f"{_S}:show", show),
    Route("PUT", "/servers/{server_id}", f"{_S}:update", update, body=schemas.UPDATE),
    Route("DELETE", "/servers/{server_id}", f"{_S}:delete", delete.delete),
    *ACTION_ROUTES,
)
