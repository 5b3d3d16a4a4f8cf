"""The audit of claims: whether what is used of each inventory is what is allocated of it."""

import msgspec
import sqlalchemy as sa

from kilonova.db.engine import Database
from kilonova.db.placement_providers import touch
from kilonova.db.placement_schema import StoredAllocation, StoredInventory
from kilonova.db.statements import table_of

_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """An inventory whose ``used`` is not the sum of its allocations. ``used`` is None where something is
    allocated of a class that the provider does not have."""

    provider: str
    resource_class: str
    used: int | None
    allocated: int


def drift(database: Database) -> tuple[Drift, ...]:
    """Return what is not as it should be, in one query, so that claims meanwhile do no harm."""
    return database.query(_drift)


def _drift(connection: sa.Connection, provider: str | None = None) -> tuple[Drift, ...]:
    key = (_allocations.c.provider_uuid, _allocations.c.resource_class)
    total = sa.func.sum(_allocations.c.used).label("allocated")
    sums = sa.select(*key, total).group_by(*key).subquery()
    ours = (_inventories.c.provider_uuid, _inventories.c.resource_class)
    same = sa.and_(ours[0] == sums.c.provider_uuid, ours[1] == sums.c.resource_class)
    allocated = sa.func.coalesce(sums.c.allocated, 0)
    wrong = (
        sa.select(*ours, _inventories.c.used, allocated)
        .outerjoin(sums, same)
        .where(_inventories.c.used != allocated)
    )
    homeless = (
        sa.select(sums.c.provider_uuid, sums.c.resource_class, sa.null(), sums.c.allocated)
        .outerjoin(_inventories, same)
        .where(ours[0].is_(None))
    )
    if provider is not None:
        wrong = wrong.where(ours[0] == provider)
        homeless = homeless.where(sums.c.provider_uuid == provider)
    return tuple(
        Drift(provider=row[0], resource_class=row[1], used=row[2], allocated=int(row[3]))
        for row in connection.execute(sa.union_all(wrong, homeless).order_by(sa.text("1, 2")))
    )


def repair(database: Database, found: Drift) -> bool:
    """Set what is used of an inventory to what is allocated of it, if they still differ.

    False for one that is not there: nothing says how much of the class the provider should have.
    """

    def work(connection: sa.Connection) -> bool:
        # Whoever claims of the provider waits, so the sum stays true until it is written.
        touch(connection, [found.provider], grow=False)
        for now in _drift(connection, found.provider):
            if now.resource_class == found.resource_class and now.used is not None:
                mine = (
                    _inventories.c.provider_uuid == now.provider,
                    _inventories.c.resource_class == now.resource_class,
                )
                change = sa.update(_inventories).where(*mine).values(used=now.allocated)
                connection.execute(change)
                return True
        return False

    return database.write(work)
