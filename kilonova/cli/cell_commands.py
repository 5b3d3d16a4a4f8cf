"""``kilonova-manage cell``: which cells there are, whether each works, and how one is emptied.

A cell is named by its name or its UUID.
"""

import argparse
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from oslo_config import cfg

from kilonova.cli import cell_checks
from kilonova.core.errors import KilonovaError, NotFound
from kilonova.core.ids import CELL0, CellUuid
from kilonova.core.secrets import without_secrets
from kilonova.db import cells, hosted, hosts
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.rpc.connect import Buses, transport_url


def add_commands(groups: Any) -> None:
    """Add the group ``cell`` to a parser's groups."""
    commands = groups.add_parser("cell", help="where cells are, and how they are").add_subparsers(
        required=True, metavar="create | list | update | delete | verify | disable | enable | drain"
        " | discover-hosts",
    )  # fmt: skip
    create = _add(commands, "create", create_cell)
    create.add_argument("--name", required=True, help="what the cell is called")
    create.add_argument("--uuid", help="its UUID; without this, a new one")
    create.add_argument(
        "--disabled", action="store_true", help="no new servers are scheduled there"
    )
    listing = _add(commands, "list", list_cells)
    listing.add_argument(
        "--verbose", "--show-secrets", action="store_true", help="show passwords, too"
    )
    update = _add(commands, "update", update_cell, one=True)
    update.add_argument("--name", help="a new name")
    state = update.add_mutually_exclusive_group()
    state.add_argument("--disable", action="store_true", help="schedule no new servers there")
    state.add_argument("--enable", action="store_true", help="schedule new servers there again")
    for command in (create, update):
        command.add_argument("--transport-url", help="the cell's message bus")
        command.add_argument("--database-connection", help="SQLAlchemy URL of the cell's database")
    delete = _add(commands, "delete", delete_cell, one=True)
    delete.add_argument("--force", action="store_true", help="forget its deleted servers, too")
    verify = _add(commands, "verify", verify_cells)
    verify.add_argument("cell", nargs="?", help="name or UUID; without it, all cells")
    _add(commands, "disable", disable_cell, one=True)
    _add(commands, "enable", enable_cell, one=True)
    _add(commands, "drain", drain_cell, one=True)
    _add(commands, "discover-hosts", discover_hosts)


def _add(commands: Any, name: str, command: Any, *, one: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=command.__doc__, description=command.__doc__
    )
    parser.set_defaults(command=command)
    if one:
        parser.add_argument("cell", help="name or UUID")
    return parser


def api_database(conf: cfg.ConfigOpts) -> Database:
    """Return the API database.

    Raises:
        NotFound: none is configured.
    """
    if not conf.api_database.connection:
        raise NotFound("[api_database] connection is not set")
    return Database(conf.api_database.connection)


def create_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Make a cell's tables and map it; without its own URLs, to those of this configuration."""
    connection = options.database_connection or conf.database.connection
    if not connection:
        print("Give --database-connection, or set [database] connection.")
        return 1
    cell = Cell(
        uuid=CellUuid(options.uuid or str(uuid.uuid4())),
        name=options.name,
        transport_url=options.transport_url or transport_url(conf),
        database_connection=connection,
        disabled=options.disabled,
    )
    upgrade(Database(connection), "cell")
    cells.create_cell(api_database(conf), cell)
    print(cell.uuid)
    return 0


def list_cells(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Show the cells, with passwords only if asked."""
    rows = []
    for cell in cells.list_cells(api_database(conf)):
        urls = (cell.transport_url, cell.database_connection)
        shown = urls if options.verbose else tuple(without_secrets(url) for url in urls)
        rows.append((cell.uuid, cell.name, _state(cell), *shown))
    _print_table(("UUID", "Name", "State", "Message bus", "Database"), rows)
    return 0


def _state(cell: Cell) -> str:
    return "disabled" if cell.disabled else "enabled"


def update_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Change a cell's name or URLs, or whether it takes new servers. Services notice within seconds."""
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
    api_db = api_database(conf)
    cells.update_cell(api_db, cells.find_cell(api_db, options.cell).uuid, values)
    return 0


def delete_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Forget a cell that no server is in. Its database stays as it is."""
    api_db = api_database(conf)
    cell = cells.find_cell(api_db, options.cell)
    cells.delete_cell(api_db, cell.uuid, with_deleted=options.force)
    return 0


def disable_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Schedule no new servers in a cell; those that are there go on as before."""
    _set_disabled(conf, options.cell, disabled=True)
    return 0


def enable_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Schedule new servers in a cell again."""
    _set_disabled(conf, options.cell, disabled=False)
    return 0


def _set_disabled(conf: cfg.ConfigOpts, name: str, *, disabled: bool) -> Cell:
    """Disable or enable a cell and return it.

    Raises:
        NotFound: there is no such cell, or it is cell0, where nothing is scheduled.
    """
    api_db = api_database(conf)
    cell = cells.find_cell(api_db, name)
    if cell.uuid == CELL0:
        raise NotFound("No server is ever scheduled in cell0.")
    cells.update_cell(api_db, cell.uuid, {"disabled": disabled})
    return cell


def drain_cell(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Disable a cell and show which servers are left there: 0 if none is, 1 if some are. Moves nothing."""
    cell = _set_disabled(conf, options.cell, disabled=True)
    left = hosted.counted(Database(cell.database_connection))
    if not left:
        print(f"{cell.name} is disabled and empty.")
        return 0
    rows = [(host or "(none)", str(count)) for host, count in left.items()]
    _print_table(("Host", "Servers"), sorted(rows))
    print(f"{cell.name} is disabled; {sum(left.values())} servers are left.")
    return 1


def discover_hosts(conf: cfg.ConfigOpts, _options: argparse.Namespace) -> int:
    """Map the hosts that have reported to their cells' databases. A conductor does so, too, on its own."""
    api_db = api_database(conf)
    known = cells.mapped_hosts(api_db)
    failed = 0
    for cell in cells.list_cells(api_db):
        if cell.uuid == CELL0:
            continue
        try:
            there = hosts.hosts_of(Database(cell.database_connection))
        except KilonovaError as error:
            print(f"{cell.name}: {error}")
            failed = 1
            continue
        found = [host for host in there if host not in known]
        cells.map_hosts(api_db, cell.uuid, found)
        for host in found:
            print(f"{host}  {cell.name}")
    return failed


def verify_cells(conf: cfg.ConfigOpts, options: argparse.Namespace) -> int:
    """Show whether cells work: 0 all well, 1 something to look at, 2 one cannot work."""
    api_db = api_database(conf)
    wanted = [cells.find_cell(api_db, options.cell)] if options.cell else cells.list_cells(api_db)
    buses = Buses(conf)
    try:
        checks = [cell_checks.check(cell, api_db, buses, conf.service_down_time) for cell in wanted]
    finally:
        buses.close()
    _print_table(
        ("Cell", "State", "Database", "Message bus", "Conductor", "Hosts"),
        [
            (cell.name, _state(cell), found.database, found.bus, found.conductor, found.hosts)
            for cell, found in zip(wanted, checks, strict=True)
        ],
    )
    return max((found.severity for found in checks), default=0)


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a head, each column as wide as it must be."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
