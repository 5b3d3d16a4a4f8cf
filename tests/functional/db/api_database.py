"""An API database in a temporary directory, at the newest version of its schema."""

import tempfile
from datetime import datetime
from pathlib import Path

import testtools

from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade

NOW = datetime(2026, 5, 1, 12, 0, 0)


def flavor(flavor_id: str = "1", **changed: object) -> Flavor:
    """Return a small flavor."""
    fields = {"name": f"f{flavor_id}", "vcpus": 1, "memory_mb": 512, "root_gb": 1} | changed
    return Flavor(flavor_id=FlavorId(flavor_id), **fields)  # type: ignore[arg-type]


class ApiDatabaseTest(testtools.TestCase):
    """A test with an API database of its own, ``self.db``."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.db = Database(self.database_url("api"))
        self.addCleanup(self.db.dispose)
        upgrade(self.db, "api")

    def database_url(self, name: str) -> str:
        """Return the URL of an empty database of the test's own."""
        return f"sqlite:///{self.directory / name}.sqlite"
