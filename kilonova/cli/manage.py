"""``kilonova-manage``: databases, cells, Placement and a check of the deployment."""

import argparse
import sys
import uuid
from collections.abc import Callable
from pathlib import PurePath

import sqlalchemy as sa
from oslo_config import cfg

from kilonova.cli import placement_commands, status_check
from kilonova.cli.service import configure
from kilonova.core.errors import KilonovaError, NotFound
from kilonova.core.ids import CELL0, CellUuid
from kilonova.db import cells, hosts
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.migrate import Schema, upgrade
from kilonova.rpc.connect import transport_url

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


def _api_db(conf: cfg.ConfigOpts) -> Database:
    if not conf.api_database.connection:
        raise NotFound("[api_database] connection is not set")
    return Database(conf.api_database.connection)


def create_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Map a cell; without its own URLs, the one of this configuration."""
    connection = options.database_connection or conf.database.connection
    if not connection:
        print("Give --database-connection, or set [database] connection.")
        return 1
    cell = Cell(
        uuid=CellUuid(options.uuid or str(uuid.uuid4())),
        name=options.name,
        transport_url=options.transport_url or transport_url(conf),
        database_connection=connection,
    )
    upgrade(Database(connection), "cell")
    cells.create_cell(_api_db(conf), cell)
    print(cell.uuid)
    return 0


def list_cells(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Print the cells, with passwords only if asked."""
    for cell in cells.list_cells(_api_db(conf)):
        urls = (cell.transport_url, cell.database_connection)
        shown = urls if options.verbose else tuple(_hidden(url) for url in urls)
        state = "disabled" if cell.disabled else "enabled "
        print(f"{cell.uuid}  {cell.name:16}  {state}  {'  '.join(shown)}")
    return 0


def _hidden(url: str) -> str:
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}:***@{tail}"


def update_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Change a cell's name, URLs or whether it takes new servers."""
    values: dict[str, object] = {
        key: getattr(options, key)
        for key in ("name", "transport_url", "database_connection")
        if getattr(options, key) is not None
    }
    if options.disable or options.enable:
        values["disabled"] = options.disable
    if not values:
        print("Nothing to change: give a name, a URL, --disable or --enable.")
        return 1
    cells.update_cell(_api_db(conf), CellUuid(options.cell_uuid), values)
    return 0


def delete_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Remove a cell that no server is in."""
    cells.delete_cell(_api_db(conf), CellUuid(options.cell_uuid))
    return 0


def discover_hosts(conf: cfg.ConfigOpts, _options: argparse.Namespace) -> int:
    """Map the hosts that have reported to their cells' databases."""
    api_db = _api_db(conf)
    known = cells.mapped_hosts(api_db)
    for cell in cells.list_cells(api_db):
        if cell.uuid == CELL0:
            continue
        found = [h for h in hosts.hosts_of(Database(cell.database_connection)) if h not in known]
        cells.map_hosts(api_db, cell.uuid, found)
        for host in found:
            print(f"{host}  {cell.name}")
    return 0


def check_status(conf: cfg.ConfigOpts, _options: argparse.Namespace) -> int:
    """Print what is there and what is missing: 0 all well, 1 something to look at, 2 it cannot work."""
    return status_check.run(conf, _api_db(conf))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROG, description=__doc__)
    parser.add_argument("--config-file", action="append", default=[])
    groups = parser.add_subparsers(required=True, metavar="db | cell | placement | status")
    db = groups.add_parser("db").add_subparsers(required=True)
    db.add_parser("sync", help=sync.__doc__).set_defaults(command=sync)
    cell = groups.add_parser("cell").add_subparsers(required=True)
    create = cell.add_parser("create", help=create_cell.__doc__)
    create.add_argument("--name", required=True)
    create.add_argument("--uuid")
    update = cell.add_parser("update", help=update_cell.__doc__)
    update.add_argument("cell_uuid")
    update.add_argument("--name")
    update.add_argument("--disable", action="store_true")
    update.add_argument("--enable", action="store_true")
    for one in (create, update):
        one.add_argument("--transport-url")
        one.add_argument("--database-connection")
    listing = cell.add_parser("list", help=list_cells.__doc__)
    listing.add_argument("--verbose", action="store_true", help="show passwords")
    delete = cell.add_parser("delete", help=delete_cell.__doc__)
    delete.add_argument("cell_uuid")
    discover = cell.add_parser("discover-hosts", help=discover_hosts.__doc__)
    placement_commands.add_commands(groups)
    status = groups.add_parser("status").add_subparsers(required=True)
    check = status.add_parser("check", help=check_status.__doc__)
    for one, command in (
        (create, create_cell),
        (update, update_cell),
        (listing, list_cells),
        (delete, delete_cell),
        (discover, discover_hosts),
        (check, check_status),
    ):
        one.set_defaults(command=command)
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
