"""Migrations: ``/os-migrations``, and those in progress below their server (from 2.23).

Servers are not moved between hosts yet, so there is none: lists are empty, and no id is one.
"""

from kilonova.api import parameters
from kilonova.api.find import find_server
from kilonova.api.paging import page
from kilonova.api.parameters import PAGE, TEXT, Schema, values
from kilonova.api.routing import Answer, Asked, Route
from kilonova.core.errors import Invalid, NotFound

_NAMES = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
_FILTERS: Schema = {name: values(TEXT) for name in _NAMES}
_PAGED: Schema = _FILTERS | {
    "limit": PAGE["limit"] | {"maxItems": 1},
    "marker": values(TEXT, once=True),
    "changes-since": values(TEXT, once=True),
}
_BEFORE: Schema = _PAGED | {"changes-before": values(TEXT, once=True)}
_OWNED: Schema = _BEFORE | {
    "user_id": values(TEXT, once=True),
    "project_id": values(TEXT, once=True),
}
_QUERY = parameters.queries(
    {(2, 1): _FILTERS, (2, 59): _PAGED, (2, 66): _BEFORE, (2, 80): _OWNED}, strict=(2, 59)
)


def list_migrations(asked: Asked) -> Answer:
    """Answer every migration that the query describes."""
    if asked.version >= (2, 59):
        _, marker = page(asked)
        for name in ("changes-since", "changes-before"):
            if text := asked.one(name):
                parameters.moment_of(text, name)
        if marker is not None:
            raise Invalid(f"Marker {marker} could not be found.")
    return Answer({"migrations": []})


def list_of_server(asked: Asked, server_id: str) -> Answer:
    """Answer the live migrations of a server that are in progress."""
    find_server(asked, server_id)
    return Answer({"migrations": []})


def show_of_server(asked: Asked, server_id: str, migration_id: str) -> Answer:
    """Answer a live migration of a server that is in progress."""
    find_server(asked, server_id)
    raise NotFound(
        f"In-progress live migration {migration_id} is not found for server {server_id}."
    )


_RULE = "os_compute_api:servers:migrations"
_ALL = "/servers/{server_id}/migrations"
_SINCE = (2, 23)

ROUTES = (
    Route(
        "GET",
        "/os-migrations",
        "os_compute_api:os-migrations:index",
        list_migrations,
        query=_QUERY,
    ),
    Route("GET", _ALL, f"{_RULE}:index", list_of_server, since=_SINCE),
    Route("GET", _ALL + "/{migration_id}", f"{_RULE}:show", show_of_server, since=_SINCE),
)
