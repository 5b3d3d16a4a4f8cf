"""What the two services under gunicorn share: from the command line to the end."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable

from oslo_config import cfg

from kilonova.cli import checks
from kilonova.cli.service import GRACE_SECONDS, configure, configure_again, required
from kilonova.core.errors import KilonovaError
from kilonova.http.health import Health, WithHealth
from kilonova.http.identity import Wsgi, refuse_open_noauth
from kilonova.http.server import Listener, serve_gunicorn


def serve(prog: str, section: str, database: str, build: Callable[[cfg.ConfigOpts], Wsgi]) -> None:
    """Serve what ``build`` makes of the configuration, as ``[section]`` says, until SIGTERM.

    ``database`` is the section of the database that it cannot do without.
    """
    arguments = sys.argv[1:]
    conf = configure(arguments, prog)
    required(conf[database].connection, f"[{database}] connection", prog)
    options = conf[section]
    _count_together()

    def with_health(conf: cfg.ConfigOpts) -> Wsgi:
        needed = checks.of_section(conf, database)
        if database == "api_database":
            needed["message bus"] = checks.message_bus(conf)
        return WithHealth(build(conf), Health(needed))

    try:
        refuse_open_noauth(conf, options.bind_host, section)
        listener = Listener(
            options.bind_host,
            options.bind_port,
            workers=options.workers,
            threads=options.threads,
            graceful_seconds=GRACE_SECONDS,
        )
        serve_gunicorn(lambda: with_health(configure_again(conf, arguments, prog)), prog, listener)
    except KilonovaError as error:
        sys.exit(f"{prog}: {error}")


def _count_together() -> None:
    """Let the workers count into files of one directory, so that /metrics tells of all of them."""
    directory, owner = tempfile.mkdtemp(prefix="kilonova-metrics-"), os.getpid()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
