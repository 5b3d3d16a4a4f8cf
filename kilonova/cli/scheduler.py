"""``kilonova-scheduler``."""

import sys

from kilonova.cli import checks
from kilonova.cli.service import configure, required, run
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement import client
from kilonova.rpc.connect import Buses
from kilonova.scheduler.service import SchedulerService

_PROG = "kilonova-scheduler"


def main() -> None:
    """Run until SIGTERM."""
    conf = configure(sys.argv[1:], _PROG)
    connection = required(conf.api_database.connection, "[api_database] connection", _PROG)

    placement = client.load(conf)

    def create() -> list[SchedulerService]:
        api_db = Database(connection)
        bus = Buses(conf).default()
        return [SchedulerService(conf, bus, api_db, Cells(api_db), placement)]

    needed = checks.of_section(conf, "api_database")
    needed |= {"message bus": checks.message_bus(conf), "placement": placement.ping}
    run(conf, _PROG, create, needed)
