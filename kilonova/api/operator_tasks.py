"""Tasks that are done in the background: ``/kilonova/v1/tasks``, for operators.

POST   /tasks               202, with the task's place as Location
GET    /tasks/{id}          how far it is
GET    /tasks/{id}/result   once it is done: JSON, one object a line, as it is read
DELETE /tasks/{id}          cancels it
"""

import logging
import uuid
from typing import Any

from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import HOST, SHORT, closed, values, whole
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, NotFound, Unavailable
from kilonova.core.ids import HostName, ProjectId
from kilonova.core.operator_task import (
    OperatorTask,
    Stage,
    TaskFilters,
    TaskKind,
    TaskQueue,
)
from kilonova.db import operator_tasks
from kilonova.rpc.messages import RunTask

LOG = logging.getLogger(__name__)

_MOST = 1000
_USUAL = 100
_NUMBER: dict[str, Any] = {"pattern": r"^[0-9]{1,10}\Z", "description": "a whole number"}
_QUERY = Schemas({ALWAYS: closed({"limit": values(_NUMBER, once=True)})})
_FILTERS = closed({"host": HOST, "project": SHORT})
_TASK = closed(
    {
        "kind": {"type": "string", "enum": [kind.value for kind in TaskKind]},
        "queue": {"type": "string", "enum": [queue.value for queue in TaskQueue]},
        "filters": _FILTERS,
    },
    "kind",
)
_CREATE = Schemas({ALWAYS: closed({"task": _TASK}, "task")})


def create(asked: Asked) -> Answer:
    """``POST /kilonova/v1/tasks``. The task is written before anybody is told of it, so none is lost."""
    wanted = asked.body["task"]
    filters = wanted.get("filters", {})
    host, project = filters.get("host"), filters.get("project")
    task = OperatorTask(
        id=str(uuid.uuid4()),
        kind=TaskKind(wanted["kind"]),
        queue=TaskQueue(wanted.get("queue", TaskQueue.NORMAL)),
        filters=TaskFilters(
            host=None if host is None else HostName(host),
            project=None if project is None else ProjectId(project),
        ),
        user_id=asked.context.user_id,
        project_id=asked.context.project_id,
        request_id=asked.context.request_id,
        created_at=utcnow(),
    )
    operator_tasks.add(asked.services.api_db, task)
    try:
        asked.services.bus.cast(asked.context, RunTask(task_id=task.id, queue=task.queue))
    except Unavailable as error:
        LOG.warning("Task %s waits for the converger: %s", task.id, error)
    place = f"{asked.own_root}/tasks/{task.id}"
    return Answer({"task": task}, status=202, headers={"Location": place})


def list_tasks(asked: Asked) -> Answer:
    """``GET /kilonova/v1/tasks``, newest first."""
    limit = whole(asked.one("limit") or _USUAL, "limit", low=1, high=_MOST)
    return Answer({"tasks": operator_tasks.newest(asked.services.api_db, limit)})


def show(asked: Asked, task_id: str) -> Answer:
    """``GET /kilonova/v1/tasks/{task_id}``."""
    return Answer({"task": _found(asked, task_id)})


def _found(asked: Asked, task_id: str) -> OperatorTask:
    found = operator_tasks.get(asked.services.api_db, task_id)
    if found is None:
        raise NotFound(f"There is no task {task_id}. None is kept for longer than a day.")
    return found


def show_result(asked: Asked, task_id: str) -> Answer:
    """``GET /kilonova/v1/tasks/{task_id}/result``."""
    task = _found(asked, task_id)
    if task.state != Stage.DONE:
        raise Conflict(f"Task {task_id} is {task.state}, so it has no result.")
    return Answer(lines=operator_tasks.result(asked.services.api_db, task_id))


def cancel(asked: Asked, task_id: str) -> Answer:
    """``DELETE /kilonova/v1/tasks/{task_id}``. A task that has ended stays as it is."""
    if not operator_tasks.cancel(asked.services.api_db, task_id, utcnow()):
        task = _found(asked, task_id)
        raise Conflict(f"Task {task_id} is {task.state}: it cannot be cancelled any more.")
    return Answer(status=204)


_ONE = "/tasks/{task_id}"

ROUTES = (
    Route("POST", "/tasks", "kilonova:tasks:create", create, body=_CREATE),
    Route("GET", "/tasks", "kilonova:tasks:list", list_tasks, query=_QUERY),
    Route("GET", _ONE, "kilonova:tasks:show", show),
    Route("GET", _ONE + "/result", "kilonova:tasks:result", show_result),
    Route("DELETE", _ONE, "kilonova:tasks:cancel", cancel),
)
