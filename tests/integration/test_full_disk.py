"""The embedded database on a full disk. Full directories of servers are in ``compute/test_hostile``."""

import os
import subprocess
import tempfile
from pathlib import Path

import falcon.testing
import sqlalchemy as sa
import testtools

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db import probe
from kilonova.db.api_schema import QuotaUsage
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.db.statements import table_of
from kilonova.http import health
from kilonova.http.health import Health, WithHealth
from tests.integration.services.process import NotReady

_usages = table_of(QuotaUsage)
_SIZE = 16 << 20
_ROWS = 500


class FullDiskTest(testtools.TestCase):
    """A file system of a few MiB."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise NotReady("Only root can mount a small file system.")
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        options = ("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", scratch.name)
        subprocess.run(["mount", *options], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", scratch.name], check=True)
        self.filler = Path(scratch.name) / "filler"
        self.db = Database(f"sqlite:///{scratch.name}/api.sqlite")
        self.addCleanup(self.db.dispose)
        upgrade(self.db, "api")
        self.patch(health, "_REMEMBERED", 0.0)
        checks = Health({"database": lambda: probe.check(self.db, "api")})
        self.service = falcon.testing.TestClient(WithHealth(None, checks))

    def is_ready(self) -> tuple[int, str]:
        """Return what a service with this database says of itself."""
        said = self.service.simulate_get("/healthcheck")
        return said.status_code, said.json["dependencies"]["database"]

    def add(self, connection: sa.Connection) -> None:
        """Write more than what there is room for in a page."""
        rows = [{"project_id": f"p{n}", "instances": 0, "cores": 0, "ram": 0} for n in range(_ROWS)]
        connection.execute(sa.insert(_usages), rows)

    def count(self) -> int:
        """Return how many rows there are."""
        query = sa.select(sa.func.count()).select_from(_usages)
        return self.db.query(lambda c: c.execute(query).scalar_one())

    def fill(self) -> None:
        """Leave nothing of the disk."""
        with self.filler.open("wb", buffering=0) as file, testtools.ExpectedException(OSError):
            while True:
                file.write(b"x" * 4096)

    def test_writes_are_refused_whole_and_said_to_be_until_there_is_room_again(self) -> None:
        self.assertEqual((200, "ok"), self.is_ready())
        self.fill()
        error = self.assertRaises(DatabaseUnavailable, self.db.write, self.add)
        self.assertEqual("The database takes no writes: its disk is full.", error.message)
        self.assertEqual((503, error.message), self.is_ready())
        self.assertEqual(0, self.count())
        self.filler.unlink()
        self.assertEqual((200, "ok"), self.is_ready())
        self.db.write(self.add)
        self.assertEqual(_ROWS, self.count())
