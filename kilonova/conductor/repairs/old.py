"""What is kept for a while only: records of decisions, and operators' tasks."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.db import decisions, operator_tasks


def decisions_kept(scene: Scene) -> Iterator[Finding]:
    """Find decisions beyond those that are to be kept."""
    if scene.is_due(patience.PRUNED_EVERY):
        now, most = utcnow(), decisions.MOST_KEPT
        before = decisions.old_before(scene.api_db, now, most)
        if before is not None:
            mend = partial(_forget_decisions, scene, before)
            yield Finding("decisions", f"more than {most} are kept, or older ones", mend)


def _forget_decisions(scene: Scene, before: datetime) -> str:
    return f"{decisions.forget(scene.api_db, before)} servers' forgotten"


def tasks_kept(scene: Scene) -> Iterator[Finding]:
    """Find tasks of yesterday."""
    now = utcnow()
    if scene.is_due(patience.PRUNED_EVERY) and operator_tasks.has_old(scene.api_db, now):
        yield Finding("tasks", "those of yesterday are kept", partial(_forget_tasks, scene, now))


def _forget_tasks(scene: Scene, now: datetime) -> str:
    return f"{operator_tasks.prune(scene.api_db, now)} forgotten"
