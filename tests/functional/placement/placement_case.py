"""Placement's tests in one database, on every server that is given."""

import sqlalchemy as sa

from kilonova.db.engine import Database
from kilonova.db.placement_schema import StoredAllocation, StoredInventory
from kilonova.db.statements import table_of
from tests.functional.db.databases import DatabaseCase

_inventories = table_of(StoredInventory)
_allocations = table_of(StoredAllocation)


class PlacementCase(DatabaseCase):
    """A test with Placement's tables, empty, in ``self.db``."""

    def setUp(self) -> None:
        """Open the database."""
        super().setUp()
        self.db = self.open("placement", "placement")
        self.url = self.db.url.render_as_string(hide_password=False)


def used_and_allocated(database: Database) -> dict[tuple[str, str], tuple[int, int]]:
    """Return what is used, and the sum of what is allocated, of each class of each provider."""
    key = (_allocations.c.provider_uuid, _allocations.c.resource_class)
    sums = sa.select(*key, sa.func.sum(_allocations.c.used)).group_by(*key)

    def work(connection: sa.Connection) -> dict[tuple[str, str], tuple[int, int]]:
        allocated = {(row[0], row[1]): int(row[2]) for row in connection.execute(sums)}
        used = {
            (row.provider_uuid, row.resource_class): row.used
            for row in connection.execute(sa.select(_inventories))
        }
        return {key: (used.get(key, 0), allocated.get(key, 0)) for key in used | allocated}

    return database.query(work)
