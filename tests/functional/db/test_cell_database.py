"""A cell's database on a server that goes away, hangs, and comes back."""

import os
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
import testscenarios
import testtools

from kilonova.core.errors import DatabaseUnavailable
from kilonova.db import breaker, cell_database
from kilonova.db.cell_database import CellDatabase
from tests.functional.db.databases import make
from tests.functional.db.forwarder import Forwarder

load_tests = testscenarios.load_tests_apply_scenarios

_SERVERS = {
    "MariaDB": os.environ.get("KILONOVA_TEST_MARIADB"),
    "PostgreSQL": os.environ.get("KILONOVA_TEST_POSTGRESQL"),
}


class CellDatabaseTest(testtools.TestCase):
    """On each server that the environment names: a file does not hang."""

    scenarios = [(name, {"server_url": url}) for name, url in _SERVERS.items() if url]
    server_url = ""

    def setUp(self) -> None:
        super().setUp()
        if not self.server_url:
            self.skipTest("no server is given")
        for name, seconds in (("_SLOW", 0.3), ("_LONGEST_LOOK", 1.0), ("_ROUND", 0.1)):
            self.patch(breaker, name, seconds)
        self.patch(cell_database, "_LOOK", 1)
        url = sa.make_url(make(self.server_url, "away"))
        self.forwarder = Forwarder(url.port or 0)
        self.addCleanup(self.forwarder.stop)
        through = url.set(port=self.forwarder.port)
        self.database = CellDatabase(through.render_as_string(hide_password=False))
        self.addCleanup(self.database.dispose)
        self.assertEqual(1, self._ask())

    def _ask(self) -> int:
        return int(self.database.query(lambda c: c.execute(sa.text("SELECT 1")).scalar_one()))

    def _write(self) -> int:
        return int(self.database.write(lambda c: c.execute(sa.text("SELECT 1")).scalar_one()))

    def _refused_within(self, seconds: float, work: Callable[[], int]) -> None:
        began = time.monotonic()
        self.assertRaises(DatabaseUnavailable, work)
        self.assertLess(time.monotonic() - began, seconds)

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._ask()
            except DatabaseUnavailable:
                self.assertLess(time.monotonic(), deadline, "It does not come back.")
                time.sleep(0.02)
            else:
                break
        self.assertEqual(1, self._write())

    def test_one_that_is_away_is_refused_at_once_and_found_again(self) -> None:
        self.forwarder.stop()
        for _ in range(20):
            self._refused_within(1, self._ask)
        self.forwarder.start()
        self._until_it_answers()

    def test_work_in_hand_is_cut_off_where_the_database_hangs(self) -> None:
        self._write()
        self.forwarder.hang()
        ended: list[float] = []
        began = time.monotonic()

        def wait(work: Callable[[], int]) -> None:
            try:
                work()
            except DatabaseUnavailable:
                ended.append(time.monotonic() - began)

        # Some over the connection that is open, some that have to open one.
        work = [self._ask, self._write] * 3
        threads = [threading.Thread(target=wait, args=(one,), daemon=True) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self.assertEqual(len(work), len(ended))
        self.assertLess(max(ended), 12)
        for _ in range(50):
            self._refused_within(0.5, self._ask)
        self.forwarder.go_on()
        self._until_it_answers()

    def test_what_takes_long_on_a_server_that_answers_is_left_alone(self) -> None:
        # Looks are answered, on a busy machine only after a while.
        self.patch(breaker, "_LONGEST_LOOK", 60.0)
        self.patch(cell_database, "_LOOK", 60)
        slow = "SELECT 1 + 0 * SLEEP(1.5)" if "mysql" in self.server_url else None
        statement = sa.text(slow or "SELECT 1 FROM pg_sleep(1.5)")
        self.assertEqual(1, self.database.query(lambda c: c.execute(statement).scalar_one()))
