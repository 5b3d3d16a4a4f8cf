"""``kilonova-manage status check``: what is there, what is missing, and how bad that is."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from oslo_config import cfg

from kilonova.cli import checks
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.host_failure import Verdict, held_back
from kilonova.core.ids import CELL0
from kilonova.db import build_requests, cells, host_fences, hosts, leases
from kilonova.db.cells import Cell
from kilonova.db.engine import Database
from kilonova.db.migrate import is_newest
from kilonova.db.schemas import Schema
from kilonova.http.health import Check
from kilonova.placement import client
from kilonova.rpc.connect import brokers

WELL, WARNING, FAILURE = 0, 1, 2
_MARKS = {WELL: "ok   ", WARNING: "WARN ", FAILURE: "FAIL "}
_WAITING = timedelta(minutes=2)


class Finding(NamedTuple):
    """One line: how bad it is, and what."""

    level: int
    what: str


def run(conf: cfg.ConfigOpts, api_db: Database) -> int:
    """Print every finding; return 0 if all is well, 1 to look at something, 2 where it cannot work."""
    worst = WELL
    for finding in _findings(conf, api_db):
        print(f"{_MARKS[finding.level]} {finding.what}")
        worst = max(worst, finding.level)
    sys.stdout.flush()
    return worst


def _findings(conf: cfg.ConfigOpts, api_db: Database) -> Iterator[Finding]:
    try:
        known = cells.list_cells(api_db)
        yield _schema("API database", api_db, "api")
    except KilonovaError as error:
        yield Finding(FAILURE, f"API database: {error}")
        return
    yield from _others(conf)
    if [cell.uuid for cell in known] in ([], [CELL0]):
        yield Finding(FAILURE, "no cell: kilonova-manage cell create")
        return
    for cell in known:
        yield from _cell(conf, cell)
    yield from _leader(api_db)
    waiting = len(build_requests.stale(api_db, utcnow(), untouched=_WAITING))
    if waiting:
        yield Finding(WARNING, f"{waiting} servers wait for a conductor since two minutes and more")


def _schema(what: str, database: Database, schema: Schema) -> Finding:
    if is_newest(database, schema):
        return Finding(WELL, what)
    return Finding(FAILURE, f"{what}: its schema is not the newest: kilonova-manage db sync")


def _others(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """The parts that are asked over a network, where this configuration says where they are."""
    if brokers(conf):
        yield _asked("message bus", checks.message_bus(conf))
    if conf.placement_database.connection:
        yield _asked(
            "Placement's database",
            checks.database(conf.placement_database.connection, "placement"),
        )
    if client.is_configured(conf):
        yield _asked("Placement", checks.placement(lambda: client.load(conf)))


def _asked(what: str, check: Check) -> Finding:
    try:
        check()
    except KilonovaError as error:
        return Finding(FAILURE, f"{what}: {error.message}")
    return Finding(WELL, what)


def _cell(conf: cfg.ConfigOpts, cell: Cell) -> Iterator[Finding]:
    database = Database(cell.database_connection)
    try:
        services = hosts.list_services(database, binary=hosts.COMPUTE)
        newest = is_newest(database, "cell")
    except KilonovaError as error:
        yield Finding(FAILURE, f"cell {cell.name}: {error}")
        return
    if not newest:
        sync = "kilonova-manage db sync"
        yield Finding(FAILURE, f"cell {cell.name}: its schema is not the newest: {sync}")
    if cell.uuid == CELL0:
        what = "its database holds the servers that fit nowhere"
        yield Finding(WELL, f"cell {cell.name}: {what}")
        return
    up = [s for s in services if s.is_up(utcnow(), conf.service_down_time)]
    level = WELL if up and len(up) == len(services) else WARNING
    what = f"{len(up)} of {len(services)} compute services up"
    yield Finding(level, f"cell {cell.name}: {what}")
    held = held_back(services, utcnow(), conf.service_down_time)
    if held is not None and conf.ha.fence_command:
        yield Finding(WARNING, f"cell {cell.name}: {held.sentence} Nothing is done about those.")
    for fence in host_fences.all_of(database).values() if newest else ():
        if fence.verdict is Verdict.REFUSED:
            what = (
                f"{fence.host} is silent, and its fence said no {fence.tries} times: {fence.words}"
            )
            yield Finding(WARNING, f"cell {cell.name}: {what}")


def _leader(api_db: Database) -> Iterator[Finding]:
    held = leases.holder_of(api_db, "converger")
    if held is None:
        return
    holder, until = held
    if not holder or until < utcnow():
        yield Finding(WARNING, "no converger leads: is a conductor running?")
    else:
        yield Finding(WELL, "a converger leads")
