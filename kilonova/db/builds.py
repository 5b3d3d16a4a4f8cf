"""Builds as conductors give them to hosts, by epochs: which one counts, where it is, and that it failed.

Everything here compares the epoch that it was decided on with the one that counts. So of two that act for
one server only one does, and nothing is changed for a server that is being deleted.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Fault
from kilonova.core.report import Tried
from kilonova.core.scheduling import Destination
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db.actions import event_row
from kilonova.db.cell_schema import InstanceFault, StoredAction, StoredEvent, StoredInstance
from kilonova.db.engine import Database
from kilonova.db.instances import fault_row
from kilonova.db.statements import insert_if_absent, table_of

_instances = table_of(StoredInstance)
_actions = table_of(StoredAction)
_events = table_of(StoredEvent)

_DESTINATIONS = sa.select(_instances.c.destinations).where(
    _instances.c.uuid == sa.bindparam("uuid")
)

_encode = msgspec.json.Encoder().encode
_decode_destinations = msgspec.json.Decoder(tuple[Destination, ...]).decode


def raise_epoch(
    cell_db: Database, uuid: InstanceUuid, epoch: int, now: datetime, *, unbegun: bool = False
) -> bool:
    """End a build, so that nothing of it counts any more; the server waits under the next epoch.

    With ``unbegun`` only if its host did not begin it. False if ``epoch`` no longer counts, the build is
    done, or the server is being deleted: then nothing may be claimed or sent for it.
    """
    values = {"task_state": TaskState.SCHEDULING, "updated_at": now}
    change = _end_epoch(uuid, epoch, values)
    if unbegun:
        change = change.where(_instances.c.begun_epoch < epoch)
    return bool(cell_db.write(lambda c: c.execute(change).rowcount))


def destinations_of(cell_db: Database, uuid: InstanceUuid) -> tuple[Destination, ...]:
    """Return where a server is being built, and after that where else it may be."""
    stored = cell_db.query(lambda c: c.execute(_DESTINATIONS, {"uuid": uuid}).scalar())
    return () if stored is None else _decode_destinations(stored)


def move(
    cell_db: Database,
    of: tuple[InstanceUuid, int],
    destinations: Sequence[Destination],
    now: datetime,
    tried: Tried | None = None,
) -> bool:
    """Give a build (server, epoch) that waits to the first of some hosts, noting what was tried.

    The others are left to try. False if the epoch no longer counts or the server is being deleted: then
    nothing may be sent.
    """
    uuid, epoch = of
    chosen = destinations[0]
    change = (
        _waiting(uuid, epoch)
        .where(_instances.c.begun_epoch < epoch)
        .values(
            host=chosen.host,
            node=chosen.node,
            availability_zone=chosen.availability_zone,
            nics=None,
            destinations=_encode(destinations),
            vm_state=VmState.BUILDING,
            task_state=TaskState.SCHEDULING,
            reported=0,
            updated_at=now,
        )
    )

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        _note(connection, uuid, tried)
        return True

    return cell_db.write(work)


def fail(
    cell_db: Database, uuid: InstanceUuid, epoch: int, fault: Fault, tried: Tried | None = None
) -> bool:
    """Put a build that no host could do into ERROR, with no host; False if ``epoch`` no longer counts.

    The epoch is raised, so that nothing of the failed build can change the server again. It keeps its node
    as long as it may hold a claim: until ``note_freed``. What was tried is noted, and that the action
    failed.
    """
    values = {
        "host": None,
        "nics": None,
        "destinations": None,
        "vm_state": VmState.ERROR,
        "task_state": None,
        "power_state": PowerState.NOSTATE,
        "updated_at": fault.created_at,
    }
    change = _end_epoch(uuid, epoch, values)

    def work(connection: sa.Connection) -> bool:
        if not connection.execute(change).rowcount:
            return False
        connection.execute(sa.insert(table_of(InstanceFault)), [fault_row(uuid, fault)])
        if tried is not None:
            _note(connection, uuid, tried)
            connection.execute(_failed(uuid, tried, fault))
        return True

    return cell_db.write(work)


def note_freed(cell_db: Database, uuid: InstanceUuid, epoch: int) -> None:
    """Note that a server without a host holds nothing any more."""
    freed = _waiting(uuid, epoch).where(_instances.c.host.is_(None)).values(node=None)
    cell_db.write(lambda c: c.execute(freed))


def _waiting(uuid: InstanceUuid, epoch: int) -> sa.Update:
    """Return the UPDATE of a server whose epoch still counts and that is not being deleted."""
    current = sa.and_(_instances.c.uuid == uuid, _instances.c.epoch == epoch)
    task = _instances.c.task_state
    stays = sa.or_(task.is_(None), task != TaskState.DELETING)
    return sa.update(_instances).where(current, _instances.c.deleted.is_(False), stays)


def _end_epoch(uuid: InstanceUuid, epoch: int, values: Mapping[str, Any]) -> sa.Update:
    building = _instances.c.vm_state == VmState.BUILDING
    return _waiting(uuid, epoch).where(building).values(epoch=epoch + 1, **values)


def _note(connection: sa.Connection, uuid: InstanceUuid, tried: Tried | None) -> None:
    if tried is not None:
        rows = [event_row(uuid, tried.request_id, event) for event in tried.events]
        insert_if_absent(connection, _events, rows, "name")


def _failed(uuid: InstanceUuid, tried: Tried, fault: Fault) -> sa.Update:
    return (
        sa.update(_actions)
        .where(_actions.c.instance_uuid == uuid, _actions.c.request_id == tried.request_id)
        .values(updated_at=fault.created_at, message=fault.message)
    )
