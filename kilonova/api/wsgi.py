"""The WSGI entry point: ``kilonova.api.wsgi:application``, for any WSGI server.

Reads the file that ``KILONOVA_CONFIG`` names, else /etc/kilonova/kilonova.conf.
"""

import os
from typing import Any

from oslo_config import cfg

from kilonova.api.acceptance import Acceptance
from kilonova.api.app import create_app, is_public
from kilonova.api.fleet import Fleet
from kilonova.api.guest_metadata import with_metadata
from kilonova.api.host_statuses import HostStatuses
from kilonova.api.policies import enforcer_for
from kilonova.api.services import Policy, Services
from kilonova.core import settings
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.http import images, networks, shares, volumes
from kilonova.http.identity import Wsgi, authenticated
from kilonova.placement import client
from kilonova.rpc.connect import Buses
from kilonova.rpc.notifications import notifier


def build(conf: cfg.ConfigOpts) -> Wsgi:
    """Return the application behind its authentication, and what metadata agents are answered beside it."""
    pool_size = conf.compute_api.threads
    api_db = Database(conf.api_database.connection, pool_size=pool_size)
    cells = Cells(api_db, pool_size=pool_size, patience=conf.api.cell_timeout)
    buses = Buses(conf)
    services = Services(
        conf=conf,
        api_db=api_db,
        cells=cells,
        buses=buses,
        bus=buses.default(),
        acceptance=Acceptance(api_db, buses.default()),
        images=images.load(conf),
        volumes=volumes.load(conf),
        shares=shares.load(conf),
        policy=Policy(enforcer_for(conf)),
        host_statuses=HostStatuses(Fleet(api_db, cells), conf.service_down_time),
        placement=client.load(conf),
        notifier=notifier.load(conf),
        networks=networks.load(conf),
    )
    app: Any = create_app(services)
    guarded = authenticated(app, conf, public=is_public, default_roles=("member", "reader"))
    return with_metadata(guarded, services)


def __getattr__(name: str) -> Wsgi:
    if name != "application":
        raise AttributeError(name)
    chosen = os.environ.get("KILONOVA_CONFIG")
    files = ["--config-file", chosen] if chosen else []
    application = build(settings.read_config(files, prog="kilonova-api"))
    globals()["application"] = application
    return application
