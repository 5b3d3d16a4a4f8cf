"""Servers that were accepted and have no cell yet: the durable beginning of every boot.

Owns the API database's transactions of a boot: ``take`` and ``settle`` (the super
conductor), ``stale`` and ``release`` (the converger and a conductor that cannot go on), ``withdraw`` (a
delete that comes first) and ``forget`` (when what a withdrawn one left is removed).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.decision_record import Decided, DecisionRecord
from kilonova.core.ids import CellUuid, InstanceUuid, RequestId
from kilonova.core.instance import Instance
from kilonova.core.scheduling import RequestSpec
from kilonova.db import decisions
from kilonova.db.api_schema import BuildRequest, InstanceMapping, QuotaUsage, StoredRequestSpec
from kilonova.db.engine import Database
from kilonova.db.statements import among, table_of

LEASE = timedelta(seconds=60)
"""How long a conductor that took a build request may work on it before another may."""

_encode = msgspec.json.Encoder().encode
_decode_instance = msgspec.json.Decoder(Instance).decode
_decode_spec = msgspec.json.Decoder(RequestSpec).decode

_requests = table_of(BuildRequest)
_specs = table_of(StoredRequestSpec)
_mappings = table_of(InstanceMapping)
_usages = table_of(QuotaUsage)

_these = among(_requests.c.instance_uuid, "uuids")
_unowned = sa.or_(_requests.c.driver == "", _requests.c.driven_at < sa.bindparam("past"))
_FREE = (
    sa.select(
        _requests.c.instance_uuid,
        _requests.c.driver,
        _requests.c.epoch,
        _requests.c.request_id,
        _requests.c.withdrawn,
        _requests.c.instance,
        _specs.c.spec,
    )
    .join(_specs, _specs.c.instance_uuid == _requests.c.instance_uuid)
    .where(_these, _unowned)
    .order_by(_requests.c.instance_uuid)
    .with_for_update()
)
_TAKE = sa.update(_requests).where(_these).values(epoch=_requests.c.epoch + 1)
_KEEP = sa.update(_requests).where(_these, _requests.c.driver == sa.bindparam("b_driver"))
_KEPT = sa.select(_requests.c.instance_uuid).where(
    _these, _requests.c.driver == sa.bindparam("b_driver")
)
_OWNERS = (
    sa.select(_requests.c.instance_uuid, _requests.c.driver, _requests.c.withdrawn)
    .where(_these)
    .order_by(_requests.c.instance_uuid)
    .with_for_update()
)
_MAP = sa.update(_mappings).where(among(_mappings.c.instance_uuid, "uuids"))
_DONE = sa.delete(_requests).where(_these)
_STALE = (
    sa.select(_requests.c.instance_uuid)
    .where(
        sa.or_(
            sa.and_(_requests.c.driver == "", _requests.c.driven_at < sa.bindparam("untouched")),
            sa.and_(_requests.c.driver != "", _requests.c.driven_at < sa.bindparam("past")),
        )
    )
    .order_by(_requests.c.driven_at)
    .limit(sa.bindparam("limit"))
)
_mapped = _mappings.c.instance_uuid == sa.bindparam("b_uuid")
_QUEUE = (
    sa.update(_mappings)
    .where(_mapped, _mappings.c.queued_for_delete.is_(False))
    .values(queued_for_delete=True, group_uuid=None)
)
_COUNTS = sa.select(
    _mappings.c.project_id.label("b_project"),
    _mappings.c.vcpus.label("b_vcpus"),
    _mappings.c.memory_mb.label("b_ram"),
).where(_mapped)
_UNCOUNT = (
    sa.update(_usages)
    .where(_usages.c.project_id == sa.bindparam("b_project"))
    .values(
        instances=_usages.c.instances - 1,
        cores=_usages.c.cores - sa.bindparam("b_vcpus"),
        ram=_usages.c.ram - sa.bindparam("b_ram"),
    )
)
_ONE = sa.select(_requests.c.driver).where(_requests.c.instance_uuid == sa.bindparam("uuid"))


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A build request that a ``driver`` owns, as the ``epoch``-th who took it.

    With ``redriven`` somebody began before and may have written the instance into a cell already; one that
    is ``withdrawn`` is only to be cleared away.
    """

    instance: Instance
    spec: RequestSpec
    request_id: RequestId
    epoch: int
    driver: str
    redriven: bool
    withdrawn: bool = False


def take(
    api_db: Database, uuids: Collection[InstanceUuid], driver: str, now: datetime
) -> tuple[Pending, ...]:
    """Take ownership of build requests for ``LEASE`` and return those that are now the driver's.

    What is gone, or owned by another whose lease runs, is left out: so a repeated message, or a second
    conductor, does nothing.
    """

    def work(connection: sa.Connection) -> Sequence[Any]:
        rows = connection.execute(_FREE, {"uuids": list(uuids), "past": now - LEASE}).all()
        if rows:
            mine = {"uuids": [row[0] for row in rows], "driver": driver, "driven_at": now}
            connection.execute(_TAKE, mine)
        return rows

    return tuple(_pending(row, driver) for row in api_db.write(work))


def _pending(row: Any, driver: str) -> Pending:
    return Pending(
        instance=_decode_instance(row.instance),
        spec=_decode_spec(row.spec),
        request_id=row.request_id,
        epoch=row.epoch + 1,
        driver=driver,
        redriven=bool(row.driver),
        withdrawn=row.withdrawn,
    )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the servers of one scheduling pass were decided on, and when."""

    record: DecisionRecord
    servers: tuple[Decided, ...]
    decided_at: datetime

    def keep(self, connection: sa.Connection, uuids: Collection[InstanceUuid]) -> None:
        """Keep the decision for some of the servers."""
        kept = [server for server in self.servers if server.instance_uuid in uuids]
        decisions.insert(connection, self.record, kept, self.decided_at)


def keep(
    api_db: Database, uuids: Collection[InstanceUuid], driver: str, now: datetime
) -> frozenset[InstanceUuid]:
    """Begin ``LEASE`` anew for build requests that are still the driver's; return which these are.

    Asked before anything is written that another conductor would not find.
    """
    mine = {"uuids": list(uuids), "b_driver": driver}

    def work(connection: sa.Connection) -> frozenset[InstanceUuid]:
        kept = connection.execute(_KEEP, mine | {"driven_at": now}).rowcount
        if kept == len(uuids):
            return frozenset(uuids)
        return frozenset(connection.execute(_KEPT, mine).scalars())

    return api_db.write(work)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of build requests: ``mapped`` have a cell now; ``lost`` were withdrawn by their owner,
    and are the driver's to clear away and forget; ``taken_over`` are another conductor's, who may have
    settled or forgotten them already."""

    mapped: frozenset[InstanceUuid]
    lost: frozenset[InstanceUuid]
    taken_over: frozenset[InstanceUuid]


def settle(
    api_db: Database,
    placed: dict[InstanceUuid, CellUuid],
    driver: str,
    decided: Outcome | None = None,
) -> Settled:
    """Map servers to their cells and remove their build requests, in one transaction.

    The decision about those that are mapped is kept with it.
    """

    def work(connection: sa.Connection) -> Settled:
        owners = connection.execute(_OWNERS, {"uuids": list(placed)})
        mine = {row.instance_uuid: row.withdrawn for row in owners if row.driver == driver}
        mapped = frozenset(uuid for uuid, withdrawn in mine.items() if not withdrawn)
        for cell in set(placed.values()):
            here = [uuid for uuid in mapped if placed[uuid] == cell]
            if here:
                connection.execute(_MAP, {"uuids": here, "cell_uuid": cell})
        if mapped:
            connection.execute(_DONE, {"uuids": list(mapped)})
            if decided is not None:
                decided.keep(connection, mapped)
        lost = frozenset(mine) - mapped
        return Settled(mapped=mapped, lost=lost, taken_over=frozenset(placed) - frozenset(mine))

    return api_db.write(work)


def release(
    api_db: Database, uuids: Collection[InstanceUuid], driver: str, why: str | None = None
) -> None:
    """Give build requests back, so that the converger re-drives them without waiting for the lease.

    The driver's token stays: whoever takes them next must know that somebody began.
    """
    mine = sa.and_(_requests.c.instance_uuid.in_(uuids), _requests.c.driver == driver)
    past = sa.update(_requests).where(mine).values(driven_at=datetime(1970, 1, 1), waits_for=why)
    api_db.write(lambda connection: connection.execute(past))


def stale(
    api_db: Database, now: datetime, *, untouched: timedelta, limit: int = 1000
) -> tuple[InstanceUuid, ...]:
    """Return build requests that nobody took up for ``untouched``, or whose driver's lease is over."""
    wanted = {"untouched": now - untouched, "past": now - LEASE, "limit": limit}
    return tuple(api_db.query(lambda c: c.execute(_STALE, wanted).scalars().all()))


def exists(api_db: Database, uuid: InstanceUuid) -> bool:
    """Whether somebody still has to place a server, or to clear away what is left of it."""
    return api_db.query(lambda c: c.execute(_ONE, {"uuid": uuid}).first()) is not None


def withdraw(api_db: Database, uuid: InstanceUuid) -> bool:
    """Remove a server that has no cell yet, and what it counts for; False if it was no longer there.

    If a conductor has begun, its build request stays, withdrawn, until that is cleared away.
    """
    mine = _requests.c.instance_uuid == uuid
    begun = sa.select(_requests.c.driver).where(mine, _requests.c.withdrawn.is_(False))

    def work(connection: sa.Connection) -> bool:
        driver = connection.execute(begun.with_for_update()).scalar()
        if driver is None:
            return False
        if driver:
            connection.execute(sa.update(_requests).where(mine).values(withdrawn=True))
        else:
            connection.execute(sa.delete(_requests).where(mine))
            connection.execute(sa.delete(_specs).where(_specs.c.instance_uuid == uuid))
        uncount(connection, uuid)
        connection.execute(sa.delete(_mappings).where(_mappings.c.instance_uuid == uuid))
        return True

    return api_db.write(work)


def forget(api_db: Database, uuids: Collection[InstanceUuid], driver: str) -> None:
    """Remove a driver's withdrawn build requests: nothing of their servers is left anywhere."""
    mine = sa.select(_requests.c.instance_uuid).where(
        _requests.c.instance_uuid.in_(uuids),
        _requests.c.driver == driver,
        _requests.c.withdrawn.is_(True),
    )

    def work(connection: sa.Connection) -> None:
        gone = connection.execute(mine.with_for_update()).scalars().all()
        for table in (_requests, _specs):
            connection.execute(sa.delete(table).where(table.c.instance_uuid.in_(gone)))

    api_db.write(work)


def uncount(connection: sa.Connection, uuid: InstanceUuid) -> bool:
    """Queue a server for delete, take it out of its server group and give back its quota; False if that
    was done before."""
    mine = {"b_uuid": uuid}
    if not connection.execute(_QUEUE, mine).rowcount:
        return False
    counted = connection.execute(_COUNTS, mine).mappings().one()
    connection.execute(_UNCOUNT, dict(counted))
    return True


def queue_for_delete(api_db: Database, uuid: InstanceUuid) -> bool:
    """Note that a mapped server is being deleted and give back its quota; False if it was noted before."""
    return api_db.write(lambda connection: uncount(connection, uuid))
