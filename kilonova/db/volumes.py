"""The volumes of servers in a cell's database.

What a server has stands whole in its row, so that it goes wherever the server goes; ``volume_attachments``
has a row for each beside it, by which a volume, or what is under way with it, is found. Both are written
together, under the lock of the server's row.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.report import InstanceReport
from kilonova.core.volume import NOBODY, UNDER_WAY, Volume, VolumeReport
from kilonova.db.actions import action_rows
from kilonova.db.carried import encode_volumes, volume_rows
from kilonova.db.cell_schema import StoredAction, StoredInstance, VolumeAttachment
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_attachments = table_of(VolumeAttachment)
_AT_ONCE = 200

Change = Callable[[Instance], tuple[Volume, ...]]


def change(
    cell_db: Database,
    uuid: InstanceUuid,
    becomes: Change,
    now: datetime,
    record: InstanceAction | None = None,
) -> Instance | None:
    """Replace a server's volumes by what ``becomes`` makes of them; return the server as it is then.

    ``record`` is the action that this begins. None if the server is gone. What ``becomes`` raises is
    passed on, and nothing is written.
    """

    def work(connection: sa.Connection) -> Instance | None:
        instance = _locked(connection, uuid)
        if instance is None:
            return None
        changed = becomes(instance)
        after = msgspec.structs.replace(instance, volumes=changed, updated_at=now)
        _write(connection, instance, after)
        if record is not None:
            connection.execute(sa.insert(table_of(StoredAction)), action_rows([record]))
        return after

    return cell_db.write(work)


def _locked(connection: sa.Connection, uuid: InstanceUuid) -> Instance | None:
    mine = sa.and_(_instances.c.uuid == uuid, _instances.c.deleted.is_(False))
    row = connection.execute(sa.select(*COLUMNS).where(mine).with_for_update()).first()
    return None if row is None else instance_of(row)


def _write(connection: sa.Connection, before: Instance, after: Instance) -> None:
    if after.volumes == before.volumes:
        return
    mine = _instances.c.uuid == after.uuid
    values = {"volumes": encode_volumes(after.volumes), "updated_at": after.updated_at}
    connection.execute(sa.update(_instances).where(mine).values(values))
    connection.execute(sa.delete(_attachments).where(_attachments.c.instance_uuid == after.uuid))
    rows = volume_rows([after])
    if rows:
        connection.execute(sa.insert(_attachments), rows)


def hear(
    connection: sa.Connection,
    host: HostName,
    of: tuple[InstanceReport, VolumeReport],
    now: datetime,
) -> bool:
    """Apply what a host says of a server's volume; False if it is not that, or not that any more."""
    report, said = of
    instance = _locked(connection, report.instance_uuid)
    if instance is None:
        return False
    found = next((v for v in instance.volumes if v.volume_id == said.volume_id), None)
    if found is None:
        return False
    due = (said.begins, report.request_id, host)
    if said.begins is not None and due != (found.stage, found.request_id, instance.host):
        return False
    after = heard(found, host, said)
    others = [v for v in instance.volumes if v.volume_id != said.volume_id]
    place = instance.volumes.index(found)
    if after is not None:
        others.insert(place, after)
    changed = msgspec.structs.replace(instance, volumes=tuple(others), updated_at=now)
    _write(connection, instance, changed)
    return True


def heard(volume: Volume, host: HostName, said: VolumeReport) -> Volume | None:
    """Return what a volume becomes by what a host says of it, None if it is its server's no more."""
    if said.gone:
        return None
    changes: dict[str, Any] = {}
    if said.attachment is not None:
        # A reservation becomes the attachment of the host that takes it.
        taken = (host, NOBODY) if said.attachment else (host,)
        left = {at: one for at, one in volume.attachments.items() if at not in taken}
        mine = {host: said.attachment} if said.attachment else {}
        changes["attachments"] = {**left, **mine}
    if said.reserved is not None:
        changes["attachments"] = {**volume.attachments, NOBODY: said.reserved}
    if said.stage is not None:
        changes |= {"stage": said.stage, "replacement": None}
    if said.replaced_by is not None:
        changes["volume_id"] = said.replaced_by
    if said.size_gb:
        changes["size_gb"] = said.size_gb
    return msgspec.structs.replace(volume, **changes)


def servers_with(cell_db: Database, volume_id: str) -> tuple[Instance, ...]:
    """Return the servers that have a volume."""
    query = (
        sa.select(*COLUMNS)
        .join(_attachments, _attachments.c.instance_uuid == _instances.c.uuid)
        .where(_attachments.c.volume_id == volume_id, _instances.c.deleted.is_(False))
        .order_by(_instances.c.uuid)
        .limit(_AT_ONCE)
    )
    return tuple(instance_of(row) for row in cell_db.query(lambda c: c.execute(query).all()))


_STANDING_STILL = (
    sa.select(*COLUMNS)
    .join(_attachments, _attachments.c.instance_uuid == _instances.c.uuid)
    .where(
        _attachments.c.stage.in_(sorted(UNDER_WAY)),
        _attachments.c.changed_at < sa.bindparam("since"),
        _instances.c.deleted.is_(False),
    )
    .order_by(_attachments.c.changed_at)
    .limit(_AT_ONCE)
)


def standing_still(cell_db: Database, since: datetime) -> tuple[Instance, ...]:
    """Return servers of which volumes are on the way to or from them, and did not move ``since``."""
    rows = cell_db.query(lambda c: c.execute(_STANDING_STILL, {"since": since}).all())
    return tuple(instance_of(row) for row in rows)


def touch(cell_db: Database, uuids: Collection[InstanceUuid], now: datetime) -> None:
    """Note that what is under way with servers' volumes was looked after."""
    these = sa.update(_attachments).where(_attachments.c.instance_uuid.in_(uuids))
    cell_db.write(lambda c: c.execute(these.values(changed_at=now)))
