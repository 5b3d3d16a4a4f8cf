"""Trees of providers, written straight into Placement's tables."""

from collections.abc import Iterable

import sqlalchemy as sa

from kilonova.core.candidates import Tree
from kilonova.db.engine import Database
from kilonova.db.placement_schema import (
    Provider,
    ProviderAggregate,
    ProviderTrait,
    StoredInventory,
)
from kilonova.db.statements import table_of


def clear(database: Database) -> None:
    """Remove every provider; nobody may use one."""
    providers = table_of(Provider)
    others = [table_of(m) for m in (StoredInventory, ProviderTrait, ProviderAggregate)]

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.update(providers).values(parent_uuid=None))
        for table in (*others, providers):
            connection.execute(sa.delete(table))

    database.write(work)


def store(database: Database, trees: Iterable[Tree]) -> None:
    """Write trees. A provider stands after its parent in its tree."""
    providers = [provider for tree in trees for provider in tree.providers]
    rows = {
        Provider: [
            {"uuid": p.uuid, "name": p.uuid, "parent_uuid": p.parent, "root_uuid": p.root}
            for p in providers
        ],
        StoredInventory: [
            {
                "provider_uuid": provider.uuid,
                "resource_class": name,
                "total": stock.capacity,
                "reserved": 0,
                "min_unit": stock.min_unit,
                "max_unit": stock.max_unit,
                "step_size": stock.step_size,
                "allocation_ratio": 1.0,
                "capacity": stock.capacity,
                "used": stock.used,
            }
            for provider in providers
            for name, stock in provider.stock.items()
        ],
        ProviderTrait: [
            {"provider_uuid": provider.uuid, "trait": trait}
            for provider in providers
            for trait in provider.traits
        ],
        ProviderAggregate: [
            {"provider_uuid": provider.uuid, "aggregate_uuid": aggregate}
            for provider in providers
            for aggregate in provider.aggregates
        ],
    }

    def work(connection: sa.Connection) -> None:
        for mapped, written in rows.items():
            if written:
                connection.execute(sa.insert(table_of(mapped)), written)

    database.write(work)
