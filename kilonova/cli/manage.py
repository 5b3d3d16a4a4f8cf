"""``kilonova-manage``: databases, cells, Placement and a check of the deployment."""

import argparse
import sys
from collections.abc import Callable
from pathlib import PurePath

import sqlalchemy as sa
from oslo_config import cfg

from kilonova.cli import cell_commands, placement_commands, status_check
from kilonova.cli.service import configure
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CELL0
from kilonova.db import cells
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.db.schemas import Schema

_PROG = "kilonova-manage"
Command = Callable[[cfg.ConfigOpts, argparse.Namespace], int]


def _databases(conf: cfg.ConfigOpts) -> list[tuple[Schema, str]]:
    found: list[tuple[Schema, str | None]] = [
        ("api", conf.api_database.connection),
        ("cell", conf.database.connection),
        ("placement", conf.placement_database.connection),
    ]
    return [(schema, url) for schema, url in found if url]


def cell0_url(url: str) -> str:
    """Return where cell0's database is: beside the API database, its name with ``_cell0``."""
    parsed = sa.make_url(url)
    name = parsed.database or ""
    if parsed.get_backend_name() == "sqlite":
        path = PurePath(name)
        name = str(path.with_name(f"{path.stem}_cell0{path.suffix}"))
    else:
        name = f"{name}_cell0"
    return parsed.set(database=name).render_as_string(hide_password=False)


def sync(conf: cfg.ConfigOpts, _options: argparse.Namespace) -> int:
    """Create or upgrade the schemas whose connection is configured, cell0's with the API's."""
    wanted = _databases(conf)
    if not wanted:
        print("No connection is set in [api_database], [database] or [placement_database].")
        return 1
    for schema, url in wanted:
        _say(schema, upgrade(Database(url), schema))
        if schema == "api":
            _sync_cell0(url)
    return 0


def _say(what: str, changed: bool) -> None:
    print(f"{what:10} {'upgraded' if changed else 'up to date'}")


def _sync_cell0(url: str) -> None:
    connection = cell0_url(url)
    _create_database(connection)
    _say("cell0", upgrade(Database(connection), "cell"))
    api_db = Database(url)
    if CELL0 not in {cell.uuid for cell in cells.list_cells(api_db)}:
        cell0 = Cell(
            uuid=CELL0, name="cell0", transport_url="none:///", database_connection=connection
        )
        cells.create_cell(api_db, cell0)


def _create_database(url: str) -> None:
    """Create a database on a server, where it is not there and we may; SQLite makes its own file."""
    parsed = sa.make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return
    admin = sa.URL.create(
        parsed.drivername,
        username=parsed.username,
        password=parsed.password,
        host=parsed.host,
        port=parsed.port,
        database="postgres" if backend == "postgresql" else None,
        query=parsed.query,
    )
    engine = sa.create_engine(admin, isolation_level="AUTOCOMMIT")
    name = engine.dialect.identifier_preparer.quote(parsed.database or "")
    try:
        with engine.connect() as connection:
            if backend == "postgresql":
                query = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
                if connection.execute(query, {"name": parsed.database}).first() is None:
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
            else:
                connection.exec_driver_sql(
                    f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4"
                )
    except sa.exc.DBAPIError as error:
        print(f"cell0's database {parsed.database} could not be created: {error.orig}")
    finally:
        engine.dispose()


def check_status(conf: cfg.ConfigOpts, _options: argparse.Namespace) -> int:
    """Print what is there and what is missing: 0 all well, 1 something to look at, 2 it cannot work."""
    return status_check.run(conf, cell_commands.api_database(conf))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG, description="Databases, cells, Placement, and a check of the deployment."
    )
    parser.add_argument("--config-file", action="append", default=[], help="may be repeated")
    groups = parser.add_subparsers(required=True, metavar="db | cell | placement | status")
    db = groups.add_parser("db", help="the tables of the databases").add_subparsers(required=True)
    db.add_parser("sync", help=sync.__doc__).set_defaults(command=sync)
    cell_commands.add_commands(groups)
    placement_commands.add_commands(groups)
    status = groups.add_parser("status", help="whether the deployment works").add_subparsers(
        required=True
    )
    check = status.add_parser("check", help=check_status.__doc__)
    check.set_defaults(command=check_status)
    return parser


def main() -> None:
    """Run one command; exit with what it returns, or 1 with the reason."""
    options = _parser().parse_args()
    files = [word for name in options.config_file for word in ("--config-file", name)]
    conf = configure(files, _PROG)
    try:
        sys.exit(options.command(conf, options))
    except KilonovaError as error:
        sys.exit(f"{_PROG}: {error}")
