"""An API database of a test's own, at the newest version of its schema."""

from datetime import datetime

from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId
from tests.functional.db.databases import DatabaseCase

NOW = datetime(2026, 5, 1, 12, 0, 0)


def flavor(flavor_id: str = "1", **changed: object) -> Flavor:
    """Return a small flavor."""
    fields = {"name": f"f{flavor_id}", "vcpus": 1, "memory_mb": 512, "root_gb": 1} | changed
    return Flavor(flavor_id=FlavorId(flavor_id), **fields)  # type: ignore[arg-type]


class ApiDatabaseTest(DatabaseCase):
    """A test with an API database of its own, ``self.db``."""

    def setUp(self) -> None:
        super().setUp()
        self.db = self.open("api", "api")
