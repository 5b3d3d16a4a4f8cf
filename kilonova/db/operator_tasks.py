"""Tasks of operators, and what came of them.

A task changes hands and ends by compare-and-set of its state: it is done at most once, and what is
cancelled ends as nothing else. It is kept for a day, with its result.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.operator_task import OperatorTask, Stage
from kilonova.db.api_schema import StoredOperatorTask, TaskResult
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

KEPT = timedelta(days=1)

_tasks = table_of(StoredOperatorTask)
_results = table_of(TaskResult)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OperatorTask).decode

_WAITING = (
    sa.select(_tasks)
    .where(_tasks.c.state == Stage.QUEUED, _tasks.c.created_at < sa.bindparam("before"))
    .order_by(_tasks.c.created_at, _tasks.c.id)
)
_QUIET = sa.select(_tasks.c.id).where(
    _tasks.c.state == Stage.PROCESSING, _tasks.c.seen_at < sa.bindparam("before")
)


def add(api_db: Database, task: OperatorTask) -> None:
    """Write a task that is queued."""
    row = {
        "id": task.id,
        "state": task.state,
        "created_at": task.created_at,
        "seen_at": task.created_at,
        "worker": "",
        "task": _encode(task),
    }
    api_db.write(lambda c: c.execute(sa.insert(_tasks), [row]))


def get(api_db: Database, task_id: str) -> OperatorTask | None:
    """Return a task, or None if it is not, or no longer, kept."""
    query = sa.select(_tasks).where(_tasks.c.id == task_id)
    row = api_db.query(lambda c: c.execute(query).first())
    return None if row is None else _task(row)


def newest(api_db: Database, limit: int) -> tuple[OperatorTask, ...]:
    """Return tasks, newest first."""
    query = sa.select(_tasks).order_by(_tasks.c.created_at.desc(), _tasks.c.id).limit(limit)
    return tuple(_task(row) for row in api_db.query(lambda c: c.execute(query).all()))


def _task(row: Any) -> OperatorTask:
    return msgspec.structs.replace(_decode(row.task), state=Stage(row.state))


def take(api_db: Database, task_id: str, worker: str, now: datetime) -> OperatorTask | None:
    """Begin to do a task; None if it is not queued, or no longer."""

    def work(connection: sa.Connection) -> OperatorTask | None:
        row = connection.execute(sa.select(_tasks).where(_tasks.c.id == task_id)).first()
        if row is None:
            return None
        begun = msgspec.structs.replace(_task(row), state=Stage.PROCESSING, started_at=now)
        change = (
            sa.update(_tasks)
            .where(_tasks.c.id == task_id, _tasks.c.state == Stage.QUEUED)
            .values(state=Stage.PROCESSING, worker=worker, seen_at=now, task=_encode(begun))
        )
        return begun if connection.execute(change).rowcount else None

    return api_db.write(work)


def note(api_db: Database, task: OperatorTask, worker: str, now: datetime) -> bool:
    """Write how far a task is; False if it is no longer this worker's to do, as it was cancelled."""
    change = _mine(task, worker).values(seen_at=now, task=_encode(task))
    return bool(api_db.write(lambda c: c.execute(change).rowcount))


def finish(api_db: Database, task: OperatorTask, worker: str, result: Sequence[bytes] = ()) -> bool:
    """Write a task that has ended, with what came of it in parts; False as ``note``."""
    change = _mine(task, worker).values(
        state=task.state, seen_at=task.finished_at, worker="", task=_encode(task)
    )
    parts = [
        {"task_id": task.id, "place": place, "lines": lines} for place, lines in enumerate(result)
    ]

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        if parts:
            connection.execute(sa.insert(_results), parts)
        return True

    return api_db.write(work)


def _mine(task: OperatorTask, worker: str) -> sa.Update:
    return sa.update(_tasks).where(
        _tasks.c.id == task.id, _tasks.c.state == Stage.PROCESSING, _tasks.c.worker == worker
    )


def cancel(api_db: Database, task_id: str, now: datetime) -> bool:
    """Cancel a task; False if it is not there, or has ended."""
    return _end(api_db, task_id, (Stage.QUEUED, Stage.PROCESSING), Stage.CANCELLED, (now, None))


def _end(
    api_db: Database,
    task_id: str,
    while_in: Sequence[Stage],
    state: Stage,
    when_and_why: tuple[datetime, str | None],
) -> bool:
    now, reason = when_and_why

    def work(connection: sa.Connection) -> bool:
        mine = sa.and_(_tasks.c.id == task_id, _tasks.c.state.in_(while_in))
        row = connection.execute(sa.select(_tasks).where(mine).with_for_update()).first()
        if row is None:
            return False
        ended = msgspec.structs.replace(_task(row), state=state, finished_at=now, reason=reason)
        values = {"state": state, "seen_at": now, "worker": "", "task": _encode(ended)}
        return bool(connection.execute(sa.update(_tasks).where(mine).values(values)).rowcount)

    return api_db.write(work)


def waiting(api_db: Database, before: datetime) -> tuple[OperatorTask, ...]:
    """Return the tasks that were queued before a time and that nobody does, oldest first."""
    rows = api_db.query(lambda c: c.execute(_WAITING, {"before": before}).all())
    return tuple(_task(row) for row in rows)


def quiet(api_db: Database, before: datetime) -> tuple[str, ...]:
    """Return the tasks that somebody does who was not heard of since a time."""
    since = {"before": before}
    return tuple(api_db.query(lambda c: c.execute(_QUIET, since).scalars().all()))


def abandon(
    api_db: Database, task_id: str, before: datetime, when_and_why: tuple[datetime, str]
) -> bool:
    """End a task whose worker was not heard of since a time, and say why; False if it is not so."""
    if task_id not in quiet(api_db, before):
        return False
    return _end(api_db, task_id, (Stage.PROCESSING,), Stage.ERROR, when_and_why)


def has_old(api_db: Database, now: datetime) -> bool:
    """Whether there are tasks to be forgotten."""
    old = sa.select(_tasks.c.id).where(_tasks.c.created_at < now - KEPT).limit(1)
    return api_db.query(lambda c: c.execute(old).first()) is not None


def prune(api_db: Database, now: datetime) -> int:
    """Forget the tasks of yesterday, whatever became of them; return how many."""
    old = sa.delete(_tasks).where(_tasks.c.created_at < now - KEPT)
    return api_db.write(lambda c: c.execute(old).rowcount)


def result(api_db: Database, task_id: str) -> Iterator[bytes]:
    """Yield what came of a task, part by part: JSON objects, one a line."""
    place = 0
    while True:
        query = sa.select(_results.c.lines).where(
            _results.c.task_id == task_id, _results.c.place == place
        )
        lines = api_db.query(lambda c, asked=query: c.execute(asked).scalar())  # type: ignore[misc]
        if lines is None:
            return
        yield bytes(lines)
        place += 1
