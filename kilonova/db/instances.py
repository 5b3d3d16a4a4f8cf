"""Servers in a cell's database: writing them, reading one, and changing one.

What a host reports of them is in ``reports``, what is under way with them in ``tasks``; lists are in
``instance_lists``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.flavor import Flavor
from kilonova.core.ids import HostName, ImageId, InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Fault, Instance, InstanceAction, Nic, Wishes
from kilonova.core.scheduling import Destination
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db.actions import action_rows, event_rows
from kilonova.db.carried import (
    encode_nics,
    encode_shares,
    encode_volumes,
    nics_of,
    shares_of,
    volume_rows,
    volumes_of,
)
from kilonova.db.cell_schema import (
    InstanceFault,
    ShareAttachment,
    StoredAction,
    StoredCardOrder,
    StoredEvent,
    StoredInstance,
    VolumeAttachment,
)
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

_instances = table_of(StoredInstance)
_faults = table_of(InstanceFault)
_attachments = table_of(VolumeAttachment)


class _Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an instance that no action changes, kept as one document."""

    flavor: Flavor
    image: Image | None
    wishes: Wishes
    shelved_image: ImageId | None = None


_encode = msgspec.json.Encoder().encode
_decode_fixed = msgspec.json.Decoder(_Fixed).decode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode

_PLAIN = (
    "uuid",
    "project_id",
    "user_id",
    "name",
    "hostname",
    "description",
    "host",
    "node",
    "availability_zone",
    "vm_state",
    "task_state",
    "power_state",
    "progress",
    "locked_by",
    "locked_reason",
    "access_ipv4",
    "access_ipv6",
    "root_device_name",
    "epoch",
    "created_at",
    "updated_at",
    "launched_at",
    "terminated_at",
    "deleted",
    "task_request",
    "task_worker",
    "begun_epoch",
)
"""Fields of ``Instance`` that are columns of the same name."""

_INSERT = sa.insert(_instances)
_INSERT_ACTIONS = sa.insert(table_of(StoredAction))
_INSERT_EVENTS = sa.insert(table_of(StoredEvent))
_INSERT_FAULTS = sa.insert(_faults)
_OF_SERVERS = tuple(map(table_of, (StoredEvent, StoredAction, ShareAttachment, StoredCardOrder)))
_THERE = sa.select(_instances.c.uuid).where(among(_instances.c.uuid, "uuids"))

COLUMNS = (
    *(_instances.c[name] for name in _PLAIN),
    _instances.c.shares,
    _instances.c.volumes,
    _instances.c.nics,
    _instances.c.tags,
    _instances.c.metadata,
    _instances.c.fixed,
)
"""What ``instance_of`` reads."""

_ONE = sa.select(*COLUMNS).where(_instances.c.uuid == sa.bindparam("uuid"))
_THOSE = sa.select(*COLUMNS).where(_instances.c.deleted.is_(False))
_ONE_THERE = _THOSE.where(_instances.c.uuid == sa.bindparam("uuid"))
_MANY = _THOSE.where(among(_instances.c.uuid, "uuids"))
_OF_HOST = _THOSE.where(_instances.c.host == sa.bindparam("host"))


def row_of(instance: Instance, destinations: Sequence[Destination] = ()) -> dict[str, Any]:
    """Return the columns' values of an instance."""
    row = {name: getattr(instance, name) for name in _PLAIN}
    key_pair, group = instance.wishes.key_pair, instance.wishes.group
    fixed = _Fixed(
        flavor=instance.flavor,
        image=instance.image,
        wishes=instance.wishes,
        shelved_image=instance.shelved_image,
    )
    return row | {
        "flavor_id": instance.flavor.flavor_id,
        "image_id": (instance.image.image_id or None) if instance.image else None,
        "key_name": key_pair.name if key_pair else None,
        "reservation_id": instance.wishes.reservation_id,
        "builder": "",
        "nics": encode_nics(instance.nics),
        "volumes": encode_volumes(instance.volumes),
        "shares": encode_shares(instance.shares),
        "group_uuid": group.group_uuid if group else None,
        "destinations": _encode(destinations) if destinations else None,
        "reported": 0,
        "tags": joined(instance.tags),
        "metadata": _encode(instance.metadata),
        "fixed": _encode(fixed),
    }


def joined(tags: Collection[str]) -> str:
    """Return tags as their column holds them: one of them is ``,tag,`` in it, as no tag has a comma."""
    return f",{','.join(tags)}," if tags else ""


def _split(column: str) -> tuple[str, ...]:
    return tuple(column[1:-1].split(",")) if column else ()


def instance_of(row: Any) -> Instance:
    """Return the instance in a row of ``COLUMNS``."""
    plain = dict(zip(_PLAIN, row, strict=False))
    plain["vm_state"] = VmState(plain["vm_state"])
    if plain["task_state"] is not None:
        plain["task_state"] = TaskState(plain["task_state"])
    plain["power_state"] = PowerState(plain["power_state"])
    fixed = _decode_fixed(row[-1])
    return Instance(
        **plain,
        shares=shares_of(row[-6]),
        volumes=volumes_of(row[-5]),
        nics=nics_of(row[-4]),
        tags=_split(row[-3]),
        metadata=_decode_metadata(row[-2]),
        flavor=fixed.flavor,
        image=fixed.image,
        wishes=fixed.wishes,
        shelved_image=fixed.shelved_image,
    )


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that goes into a cell, with the action under which it does and, in cell0, the fault.

    ``destinations`` are where it is built and, after that, where else it may be.
    """

    instance: Instance
    action: InstanceAction
    fault: Fault | None = None
    destinations: tuple[Destination, ...] = ()


def insert(cell_db: Database, placed: Sequence[Placed]) -> frozenset[InstanceUuid]:
    """Write instances with their ``create`` actions, events and faults, in one transaction.

    An instance that is there already stays as it is, and nothing is written beside it. Returns those that
    were written: who placed the others acts for them.
    """
    try:
        # Almost always none of them is there: then there is nothing to look for first.
        cell_db.write(lambda connection: _insert(connection, placed))
    except exc.IntegrityError:
        return _insert_the_others(cell_db, placed)
    return frozenset(p.instance.uuid for p in placed)


def _insert_the_others(cell_db: Database, placed: Sequence[Placed]) -> frozenset[InstanceUuid]:
    def work(connection: sa.Connection) -> frozenset[InstanceUuid]:
        absent = _absent(connection, placed)
        _insert(connection, absent)
        return frozenset(p.instance.uuid for p in absent)

    try:
        return cell_db.write(work)
    except exc.IntegrityError:
        # Another wrote some of them between our look and our insert; now we see which.
        return cell_db.write(work)


def _absent(connection: sa.Connection, placed: Sequence[Placed]) -> list[Placed]:
    wanted = {"uuids": [p.instance.uuid for p in placed]}
    there = set(connection.execute(_THERE, wanted).scalars())
    return [p for p in placed if p.instance.uuid not in there]


def known(cell_db: Database, uuids: Collection[InstanceUuid]) -> frozenset[InstanceUuid]:
    """Return those of these servers that this cell has, deleted ones left out."""
    query = _THERE.where(_instances.c.deleted.is_(False))
    wanted = {"uuids": list(uuids)}
    return frozenset(cell_db.query(lambda c: c.execute(query, wanted).scalars().all()))


def _insert(connection: sa.Connection, placed: Sequence[Placed]) -> None:
    rows = (
        (_INSERT, [row_of(p.instance, p.destinations) for p in placed]),
        (_INSERT_ACTIONS, action_rows([p.action for p in placed])),
        (_INSERT_EVENTS, [row for p in placed for row in event_rows(p.action)]),
        (sa.insert(_attachments), volume_rows([p.instance for p in placed])),
        (_INSERT_FAULTS, [fault_row(p.instance.uuid, p.fault) for p in placed if p.fault]),
    )
    for statement, values in rows:
        if values:
            connection.execute(statement, values)


def fault_row(uuid: InstanceUuid, fault: Fault) -> dict[str, Any]:
    """Return the columns' values of a fault."""
    return {
        "instance_uuid": uuid,
        "code": fault.code,
        "message": fault.message,
        "details": fault.details,
        "created_at": fault.created_at,
    }


def get(cell_db: Database, uuid: InstanceUuid, *, with_deleted: bool = False) -> Instance | None:
    """Return a server, or None if there is none, or (but ``with_deleted``) it is deleted."""
    query, mine = _ONE if with_deleted else _ONE_THERE, {"uuid": uuid}
    row = cell_db.query(lambda c: c.execute(query, mine).first())
    return None if row is None else instance_of(row)


def get_many(cell_db: Database, uuids: Collection[InstanceUuid]) -> tuple[Instance, ...]:
    """Return those of these servers that are there, deleted ones left out."""
    these = {"uuids": list(uuids)}
    return tuple(map(instance_of, cell_db.query(lambda c: c.execute(_MANY, these).all())))


def newest_faults(cell_db: Database, uuids: Collection[InstanceUuid]) -> dict[InstanceUuid, Fault]:
    """Return the newest fault of each of these servers that has one."""
    if not uuids:
        return {}
    mine = _faults.c.instance_uuid
    newest = sa.select(sa.func.max(_faults.c.id)).where(mine.in_(uuids)).group_by(mine)
    query = sa.select(_faults).where(_faults.c.id.in_(newest))
    return {
        row.instance_uuid: Fault(
            code=row.code, message=row.message, details=row.details, created_at=row.created_at
        )
        for row in cell_db.query(lambda c: c.execute(query).all())
    }


def of_host(cell_db: Database, host: HostName) -> tuple[Instance, ...]:
    """Return every server that is not deleted and whose host this is."""
    here = {"host": host}
    return tuple(map(instance_of, cell_db.query(lambda c: c.execute(_OF_HOST, here).all())))


def update(cell_db: Database, uuid: InstanceUuid, values: Mapping[str, Any]) -> bool:
    """Set plain fields of a server; False if it is gone.

    ``values`` maps field names of ``Instance`` to what they become.
    """
    query = (
        sa.update(_instances)
        .where(_instances.c.uuid == uuid, _instances.c.deleted.is_(False))
        .values(dict(values))
    )
    return bool(cell_db.write(lambda c: c.execute(query).rowcount))


T = TypeVar("T")


def change_metadata(
    cell_db: Database, uuid: InstanceUuid, change: Callable[[dict[str, str]], dict[str, str]]
) -> dict[str, str] | None:
    """Replace metadata by what ``change`` makes of it; see ``_change``."""
    return _change(cell_db, uuid, _instances.c.metadata, (_decode_metadata, change, _encode))


def change_tags(
    cell_db: Database, uuid: InstanceUuid, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> tuple[str, ...] | None:
    """Replace tags by what ``change`` makes of them; see ``_change``."""
    return _change(cell_db, uuid, _instances.c.tags, (_split, change, joined))


def change_nics(
    cell_db: Database, uuid: InstanceUuid, change: Callable[[tuple[Nic, ...]], tuple[Nic, ...]]
) -> None:
    """Replace what is known of cards; see ``_change``."""
    _change(cell_db, uuid, _instances.c.nics, (nics_of, change, encode_nics))


def wish(cell_db: Database, uuid: InstanceUuid, wishes: Mapping[str, Any]) -> None:
    """Note what is wished of a server from now on. ``wishes`` maps field names of ``Wishes``."""

    def wished(fixed: _Fixed) -> _Fixed:
        all_ = msgspec.structs.replace(fixed.wishes, **wishes)
        return msgspec.structs.replace(fixed, wishes=all_)

    _change(cell_db, uuid, _instances.c.fixed, (_decode_fixed, wished, _encode))


def _change(
    cell_db: Database,
    uuid: InstanceUuid,
    column: sa.Column[Any],
    steps: tuple[Callable[[Any], T], Callable[[T], T], Callable[[T], Any]],
) -> T | None:
    """Read a column, change its value and write it, under the row's lock; return the new value.

    None if the server is gone. What the change raises is passed on, and nothing is written.
    """
    decode, change, encode = steps
    mine = sa.and_(_instances.c.uuid == uuid, _instances.c.deleted.is_(False))

    def work(connection: sa.Connection) -> T | None:
        query = sa.select(column).where(mine).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            return None
        value = change(decode(row[0]))
        connection.execute(sa.update(_instances).where(mine).values({column: encode(value)}))
        return value

    return cell_db.write(work)


def mark_deleted(cell_db: Database, uuids: Collection[InstanceUuid], now: datetime) -> None:
    """Mark servers deleted. Their rows stay, for ``deleted`` lists and for instance actions."""
    gone = (
        sa.update(_instances)
        .where(_instances.c.uuid.in_(uuids), _instances.c.deleted.is_(False))
        .values(
            deleted=True,
            vm_state=VmState.DELETED,
            task_state=None,
            task_request=None,
            task_worker="",
            power_state=PowerState.NOSTATE,
            terminated_at=now,
            updated_at=now,
            group_uuid=None,
        )
    )
    cell_db.write(lambda c: c.execute(gone))


def remove(cell_db: Database, uuids: Collection[InstanceUuid]) -> None:
    """Remove every trace of servers that were deleted before they were anybody's."""

    def work(connection: sa.Connection) -> None:
        for table in (*_OF_SERVERS, _faults, _attachments):
            connection.execute(sa.delete(table).where(table.c.instance_uuid.in_(uuids)))
        connection.execute(sa.delete(_instances).where(_instances.c.uuid.in_(uuids)))

    cell_db.write(work)
