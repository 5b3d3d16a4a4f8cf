"""Instance actions: what was asked of a server, and how far each stage came."""

from datetime import datetime
from typing import Any

from kilonova.api.find import find_server
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views.servers import host_id
from kilonova.core.errors import NotFound
from kilonova.core.ids import RequestId
from kilonova.core.instance import ActionEvent, Instance, InstanceAction
from kilonova.db import actions

_RULE = "os_compute_api:os-instance-actions"


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _view(action: InstanceAction, asked: Asked) -> dict[str, Any]:
    view = {
        "action": action.action,
        "instance_uuid": action.instance_uuid,
        "request_id": action.request_id,
        "user_id": action.user_id,
        "project_id": action.project_id,
        "start_time": _moment(action.started_at),
        "message": action.message,
    }
    if asked.version >= (2, 58):
        view["updated_at"] = _moment(action.updated_at)
    return view


def list_actions(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/os-instance-actions``, newest first; paged from 2.58."""
    located = find_server(asked, server_id)
    if located.cell_uuid is None:
        return Answer({"instanceActions": []})
    database = asked.services.cells.database(located.cell_uuid)
    found = actions.list_actions(database, located.instance.uuid)
    if asked.version >= (2, 58):
        marker = asked.one("marker")
        if marker is not None:
            ids = [action.request_id for action in found]
            if marker not in ids:
                raise NotFound(f"marker [{marker}] not found")
            found = found[ids.index(RequestId(marker)) + 1 :]
        limit = asked.one("limit")
        if limit and limit.isdigit() and int(limit):
            found = found[: int(limit)]
    return Answer({"instanceActions": [_view(action, asked) for action in found]})


def show(asked: Asked, server_id: str, request_id: str) -> Answer:
    """``GET /servers/{server_id}/os-instance-actions/{request_id}`` with its events."""
    located = find_server(asked, server_id)
    action = None
    if located.cell_uuid is not None:
        database = asked.services.cells.database(located.cell_uuid)
        action = actions.get_action(database, located.instance.uuid, RequestId(request_id))
    if action is None:
        raise NotFound(f"Action for request_id {request_id} on instance {server_id} not found")
    view = _view(action, asked)
    if asked.version >= (2, 51) or asked.allows(f"{_RULE}:events"):
        view["events"] = [_event(event, located.instance, asked) for event in action.events]
    return Answer({"instanceAction": view})


def _event(event: ActionEvent, instance: Instance, asked: Asked) -> dict[str, Any]:
    view: dict[str, Any] = {
        "event": event.name,
        "start_time": _moment(event.started_at),
        "finish_time": _moment(event.finished_at),
        "result": event.result,
    }
    if asked.allows(f"{_RULE}:events"):
        view["traceback"] = event.traceback
    if asked.version >= (2, 62):
        view["hostId"] = host_id(instance)
        if asked.allows(f"{_RULE}:events:details"):
            view["host"] = event.host
    if asked.version >= (2, 84):
        view["details"] = event.details
    return view


ROUTES = (
    Route("GET", "/servers/{server_id}/os-instance-actions", f"{_RULE}:list", list_actions),
    Route("GET", "/servers/{server_id}/os-instance-actions/{request_id}", f"{_RULE}:show", show),
)
