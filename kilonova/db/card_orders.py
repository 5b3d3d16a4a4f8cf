"""Orders about servers' network cards that no host has carried out yet.

Nothing else in a cell's database says that a card is on its way: a server's row has the cards that its host
reported. An order is written with its action, counts as long as it is here, and goes with its end.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import Instance
from kilonova.core.orders import AttachInterface, CardOrder, DetachInterface
from kilonova.core.report import InstanceReport
from kilonova.db.actions import end_action
from kilonova.db.cell_schema import StoredCardOrder, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import COLUMNS, instance_of
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)
_orders = table_of(StoredCardOrder)
_AT_ONCE = 200

_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(AttachInterface | DetachInterface)

_there = sa.and_(
    _orders.c.instance_uuid == sa.bindparam("uuid"), _orders.c.request_id == sa.bindparam("request")
)
_TOUCH = (
    sa.update(_orders)
    .where(_there)
    .values(changed_at=sa.bindparam("now", type_=_orders.c.changed_at.type))
)
_AT_HOST = _TOUCH.where(
    sa.exists().where(
        _instances.c.uuid == _orders.c.instance_uuid,
        _instances.c.host == sa.bindparam("at"),
        _instances.c.epoch == sa.bindparam("in_epoch"),
        _instances.c.deleted.is_(False),
    )
)
_STANDING_STILL = (
    sa.select(*COLUMNS, _orders.c.request_id, _orders.c.wanted)
    .join(_instances, _orders.c.instance_uuid == _instances.c.uuid)
    .where(
        _instances.c.deleted.is_(False),
        _instances.c.task_state.is_(None),
        _orders.c.changed_at < sa.bindparam("since", type_=_orders.c.changed_at.type),
    )
    .order_by(_orders.c.changed_at)
    .limit(_AT_ONCE)
)


class KeptOrder(msgspec.Struct, frozen=True):
    """An order of one request about a card of a server."""

    server: Instance
    request_id: RequestId
    order: CardOrder


def keeping(
    order: CardOrder, request_id: RequestId, now: datetime
) -> Callable[[sa.Connection, Instance], None]:
    """Return what writes an order beside its action."""

    def write(connection: sa.Connection, server: Instance) -> None:
        row = {"instance_uuid": server.uuid, "request_id": request_id, "changed_at": now}
        connection.execute(sa.insert(_orders), [row | {"wanted": _encode(order)}])

    return write


def hear(connection: sa.Connection, host: HostName, report: InstanceReport, now: datetime) -> bool:
    """Note that a host has an order in hand; False if it has ended, or the server is another's by now."""
    asked = {"uuid": report.instance_uuid, "request": report.request_id, "now": now}
    where = {"at": host, "in_epoch": report.epoch}
    return bool(connection.execute(_AT_HOST, asked | where).rowcount)


def forget(connection: sa.Connection, uuid: InstanceUuid, request_id: RequestId) -> None:
    """Note that an order counts no more: it was carried out, failed or was taken back."""
    gone: dict[str, Any] = {"uuid": uuid, "request": request_id}
    connection.execute(sa.delete(_orders).where(_there), gone)


def end(cell_db: Database, kept: KeptOrder, now: datetime) -> None:
    """Note that an order and its action are over."""

    def work(connection: sa.Connection) -> None:
        end_action(connection, (kept.server.uuid, kept.request_id), now, failed=None)
        forget(connection, kept.server.uuid, kept.request_id)

    cell_db.write(work)


def standing_still(cell_db: Database, since: datetime) -> tuple[KeptOrder, ...]:
    """Return orders of which nothing was heard ``since``, of servers with which nothing else is done."""
    rows = cell_db.query(lambda c: c.execute(_STANDING_STILL, {"since": since}).all())
    return tuple(
        KeptOrder(instance_of(server), RequestId(request), _decoder.decode(wanted))
        for *server, request, wanted in rows
    )


def touch(cell_db: Database, kept: KeptOrder, now: datetime) -> None:
    """Note that an order was looked after."""
    named = {"uuid": kept.server.uuid, "request": kept.request_id, "now": now}
    cell_db.write(lambda c: c.execute(_TOUCH, named))
