"""Whether a cell works: its database and schema, its message bus, its conductors and its hosts."""

from typing import NamedTuple

from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.errors import BusUnavailable, KilonovaError, NoAnswer
from kilonova.core.ids import CELL0
from kilonova.db import cells, hosts
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.migrate import current_version, newest_version
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import Ping, Taken

_ANSWER_WITHIN = 5.0
"""Seconds that a conductor has to answer."""
_WELL, _LOOK, _BROKEN = 0, 1, 2
_NOT_ASKED = "-"


class Checked(NamedTuple):
    """What was found of each part, and how bad the worst is: 0 well, 1 to be looked at, 2 broken."""

    database: str
    bus: str
    conductor: str
    hosts: str
    severity: int


def check(cell: Cell, api_db: Database, buses: Buses, down_after: float) -> Checked:
    """Look at every part of a cell; cell0 has a database only."""
    database, worst = _database(cell)
    if cell.uuid == CELL0:
        return Checked(database, _NOT_ASKED, _NOT_ASKED, _NOT_ASKED, worst)
    bus, conductor, bad = _conductor(cell, buses)
    worst = max(worst, bad)
    if database != "ok":
        return Checked(database, bus, conductor, _NOT_ASKED, worst)
    there, bad = _hosts(cell, api_db, down_after)
    return Checked(database, bus, conductor, there, max(worst, bad))


def _database(cell: Cell) -> tuple[str, int]:
    newest = newest_version("cell")
    database = Database(cell.database_connection)
    try:
        found = database.query(lambda connection: current_version(connection, "cell"))
    except KilonovaError:
        return "does not answer", _BROKEN
    finally:
        database.dispose()
    if found is None:
        return "has no tables", _BROKEN
    return ("ok", _WELL) if found == newest else (f"at {found}, needs {newest}", _BROKEN)


def _conductor(cell: Cell, buses: Buses) -> tuple[str, str, int]:
    try:
        bus = buses.at(cell.transport_url)
        bus.call(service_context(), Ping(), Taken, timeout=_ANSWER_WITHIN)
    except NoAnswer:
        return "ok", "none answers", _BROKEN
    except BusUnavailable:
        return "does not answer", _NOT_ASKED, _BROKEN
    except KilonovaError:
        return "ok", "without its database", _BROKEN
    return "ok", "ok", _WELL


def _hosts(cell: Cell, api_db: Database, down_after: float) -> tuple[str, int]:
    database = Database(cell.database_connection)
    try:
        services = hosts.list_services(database, binary=hosts.COMPUTE)
    finally:
        database.dispose()
    now = utcnow()
    up = sum(service.is_up(now, down_after) for service in services)
    unmapped = {service.host for service in services} - cells.hosts_in(api_db, cell.uuid)
    told = f"{up} of {len(services)} up" if services else "none"
    if unmapped:
        told += f", {len(unmapped)} not mapped"
    well = up == len(services) and up and not unmapped
    return told, _WELL if well else _LOOK
