"""What each service cannot do without, as checks for its ``/healthcheck``."""

import socket
from collections.abc import Callable

import sqlalchemy as sa
from oslo_config import cfg

from kilonova.core.errors import BusUnavailable
from kilonova.db.engine import Database
from kilonova.http.health import Check
from kilonova.placement.client import Placement
from kilonova.rpc.connect import brokers

_TIMEOUT = 2.0


def database(url: str) -> Check:
    """Return whether a database answers."""
    asked = Database(url, pool_size=1)
    return lambda: asked.query(lambda c: c.execute(sa.text("SELECT 1")).scalar())


def message_bus(conf: cfg.ConfigOpts) -> Check:
    """Return whether a broker of ``[DEFAULT] transport_url`` takes connections, if it names any."""
    named = brokers(conf)

    def check() -> None:
        for address in named:
            try:
                socket.create_connection(address, _TIMEOUT).close()
            except OSError:
                continue
            return
        if named:
            raise BusUnavailable("No broker takes connections.")

    return check


def placement(client: Callable[[], Placement]) -> Check:
    """Return whether Placement answers."""
    return lambda: client().ping()


def of_section(conf: cfg.ConfigOpts, *sections: str) -> dict[str, Check]:
    """Return the checks of the databases that are configured, by the words in their sections' names."""
    return {
        section.replace("_", " "): database(conf[section].connection)
        for section in sections
        if conf[section].connection
    }
