"""How a service process lives: logging, start, SIGTERM that drains, a second one that does not, SIGHUP."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from oslo_config import cfg
from oslo_log import log

from kilonova.core import settings
from kilonova.core.errors import KilonovaError
from kilonova.http.health import Check, Health, WithHealth
from kilonova.http.server import AddressInUse, SocketServer

LOG = logging.getLogger(__name__)

GRACE_SECONDS = 8
"""What SIGTERM gives to what is in hand. Two more, and whoever started the process may kill it."""

_QUIET = ("amqp=WARNING", "oslo.messaging=INFO", "urllib3=WARNING", "stevedore=WARNING",
          "keystoneauth=WARNING", "alembic=WARNING", "oslo_policy=WARNING")  # fmt: skip


class Service(Protocol):
    """Something that runs until it is stopped."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Finish what is in hand, and end."""


def configure(arguments: Sequence[str], prog: str) -> cfg.ConfigOpts:
    """Read the configuration and set up logging. A wrong file or option ends the process."""
    try:
        conf = settings.read_config(arguments, prog=prog)
    except (cfg.Error, KilonovaError) as error:
        sys.exit(f"{prog}: {error}")
    log.set_defaults(default_log_levels=list(_QUIET))
    log.setup(conf, "kilonova")
    return conf


def configure_again(conf: cfg.ConfigOpts, arguments: Sequence[str], prog: str) -> cfg.ConfigOpts:
    """Read the configuration as it is now; if something is wrong with it, return ``conf``."""
    try:
        return settings.read_config(arguments, prog=prog)
    except (cfg.Error, KilonovaError) as error:
        LOG.warning("The configuration stays as it was: %s", error)
        return conf


def required(value: str | None, option: str, prog: str) -> str:
    """Return an option's value, or end the process naming the option."""
    if not value:
        sys.exit(f"{prog}: {option} is not set")
    return value


def run(
    conf: cfg.ConfigOpts,
    prog: str,
    create: Callable[[], Sequence[Service]],
    checks: Mapping[str, Check],
) -> None:
    """Start services and wait for SIGTERM or SIGINT: the first drains and exits 0, a second exits 1.

    ``/healthcheck``, of these checks, and ``/metrics`` are on the socket PROG-HOST.sock in ``state_path``.
    """
    ended = threading.Event()

    def finish(_signal: int, _frame: object) -> None:
        if ended.is_set():
            os._exit(1)
        ended.set()

    def reload(_signal: int, _frame: object) -> None:
        threading.Thread(target=_reload, args=(conf,), daemon=True).start()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    signal.signal(signal.SIGHUP, reload)
    try:
        services = create()
        for service in services:
            service.start()
    except KilonovaError as error:
        sys.exit(f"{prog}: {error}")
    _show_health(conf, prog, checks)
    LOG.info("%s runs", prog)
    while not ended.wait(1.0):
        pass
    LOG.info("%s finishes what is in hand", prog)
    # What hangs beyond the time that is given must not keep the process: its work is sent again.
    guard = threading.Timer(GRACE_SECONDS, lambda: os._exit(0))
    guard.daemon = True
    guard.start()
    for service in services:
        service.stop()
    LOG.info("%s ends", prog)
    logging.shutdown()
    os._exit(0)


def _show_health(conf: cfg.ConfigOpts, prog: str, checks: Mapping[str, Check]) -> None:
    path = Path(conf.state_path) / f"{prog}-{conf.host}.sock"
    try:
        SocketServer(WithHealth(None, Health(checks)), path).start()
    except AddressInUse as error:
        LOG.warning("There is no /healthcheck and no /metrics: %s", error)


def _reload(conf: cfg.ConfigOpts) -> None:
    try:
        changed = conf.mutate_config_files()
    except cfg.Error as error:
        LOG.warning("The configuration stays as it was: %s", error)
        return
    names = sorted(".".join(filter(None, (group, name))) for group, name in changed)
    LOG.info("The configuration was read again; changed: %s", ", ".join(names) or "nothing")
