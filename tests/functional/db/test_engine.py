"""Transactions: whole or not at all, repeated where that helps, and errors that name no secrets."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import sqlalchemy as sa
import testscenarios
import testtools
from sqlalchemy import exc

from kilonova.core.errors import DatabaseUnavailable, NotFound
from kilonova.db.api_schema import QuotaUsage
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.db.statements import insert_if_absent, table_of
from tests.functional.db.api_database import ApiDatabaseTest
from tests.functional.db.databases import statements_of

load_tests = testscenarios.load_tests_apply_scenarios

_usages = table_of(QuotaUsage)


def row(project: str, instances: int = 0) -> dict[str, object]:
    """Return a row of a small table."""
    return {"project_id": project, "instances": instances, "cores": 0, "ram": 0}


class TransactionsTest(ApiDatabaseTest):
    """Over one small table."""

    def _projects(self) -> list[str]:
        query = sa.select(_usages.c.project_id).order_by(_usages.c.project_id)
        return list(self.db.query(lambda c: c.execute(query).scalars().all()))

    def test_what_a_transaction_raises_is_passed_on_and_nothing_is_written(self) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(sa.insert(_usages), [row("a")])
            raise NotFound("stop")

        self.assertRaises(NotFound, self.db.write, work)
        self.assertEqual([], self._projects())

    def test_a_row_that_is_there_already_is_told_as_what_it_is(self) -> None:
        insert = sa.insert(_usages)
        self.db.write(lambda c: c.execute(insert, [row("a")]))
        self.assertRaises(
            exc.IntegrityError, self.db.write, lambda c: c.execute(insert, [row("a")])
        )

    def test_transactions_that_lock_each_other_out_are_repeated_until_both_are_done(self) -> None:
        self.db.write(lambda c: c.execute(sa.insert(_usages), [row("a"), row("b")]))
        both = threading.Barrier(2)

        def add(first: str, second: str) -> None:
            def work(connection: sa.Connection) -> None:
                self._increment(connection, first)
                # On SQLite the other has not begun: it has one writer.
                with suppress(threading.BrokenBarrierError):
                    both.wait(0.2)
                self._increment(connection, second)

            self.db.write(work)

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(add, "a", "b"), threads.submit(add, "b", "a")]:
                done.result(30)
        counts = self.db.query(lambda c: c.execute(sa.select(_usages.c.instances)).scalars().all())
        self.assertEqual([2, 2], counts)

    def _increment(self, connection: sa.Connection, project: str) -> None:
        mine = sa.update(_usages).where(_usages.c.project_id == project)
        connection.execute(mine.values(instances=_usages.c.instances + 1))

    def test_rows_that_are_there_stay_and_the_others_are_added(self) -> None:
        self.db.write(lambda c: c.execute(sa.insert(_usages), [row("a", 7)]))
        added = [row("a", 9), row("b", 9)]
        self.db.write(lambda c: insert_if_absent(c, _usages, added, "project_id"))
        query = sa.select(_usages.c.project_id, _usages.c.instances)
        found = dict(self.db.query(lambda c: c.execute(query).tuples().all()))
        self.assertEqual({"a": 7, "b": 9}, found)

    def test_a_read_is_one_round_trip(self) -> None:
        self._projects()
        self.assertEqual(1, len(statements_of(self.db, self._projects)))

    def test_schemas_stand_beside_each_other_and_are_upgraded_once(self) -> None:
        fresh = Database(self.database_url("fresh"))
        self.addCleanup(fresh.dispose)
        for schema in ("api", "cell", "placement"):
            self.assertTrue(upgrade(fresh, schema))  # type: ignore[arg-type]
            self.assertFalse(upgrade(fresh, schema))  # type: ignore[arg-type]


def _select(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT 1"))


class AwayTest(testtools.TestCase):
    """Databases that do not answer."""

    def test_each_kind_that_is_away_is_unavailable_and_tells_no_password(self) -> None:
        for url in (
            "sqlite:////nothing/here.sqlite",
            "mysql+pymysql://nova:sesame@127.0.0.1:1/api",
            "postgresql+psycopg://nova:sesame@127.0.0.1:1/api",
        ):
            database = Database(url)
            self.addCleanup(database.dispose)
            for ask in (database.query, database.write):
                error = self.assertRaises(DatabaseUnavailable, ask, _select)
                for secret in ("sesame", "127.0.0.1", "SELECT"):
                    self.assertNotIn(secret, error.message)
            error = self.assertRaises(DatabaseUnavailable, upgrade, database, "api")
            self.assertNotIn("sesame", error.message)
