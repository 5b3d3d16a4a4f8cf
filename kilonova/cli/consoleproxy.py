"""``kilonova-consoleproxy``."""

import sys

from kilonova.cli import checks
from kilonova.cli.service import configure, required, run
from kilonova.consoles.proxy import ConsoleProxy
from kilonova.db.engine import Database

_PROG = "kilonova-consoleproxy"


def main() -> None:
    """Run until SIGTERM."""
    conf = configure(sys.argv[1:], _PROG)
    connection = required(conf.api_database.connection, "[api_database] connection", _PROG)
    needed = checks.of_section(conf, "api_database")
    run(conf, _PROG, lambda: [ConsoleProxy(conf, Database(connection))], needed)
