"""Who gives a host what it does not offer itself: providers that share with all of an aggregate."""

from collections.abc import Mapping

import os_traits
import sqlalchemy as sa

from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import Allocation
from kilonova.db.engine import Database
from kilonova.db.placement_schema import ProviderAggregate, ProviderTrait, StoredInventory
from kilonova.db.statements import table_of

_inventories = table_of(StoredInventory)
_traits = table_of(ProviderTrait)
_aggregates = table_of(ProviderAggregate)


def divided(database: Database, uuid: ProviderUuid, amounts: Mapping[str, int]) -> Allocation:
    """Return from whom a server on a host has each of its amounts, by provider.

    What neither the host nor anybody who shares with it offers is the host's. Of several who share, it is
    the one with the most left.
    """

    def work(connection: sa.Connection) -> dict[str, ProviderUuid]:
        own = sa.select(_inventories.c.resource_class).where(_inventories.c.provider_uuid == uuid)
        missing = set(amounts) - set(connection.execute(own).scalars())
        if not missing:
            return {}
        mine = sa.select(_aggregates.c.aggregate_uuid).where(_aggregates.c.provider_uuid == uuid)
        near = sa.select(_aggregates.c.provider_uuid).where(_aggregates.c.aggregate_uuid.in_(mine))
        sharing = sa.select(_traits.c.provider_uuid).where(
            _traits.c.trait == os_traits.MISC_SHARES_VIA_AGGREGATE
        )
        found = sa.select(_inventories.c.resource_class, _inventories.c.provider_uuid).where(
            _inventories.c.resource_class.in_(missing),
            _inventories.c.provider_uuid.in_(near),
            _inventories.c.provider_uuid.in_(sharing),
        )
        # The last of a class is the one that counts.
        found = found.order_by(_inventories.c.free, _inventories.c.provider_uuid)
        return {name: ProviderUuid(provider) for name, provider in connection.execute(found)}

    shared = database.query(work)
    allocation: dict[str, dict[str, int]] = {}
    for name, amount in amounts.items():
        allocation.setdefault(shared.get(name, uuid), {})[name] = amount
    return allocation
