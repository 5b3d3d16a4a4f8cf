"""Instance actions: what was asked of a server, and how far each stage came."""

from datetime import datetime
from typing import Any

from kilonova.api import parameters
from kilonova.api.find import find_server
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import TEXT, Schema, values
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views.servers import host_id
from kilonova.core.errors import Invalid, NotFound
from kilonova.core.ids import RequestId
from kilonova.core.instance import ActionEvent, Instance, InstanceAction
from kilonova.db import actions
from kilonova.db.actions import NEWEST, ActionQuery
from kilonova.db.engine import Database

_RULE = "os_compute_api:os-instance-actions"
_SINCE: Schema = parameters.PAGE | {"changes-since": values(TEXT, once=True)}
_QUERY = parameters.queries(
    {
        ALWAYS: {},
        Since.ACTION_PAGES: _SINCE,
        Since.CHANGES_BEFORE: _SINCE | {"changes-before": values(TEXT, once=True)},
    },
    strict=Since.ACTION_PAGES,
)


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
    if asked.version in Since.ACTION_PAGES:
        view["updated_at"] = _moment(action.updated_at)
    return view


def _database_of(asked: Asked, server_id: str) -> tuple[Instance, Database | None]:
    """Return a server, from 2.21 also a deleted one, and its cell's database, if it has a cell yet."""
    located = find_server(asked, server_id, with_deleted=asked.version in Since.ACTIONS_OF_DELETED)
    cell = located.cell_uuid
    return located.instance, None if cell is None else asked.services.cells.database(cell)


def list_actions(asked: Asked, server_id: str) -> Answer:
    """``GET /servers/{server_id}/os-instance-actions``, newest first; paged from 2.58."""
    instance, database = _database_of(asked, server_id)
    if database is None:
        return Answer({"instanceActions": []})
    wanted = _wanted(asked)
    found = actions.list_actions(database, instance.uuid, wanted)
    body: dict[str, Any] = {"instanceActions": [_view(action, asked) for action in found]}
    if asked.version in Since.ACTION_PAGES:
        path = f"/servers/{server_id}/os-instance-actions"
        links = next_links(asked, path, wanted.limit, [action.request_id for action in found])
        body |= {"links": links} if links else {}
    return Answer(body)


def _wanted(asked: Asked) -> ActionQuery:
    if asked.version not in Since.ACTION_PAGES:
        return NEWEST
    limit, marker = page(asked)
    since, before = (
        parameters.moment_of(text, name) if (text := asked.one(name)) else None
        for name in ("changes-since", "changes-before")
    )
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before")
    after = None if marker is None else RequestId(marker)
    return ActionQuery(limit=limit, after=after, changed_since=since, changed_before=before)


def show(asked: Asked, server_id: str, request_id: str) -> Answer:
    """``GET /servers/{server_id}/os-instance-actions/{request_id}`` with its events."""
    instance, database = _database_of(asked, server_id)
    action = None
    if database is not None:
        action = actions.get_action(database, instance.uuid, RequestId(request_id))
    if action is None:
        raise NotFound(f"Action for request_id {request_id} on instance {server_id} not found")
    view = _view(action, asked)
    if asked.version in Since.EVENTS_FOR_OWNERS or asked.allows(f"{_RULE}:events"):
        view["events"] = [_event(event, instance, asked) for event in action.events]
    return Answer({"instanceAction": view})


def _event(event: ActionEvent, instance: Instance, asked: Asked) -> dict[str, Any]:
    view: dict[str, Any] = {
        "event": event.name,
        "start_time": _moment(event.started_at),
        "finish_time": _moment(event.finished_at),
        "result": event.result,
    }
    sees_all = asked.allows(f"{_RULE}:events")
    if sees_all:
        view["traceback"] = event.traceback
    if asked.version in Since.EVENT_HOSTS:
        view["hostId"] = host_id(instance.project_id, event.host)
        if sees_all:
            view["host"] = event.host or ""
    if asked.version in Since.EVENT_DETAILS and asked.allows(f"{_RULE}:events:details"):
        view["details"] = event.details
    return view


_ALL = "/servers/{server_id}/os-instance-actions"

ROUTES = (
    Route("GET", _ALL, f"{_RULE}:list", list_actions, query=_QUERY),
    Route("GET", _ALL + "/{request_id}", f"{_RULE}:show", show),
)
