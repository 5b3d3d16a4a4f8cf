"""Operators' tasks that nobody took, or whose conductor has ended."""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.operator_task import OperatorTask
from kilonova.db import operator_tasks
from kilonova.rpc.messages import RunTask

_ENDED = "The conductor that did the task has ended."


def not_taken(scene: Scene) -> Iterator[Finding]:
    """Find tasks that wait, though a conductor should have taken them."""
    for task in operator_tasks.waiting(scene.api_db, utcnow() - patience.UNTAKEN):
        yield Finding(task.id, "nobody took the task", partial(_send_on, scene, task))


def _send_on(scene: Scene, task: OperatorTask) -> str:
    scene.hands.run(RunTask(task_id=task.id, queue=task.queue))
    return "sent on"


def not_done(scene: Scene) -> Iterator[Finding]:
    """Find tasks whose worker was not heard of any more: nobody begins one a second time."""
    for task_id in operator_tasks.quiet(scene.api_db, utcnow() - patience.WORKER_SILENT):
        yield Finding(task_id, "nobody does the task any more", partial(_end, scene, task_id))


def _end(scene: Scene, task_id: str) -> str | None:
    now = utcnow()
    before = now - patience.WORKER_SILENT
    ended = operator_tasks.abandon(scene.api_db, task_id, before, (now, _ENDED))
    return "ended with a reason" if ended else None
