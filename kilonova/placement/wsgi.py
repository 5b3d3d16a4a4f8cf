"""The WSGI entry point: ``kilonova.placement.wsgi:application``, for any WSGI server.

Reads the file that ``KILONOVA_CONFIG`` names, else /etc/kilonova/kilonova.conf.
"""

import os
from typing import Any

from oslo_config import cfg
from oslo_middleware import cors

from kilonova.core import settings
from kilonova.db.engine import Database
from kilonova.http.identity import Wsgi, authenticated
from kilonova.placement.app import create_app, is_public
from kilonova.placement.policies import Policy, enforcer_for


def build(conf: cfg.ConfigOpts) -> Wsgi:
    """Return the application of a configuration."""
    threads = conf.placement_api.threads
    return assemble(conf, Database(conf.placement_database.connection, pool_size=threads))


def assemble(conf: cfg.ConfigOpts, database: Database) -> Wsgi:
    """Return the application over a database, behind its authentication."""
    app: Any = create_app(database, Policy(enforcer_for(conf)), conf)
    guarded = authenticated(app, conf, public=is_public)
    conf.register_opts(cors.CORS_OPTS, group="cors")
    # Outermost: a browser asks whether it may ask before it has a token.
    return cors.CORS(guarded, conf) if conf.cors.allowed_origin else guarded


def __getattr__(name: str) -> Wsgi:
    if name != "application":
        raise AttributeError(name)
    chosen = os.environ.get("KILONOVA_CONFIG")
    files = ["--config-file", chosen] if chosen else []
    application = build(settings.read_config(files, prog="kilonova-placement"))
    globals()["application"] = application
    return application
