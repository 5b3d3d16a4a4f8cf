"""What each service cannot do without, as checks for its ``/healthcheck``."""

from collections.abc import Callable
from functools import partial

from oslo_config import cfg

from kilonova.db import probe as db_probe
from kilonova.db.engine import Database
from kilonova.db.schemas import Schema
from kilonova.http.health import Check
from kilonova.placement.client import Placement
from kilonova.rpc import probe as bus_probe

_SCHEMAS: dict[str, Schema] = {
    "api_database": "api",
    "database": "cell",
    "placement_database": "placement",
}


def database(url: str, schema: Schema) -> Check:
    """Return whether a database answers, and takes writes."""
    asked = Database(url, pool_size=1)
    return lambda: db_probe.check(asked, schema)


def message_bus(conf: cfg.ConfigOpts) -> Check:
    """Return whether a broker of ``[DEFAULT] transport_url`` takes messages, if it names any."""
    return partial(bus_probe.check, conf)


def placement(client: Callable[[], Placement]) -> Check:
    """Return whether Placement answers."""
    return lambda: client().ping()


def of_section(conf: cfg.ConfigOpts, *sections: str) -> dict[str, Check]:
    """Return the checks of the databases that are configured, by the words in their sections' names."""
    return {
        section.replace("_", " "): database(conf[section].connection, _SCHEMAS[section])
        for section in sections
        if conf[section].connection
    }
