"""``kilonova-placement``: Placement under gunicorn."""

import sys

from kilonova.cli.service import configure, configure_again, required
from kilonova.core.errors import KilonovaError
from kilonova.http.identity import Wsgi, refuse_open_noauth
from kilonova.http.server import Listener, serve_gunicorn
from kilonova.placement import wsgi

_PROG = "kilonova-placement"


def main() -> None:
    """Serve until SIGTERM."""
    arguments = sys.argv[1:]
    conf = configure(arguments, _PROG)
    required(conf.placement_database.connection, "[placement_database] connection", _PROG)
    options = conf.placement_api

    def create() -> Wsgi:
        return wsgi.build(configure_again(conf, arguments, _PROG))

    try:
        refuse_open_noauth(conf, options.bind_host, "placement_api")
        listener = Listener(
            options.bind_host,
            options.bind_port,
            workers=options.workers,
            threads=options.threads,
            graceful_seconds=conf.graceful_shutdown_timeout,
        )
        serve_gunicorn(create, _PROG, listener)
    except KilonovaError as error:
        sys.exit(f"{_PROG}: {error}")
