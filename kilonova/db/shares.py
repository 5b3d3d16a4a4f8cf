"""The shares of servers in a cell's database.

What a server has stands whole in its row, as its volumes do; ``share_attachments`` has a row for each
beside it. Both are written together, under the lock of the server's row.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.report import InstanceReport
from kilonova.core.share import UNDER_WAY, Share, ShareReport
from kilonova.db.actions import action_rows
from kilonova.db.carried import encode_shares, share_rows
from kilonova.db.cell_schema import ShareAttachment, StoredAction, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_attachments = table_of(ShareAttachment)
_AT_ONCE = 200
_OF_SERVERS = (
    sa.select(*COLUMNS)
    .join(_attachments, _attachments.c.instance_uuid == _instances.c.uuid)
    .where(_instances.c.deleted.is_(False))
    .limit(_AT_ONCE)
)

Change = Callable[[Instance], tuple[Share, ...]]


def change(
    cell_db: Database,
    uuid: InstanceUuid,
    becomes: Change,
    now: datetime,
    record: InstanceAction | None = None,
) -> Instance | None:
    """Replace a server's shares by what ``becomes`` makes of them; return the server as it is then.

    ``record`` is the action that this begins. None if the server is gone. What ``becomes`` raises is
    passed on, and nothing is written.
    """

    def work(connection: sa.Connection) -> Instance | None:
        instance = _locked(connection, uuid)
        if instance is None:
            return None
        after = _write(connection, instance, becomes(instance), now)
        if record is not None:
            connection.execute(sa.insert(table_of(StoredAction)), action_rows([record]))
        return after

    return cell_db.write(work)


def _locked(connection: sa.Connection, uuid: InstanceUuid) -> Instance | None:
    mine = sa.and_(_instances.c.uuid == uuid, _instances.c.deleted.is_(False))
    row = connection.execute(sa.select(*COLUMNS).where(mine).with_for_update()).first()
    return None if row is None else instance_of(row)


def _write(
    connection: sa.Connection, before: Instance, shares: tuple[Share, ...], now: datetime
) -> Instance:
    if shares == before.shares:
        return before
    after = msgspec.structs.replace(before, shares=shares, updated_at=now)
    values = {"shares": encode_shares(shares), "updated_at": now}
    connection.execute(sa.update(_instances).where(_instances.c.uuid == after.uuid).values(values))
    connection.execute(sa.delete(_attachments).where(_attachments.c.instance_uuid == after.uuid))
    rows = share_rows(after)
    if rows:
        connection.execute(sa.insert(_attachments), rows)
    return after


def hear(
    connection: sa.Connection,
    host: HostName,
    of: tuple[InstanceReport, ShareReport],
    now: datetime,
) -> bool:
    """Apply what a host says of a server's share; False if it is not that, or not that any more."""
    report, said = of
    instance = _locked(connection, report.instance_uuid)
    if instance is None:
        return False
    found = next((s for s in instance.shares if s.share_id == said.share_id), None)
    if found is None:
        return False
    due = (said.begins, report.request_id, host)
    if said.begins is not None and due != (found.stage, found.request_id, instance.host):
        return False
    after = heard(found, host, said)
    became = tuple(after if one is found else one for one in instance.shares)
    _write(connection, instance, tuple(one for one in became if one is not None), now)
    return True


def heard(share: Share, host: HostName, said: ShareReport) -> Share | None:
    """Return what a share becomes by what a host says of it, None if it is its server's no more."""
    if said.gone:
        return None
    changes: dict[str, Any] = {}
    if said.rule is not None:
        others = {at: rule for at, rule in share.rules.items() if at != host}
        changes["rules"] = others | ({host: said.rule} if said.rule else {})
    if said.stage is not None:
        changes["stage"] = said.stage
    return msgspec.structs.replace(share, **changes)


def servers_with(cell_db: Database, share_id: str) -> tuple[Instance, ...]:
    """Return servers that have a share."""
    query = _OF_SERVERS.where(_attachments.c.share_id == share_id).order_by(_instances.c.uuid)
    return tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def standing_still(cell_db: Database, since: datetime) -> tuple[Instance, ...]:
    """Return servers of which shares are on the way to or from them, and did not move ``since``."""
    query = _OF_SERVERS.where(
        _attachments.c.stage.in_(sorted(UNDER_WAY)), _attachments.c.changed_at < since
    ).order_by(_attachments.c.changed_at)
    return tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def touch(cell_db: Database, uuids: Collection[InstanceUuid], now: datetime) -> None:
    """Note that what is under way with servers' shares was looked after."""
    these = sa.update(_attachments).where(_attachments.c.instance_uuid.in_(uuids))
    cell_db.write(lambda c: c.execute(these.values(changed_at=now)))
