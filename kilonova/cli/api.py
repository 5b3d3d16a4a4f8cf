"""``kilonova-api``: the Compute API under gunicorn."""

import sys

from kilonova.api import wsgi
from kilonova.cli.service import configure, configure_again, required
from kilonova.core.errors import KilonovaError
from kilonova.http.identity import Wsgi, refuse_open_noauth
from kilonova.http.server import Listener, serve_gunicorn

_PROG = "kilonova-api"


def main() -> None:
    """Serve until SIGTERM."""
    arguments = sys.argv[1:]
    conf = configure(arguments, _PROG)
    required(conf.api_database.connection, "[api_database] connection", _PROG)
    options = conf.compute_api

    def create() -> Wsgi:
        return wsgi.build(configure_again(conf, arguments, _PROG))

    try:
        refuse_open_noauth(conf, options.bind_host, "compute_api")
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
