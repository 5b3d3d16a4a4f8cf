"""Instance actions and their events: what was asked of a server, and how far each stage came."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.errors import Invalid
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.core.instance import ActionEvent, InstanceAction
from kilonova.db.cell_schema import StoredAction, StoredEvent
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_actions = table_of(StoredAction)
_events = table_of(StoredEvent)
_REQUEST_OF = (
    sa.select(_actions.c.request_id)
    .where(
        _actions.c.instance_uuid == sa.bindparam("uuid"),
        _actions.c.action == sa.bindparam("action"),
    )
    .order_by(_actions.c.started_at.desc(), _actions.c.id.desc())
    .limit(1)
)


def action_rows(actions: Sequence[InstanceAction]) -> list[dict[str, Any]]:
    """Return the columns' values of actions, without their events."""
    return [
        {
            "instance_uuid": a.instance_uuid,
            "request_id": a.request_id,
            "action": a.action,
            "user_id": a.user_id,
            "project_id": a.project_id,
            "started_at": a.started_at,
            "updated_at": a.updated_at or a.started_at,
            "message": a.message,
        }
        for a in actions
    ]


def event_row(uuid: InstanceUuid, request_id: RequestId, event: ActionEvent) -> dict[str, Any]:
    """Return the columns' values of one event."""
    return {
        "instance_uuid": uuid,
        "request_id": request_id,
        "name": event.name,
        "host": event.host,
        "started_at": event.started_at,
        "finished_at": event.finished_at,
        "result": event.result,
        "details": event.details,
        "traceback": event.traceback,
    }


def event_rows(action: InstanceAction) -> list[dict[str, Any]]:
    """Return the columns' values of an action's events."""
    return [event_row(action.instance_uuid, action.request_id, event) for event in action.events]


def record(cell_db: Database, actions: Sequence[InstanceAction]) -> None:
    """Write actions with their events."""
    events = [row for action in actions for row in event_rows(action)]

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(_actions), action_rows(actions))
        if events:
            connection.execute(sa.insert(_events), events)

    cell_db.write(work)


class ActionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which actions of a server: those changed between two times, at most ``limit``, and only those that
    are older than the one of the request ``after``."""

    limit: int = 1000
    after: RequestId | None = None
    changed_since: datetime | None = None
    changed_before: datetime | None = None


NEWEST = ActionQuery()


def list_actions(
    cell_db: Database, uuid: InstanceUuid, wanted: ActionQuery = NEWEST
) -> tuple[InstanceAction, ...]:
    """Return a server's actions, newest first, without events. Deleted servers have theirs too.

    Raises:
        Invalid: the server has no action of the request ``wanted.after``.
    """
    mine = _actions.c.instance_uuid == uuid
    order = (_actions.c.started_at.desc(), _actions.c.id.desc())
    query = sa.select(_actions).where(mine).order_by(*order).limit(wanted.limit)
    if wanted.changed_since is not None:
        query = query.where(_actions.c.updated_at >= wanted.changed_since)
    if wanted.changed_before is not None:
        query = query.where(_actions.c.updated_at <= wanted.changed_before)

    def work(connection: sa.Connection) -> Sequence[Any]:
        page = query
        if wanted.after is not None:
            named = sa.select(_actions.c.started_at, _actions.c.id).where(
                mine, _actions.c.request_id == wanted.after
            )
            marker = connection.execute(named).first()
            if marker is None:
                raise Invalid(f"marker [{wanted.after}] not found")
            started, number = marker
            same_time = sa.and_(_actions.c.started_at == started, _actions.c.id < number)
            page = query.where(sa.or_(_actions.c.started_at < started, same_time))
        return connection.execute(page).all()

    return tuple(_action(row, ()) for row in cell_db.query(work))


def request_of(cell_db: Database, uuid: InstanceUuid, action: str) -> RequestId | None:
    """Return the request that asked for an action last, or None."""
    wanted = {"uuid": uuid, "action": action}
    return cell_db.query(lambda c: c.execute(_REQUEST_OF, wanted).scalar())


def get_action(
    cell_db: Database, uuid: InstanceUuid, request_id: RequestId
) -> InstanceAction | None:
    """Return one action with its events, latest start first, or None."""
    action = sa.select(_actions).where(
        _actions.c.instance_uuid == uuid, _actions.c.request_id == request_id
    )
    events = (
        sa.select(_events)
        .where(_events.c.instance_uuid == uuid, _events.c.request_id == request_id)
        .order_by(_events.c.started_at.desc(), _events.c.id.desc())
    )
    row = cell_db.query(lambda c: c.execute(action).first())
    if row is None:
        return None
    rows = cell_db.query(lambda c: c.execute(events).all())
    return _action(row, tuple(_event(event) for event in rows))


def of_requests(
    cell_db: Database, wanted: Collection[tuple[InstanceUuid, RequestId]]
) -> dict[tuple[InstanceUuid, RequestId], InstanceAction]:
    """Return the actions of these servers and requests, without events, in one SELECT."""
    query = sa.select(_actions).where(
        _actions.c.instance_uuid.in_({uuid for uuid, _ in wanted}),
        _actions.c.request_id.in_({request for _, request in wanted}),
    )
    rows = cell_db.query(lambda c: c.execute(query).all())
    return {(row.instance_uuid, row.request_id): _action(row, ()) for row in rows}


def _action(row: Any, events: tuple[ActionEvent, ...]) -> InstanceAction:
    return InstanceAction(
        action=row.action,
        instance_uuid=row.instance_uuid,
        request_id=row.request_id,
        user_id=row.user_id,
        project_id=row.project_id,
        started_at=row.started_at,
        updated_at=row.updated_at,
        message=row.message,
        events=events,
    )


def _event(row: Any) -> ActionEvent:
    return ActionEvent(
        name=row.name,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=row.result,
        details=row.details,
        traceback=row.traceback,
        host=row.host,
    )


def end_action(
    connection: sa.Connection, of: tuple[str, str], now: datetime, *, failed: str | None
) -> None:
    """Note that an action (server, request) is over. ``failed`` is why it did not succeed, or None.

    Events of it that began and did not end have ended with it.
    """
    uuid, request = of
    action = sa.and_(_actions.c.instance_uuid == uuid, _actions.c.request_id == request)
    message = None if failed is None else "Error"
    connection.execute(sa.update(_actions).where(action).values(updated_at=now, message=message))
    if failed is not None:
        open_ = sa.and_(
            _events.c.instance_uuid == uuid,
            _events.c.request_id == request,
            _events.c.finished_at.is_(None),
        )
        ended = {"finished_at": now, "result": "Error", "details": failed}
        connection.execute(sa.update(_events).where(open_).values(ended))
