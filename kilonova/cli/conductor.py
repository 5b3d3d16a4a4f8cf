"""``kilonova-conductor``: super conductor, cell conductor, or both, as the databases are configured."""

import sys

from kilonova.cli import checks
from kilonova.cli.service import configure, run
from kilonova.conductor.service import ConductorService
from kilonova.placement import client
from kilonova.rpc.connect import Buses

_PROG = "kilonova-conductor"


def main() -> None:
    """Run until SIGTERM."""
    conf = configure(sys.argv[1:], _PROG)
    if not conf.api_database.connection and not conf.database.connection:
        sys.exit(f"{_PROG}: neither [api_database] connection nor [database] connection is set")
    placement = client.load(conf)
    needed = checks.of_section(conf, "api_database", "database")
    needed |= {"message bus": checks.message_bus(conf), "placement": placement.ping}
    run(conf, _PROG, lambda: [ConductorService(conf, Buses(conf), placement)], needed)
