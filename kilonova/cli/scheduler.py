"""``kilonova-scheduler``."""

import sys

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

    def create() -> list[SchedulerService]:
        api_db = Database(connection)
        bus = Buses(conf).default()
        return [SchedulerService(conf, bus, api_db, Cells(api_db), client.load(conf))]

    run(conf, _PROG, create)
