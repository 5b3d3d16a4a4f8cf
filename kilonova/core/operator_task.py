"""What an operator lets be done in the background: a task of the whole deployment, not of a server."""

from datetime import datetime
from enum import StrEnum

import msgspec

from kilonova.core.ids import HostName, ProjectId, RequestId, UserId


class TaskKind(StrEnum):
    """What is done. ``VITALS`` asks every host how its servers are."""

    VITALS = "vitals"


class TaskQueue(StrEnum):
    """Who does it: what is urgent never waits for what is not."""

    NORMAL = "normal"
    URGENT = "urgent"


class Stage(StrEnum):
    """How far it is. The last three are the end."""

    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


ENDED = frozenset({Stage.DONE, Stage.ERROR, Stage.CANCELLED})


class TaskFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Of which servers: those of a host, of a project."""

    host: HostName | None = None
    project: ProjectId | None = None


class OperatorTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task. Times are UTC without a zone.

    ``asked`` hosts were asked so far, and ``answered`` of them did; those that did not within their time
    are ``not_answering``, and ``silent`` are the cells whose database did not. ``reason`` is why it
    ended in ERROR.
    """

    id: str
    kind: TaskKind
    queue: TaskQueue
    filters: TaskFilters
    user_id: UserId
    project_id: ProjectId
    request_id: RequestId
    created_at: datetime
    state: Stage = Stage.QUEUED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    asked: int = 0
    answered: int = 0
    not_answering: tuple[HostName, ...] = ()
    silent: tuple[str, ...] = ()
    reason: str | None = None
