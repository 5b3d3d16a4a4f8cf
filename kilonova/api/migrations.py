"""Migrations: ``/os-migrations``, and live ones in progress below their server (from 2.23)."""

import heapq
import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from kilonova.api import parameters
from kilonova.api.find import find_server
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import PAGE, TEXT, Schema, number_of, values
from kilonova.api.routing import Act, ActOn, Answer, Asked, Route
from kilonova.api.schemas.moves import FORCE_COMPLETE
from kilonova.api.servers.tasks import check_unlocked, record_of
from kilonova.api.views import migrations as views
from kilonova.core.errors import Forbidden, Invalid, KilonovaError, NotFound, WrongState
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration, Stage
from kilonova.core.states import Action, TaskState
from kilonova.db import actions, flavors, hosts, migration_lists, moves
from kilonova.db.migration_lists import MigrationQuery
from kilonova.db.scatter import gather
from kilonova.rpc.messages import GuideMove

LOG = logging.getLogger(__name__)

_LIST_RULE = "os_compute_api:os-migrations:index"

_COLUMNS = {
    "instance_uuid": "instance_uuid",
    "source_compute": "source_host",
    "status": "status",
    "migration_type": "kind",
    "user_id": "user_id",
    "project_id": "project_id",
}
_OWNERS = ("user_id", "project_id")
_NAMES = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
_FILTERS: Schema = {name: values(TEXT) for name in _NAMES}
_PAGED: Schema = _FILTERS | {
    "limit": PAGE["limit"] | {"maxItems": 1},
    "marker": values(TEXT, once=True),
    "changes-since": values(TEXT, once=True),
}
_BEFORE: Schema = _PAGED | {"changes-before": values(TEXT, once=True)}
_OWNED: Schema = _BEFORE | {name: values(TEXT, once=True) for name in _OWNERS}
_QUERY = parameters.queries(
    {
        ALWAYS: _FILTERS,
        Since.MIGRATION_PAGES: _PAGED,
        Since.CHANGES_BEFORE: _BEFORE,
        Since.MIGRATION_OWNERS: _OWNED,
    },
    strict=Since.MIGRATION_PAGES,
)


def list_migrations(asked: Asked) -> Answer:
    """Answer every migration that the query describes, newest first; paged from 2.59."""
    wanted = _wanted(asked)
    found: list[Migration] = []
    if asked.one("hidden") not in ("1", "true", "True") and wanted.limit:
        cells = gather(asked.services.cells, lambda db: migration_lists.list_migrations(db, wanted))
        found = list(islice(_merged(cells.answers.values()), wanted.limit))
    addresses = _addresses(asked, found)
    shown = [_listed(asked, one, addresses) for one in _numbered(asked, found)]
    if not asked.allows(f"{_LIST_RULE}:host"):
        shown = [views.hostless(one) for one in shown]
    body: dict[str, Any] = {"migrations": shown}
    if asked.version in Since.MIGRATION_PAGES:
        links = next_links(asked, "/os-migrations", wanted.limit, [one.uuid for one in found])
        body |= {"migrations_links": links} if links else {}
    return Answer(body)


_Numbered = tuple[Migration, int | None, int | None]


def _merged(cells: Iterable[Iterable[Migration]]) -> Iterable[Migration]:
    return heapq.merge(*cells, key=lambda one: (one.created_at, one.uuid), reverse=True)


def _numbered(asked: Asked, found: list[Migration]) -> list[_Numbered]:
    """Return migrations with the numbers of their flavors, old and new, of those that still exist."""
    names = {flavor.flavor_id for one in found for flavor in (one.old_flavor, one.new_flavor)}
    numbers = flavors.numbers_of(asked.services.api_db, names) if names else {}
    return [
        (one, numbers.get(one.old_flavor.flavor_id), numbers.get(one.new_flavor.flavor_id))
        for one in found
    ]


def _addresses(asked: Asked, found: list[Migration]) -> dict[HostName, str]:
    """Return the addresses of the hosts that servers are moved to, but for live ones."""
    names = {one.destination.host for one in found if one.destination and one.kind is not Kind.LIVE}
    if not names:
        return {}
    parts = gather(asked.services.cells, lambda db: hosts.addresses_of(db, names))
    return {host: ip for part in parts.answers.values() for host, ip in part.items()}


def _listed(asked: Asked, numbered: _Numbered, addresses: Mapping[HostName, str]) -> dict[str, Any]:
    migration, old, new = numbered
    to = migration.destination.host if migration.destination else HostName("")
    address = None if migration.kind is Kind.LIVE else addresses.get(to)
    view = views.listed(migration, asked.version, address)
    view |= {"old_instance_type_id": old, "new_instance_type_id": new}
    if asked.version in Since.SERVER_MIGRATIONS and views.is_in_progress(migration):
        path = f"/servers/{migration.instance_uuid}/migrations/{migration.number}"
        view["links"] = asked.links(path)
    return view


def _wanted(asked: Asked) -> MigrationQuery:
    owners = () if asked.version in Since.MIGRATION_OWNERS else _OWNERS
    equal = {
        column: text
        for name, column in _COLUMNS.items()
        if name not in owners and (text := asked.one(name)) is not None
    }
    if not asked.allows(f"{_LIST_RULE}:all_projects"):
        mine = asked.context.project_id
        if equal.get("project_id", mine) != mine:
            raise Forbidden(f"Policy doesn't allow {_LIST_RULE}:all_projects to be performed.")
        equal["project_id"] = mine
    if asked.version not in Since.MIGRATION_PAGES:
        return MigrationQuery(equal=equal, host=asked.one("host"))
    limit, marker = page(asked)
    since, before = (
        parameters.moment_of(text, name)
        if (name == "changes-since" or asked.version in Since.CHANGES_BEFORE)
        and (text := asked.one(name))
        else None
        for name in ("changes-since", "changes-before")
    )
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    return MigrationQuery(
        equal=equal,
        host=asked.one("host"),
        changed_since=since,
        changed_before=before,
        after=None if marker is None else _marked(asked, marker),
        limit=limit,
    )


def _marked(asked: Asked, marker: str) -> Any:
    found = gather(asked.services.cells, lambda db: moves.get(db, marker))
    for migration in found.answers.values():
        if migration is not None:
            return migration.created_at, migration.uuid
    raise Invalid(f"Marker {marker} could not be found.")


def list_of_server(asked: Asked, server_id: str) -> Answer:
    """Answer the live migrations of a server that are in progress."""
    server, cell = _server(asked, server_id)
    found: tuple[Migration, ...] = ()
    if cell is not None:
        found = migration_lists.in_progress(asked.services.cells.database(cell), server.uuid)
    shown = [views.of_server(one, asked.version) for one in found]
    if not asked.allows(f"{_RULE}:index:host", server.project_id):
        shown = [views.hostless(one) for one in shown]
    return Answer({"migrations": shown})


def show_of_server(asked: Asked, server_id: str, migration_id: str) -> Answer:
    """Answer a live migration of a server that is in progress."""
    server, cell = _server(asked, server_id)
    migration = _of_server(asked, server, cell, migration_id)
    if migration is None:
        raise NotFound(
            f"In-progress live migration {migration_id} is not found for server {server_id}."
        )
    if migration.kind is not Kind.LIVE:
        raise NotFound(f"Migration {migration_id} for server {server_id} is not live-migration.")
    if not views.is_in_progress(migration):
        raise NotFound(f"Live migration {migration_id} for server {server_id} is not in progress.")
    return Answer({"migration": views.of_server(migration, asked.version)})


def _server(asked: Asked, server_id: str) -> tuple[Instance, CellUuid | None]:
    located = find_server(asked, server_id)
    return located.instance, located.cell_uuid


def _of_server(
    asked: Asked, server: Instance, cell: CellUuid | None, migration_id: str
) -> Migration | None:
    number = number_of(migration_id)
    if number is None or cell is None:
        return None
    return migration_lists.of_server(asked.services.cells.database(cell), server.uuid, number)


def abort(asked: Asked, server_id: str, migration_id: str) -> Answer:
    """``DELETE``: abort a live migration that runs; from 2.65 also one that is being prepared."""
    stages = [Stage.SENDING]
    if asked.version in Since.ABORT_QUEUED:
        stages.append(Stage.PREPARING)
    _guide(asked, (server_id, migration_id), stages, Action.LIVE_CANCEL)
    return Answer(status=202)


def force_complete(asked: Asked, server_id: str, migration_id: str) -> Answer:
    """``force_complete``: let a live migration that runs come to its end at any price."""
    _guide(asked, (server_id, migration_id), [Stage.SENDING], Action.LIVE_FORCE)
    return Answer(status=202)


def _guide(asked: Asked, of: tuple[str, str], stages: list[Stage], action: Action) -> None:
    """Note what an operator wants of a live migration, and tell the host that has it in hand.

    Raises:
        NotFound: the server has no such migration.
        WrongState: the server is not being moved.
        Invalid: the migration is not at a stage where that can be done.
    """
    server_id, migration_id = of
    server, cell = _server(asked, server_id)
    check_unlocked(asked, server)
    if server.task_state != TaskState.MIGRATING or cell is None:
        state = f"task_state {server.task_state}"
        raise WrongState(f"Cannot '{action}' instance {server.uuid} while it is in {state}")
    migration = _of_server(asked, server, cell, migration_id)
    if migration is None:
        raise NotFound(f"Migration {migration_id} could not be found for instance {server_id}.")
    database = asked.services.cells.database(cell)
    wish = "abort" if action is Action.LIVE_CANCEL else "force"
    possible = migration.kind is Kind.LIVE and migration.stage in stages
    if not possible or not moves.wish(database, migration, wish):
        raise Invalid(
            f"Migration {migration_id} state of instance {server_id} is {migration.status}. "
            f"Cannot {action} while the migration is in this state."
        )
    actions.record(database, [record_of(asked, server, action)])
    message = GuideMove(migration=migration.uuid, wish=wish)
    try:
        bus = asked.services.cell_bus(cell)
        bus.cast(asked.context, message, host=migration.source_host)
    except KilonovaError as error:
        # It is asked for with the next word of how far the guest has come.
        LOG.warning("%s: its host is told later: %s", server.uuid, error)


_RULE = "os_compute_api:servers:migrations"
_ALL = "/servers/{server_id}/migrations"
_ONE = f"{_ALL}/{{migration_id}}"
_SINCE = Since.SERVER_MIGRATIONS
ACTS = {"force_complete": Act(f"{_RULE}:force_complete", force_complete, FORCE_COMPLETE)}

ROUTES = (
    Route(
        "GET",
        "/os-migrations",
        _LIST_RULE,
        list_migrations,
        query=_QUERY,
    ),
    Route("GET", _ALL, f"{_RULE}:index", list_of_server, when=_SINCE),
    Route("GET", _ONE, f"{_RULE}:show", show_of_server, when=_SINCE),
    Route("DELETE", _ONE, f"{_RULE}:delete", abort, when=Since.ABORT_MIGRATION),
    Route("POST", f"{_ONE}/action", None, ActOn(ACTS), when=Since.FORCE_COMPLETE),
)
