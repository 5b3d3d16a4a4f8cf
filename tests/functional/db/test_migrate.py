"""Databases that are brought up to date have the tables that the code expects, and keep what is in them."""

import sqlalchemy as sa
import testscenarios
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from kilonova.core.ids import ProjectId
from kilonova.core.quota import Amount
from kilonova.db import quotas
from kilonova.db.engine import Database
from kilonova.db.migrate import METADATA, alembic_config, upgrade
from kilonova.db.schemas import Schema, version_table
from tests.functional.db.databases import DatabaseCase

load_tests = testscenarios.load_tests_apply_scenarios


class MigrateTest(DatabaseCase):
    """Each schema, on each database."""

    def _to(self, database: Database, schema: Schema, version: str) -> None:
        config = alembic_config(schema)
        with database.engine.begin() as connection:
            config.attributes |= {"connection": connection, "schema": schema}
            command.upgrade(config, version)

    def test_the_newest_version_is_what_the_code_expects(self) -> None:
        for schema in METADATA:
            database = self.open(schema, schema)
            with database.engine.connect() as connection:
                options = {"version_table": version_table(schema)}
                context = MigrationContext.configure(connection, opts=options)
                self.assertEqual([], compare_metadata(context, METADATA[schema]), schema)

    def test_what_projects_used_before_there_were_server_groups_is_kept(self) -> None:
        database = Database(self.database_url("old"))
        self.addCleanup(database.dispose)
        self._to(database, "api", "api_0001")
        used = "INSERT INTO quota_usages (project_id, instances, cores, ram) VALUES ('p', 1, 2, 3)"
        database.write(lambda connection: connection.execute(sa.text(used)))
        self.assertTrue(upgrade(database, "api"))
        self.assertEqual(
            Amount(instances=1, cores=2, ram=3), quotas.used_by(database, ProjectId("p"))
        )
