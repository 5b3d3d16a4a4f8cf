"""How the servers of the fleet are: ``/kilonova/v1/vitals``, for operators.

Told is what hosts said with their signs of life: no host is asked. A task asks them (``operator_tasks``).
"""

from typing import Any

import msgspec

from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import HOST, SHORT, closed, values, whole
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.core import fleet_vitals
from kilonova.core.fleet_vitals import VitalsQuery, Watched
from kilonova.core.ids import HostName, InstanceUuid, ProjectId
from kilonova.core.vitals import HostVitals
from kilonova.db import vitals
from kilonova.db.engine import Database
from kilonova.db.scatter import gather

_MOST = 10_000
_USUAL = 1000
_NUMBER: dict[str, Any] = {"pattern": r"^[0-9]{1,10}\Z", "description": "a whole number"}
_QUERY = Schemas(
    {
        ALWAYS: closed(
            {
                "host": values(HOST, once=True),
                "project": values(SHORT, once=True),
                "limit": values(_NUMBER, once=True),
                "marker": values(SHORT, once=True),
            }
        )
    }
)


class _Page(msgspec.Struct, frozen=True):
    """A cell's part of a page: servers, and what was told of their hosts."""

    servers: tuple[Watched, ...]
    told: dict[HostName, HostVitals]


def list_vitals(asked: Asked) -> Answer:
    """``GET /kilonova/v1/vitals``: servers on hosts in order of their UUIDs, and the totals of these hosts.

    ``silent`` are the cells that do not answer.
    """
    wanted = _wanted(asked)

    def read(cell_db: Database) -> _Page:
        servers = vitals.list_watched(cell_db, wanted)
        return _Page(servers, vitals.told_by(cell_db, {server.host for server in servers}))

    found = gather(asked.services.cells, read)
    everybody = [server for page in found.answers.values() for server in page.servers]
    servers = sorted(everybody, key=lambda server: server.uuid)[: wanted.limit]
    told = {host: told for page in found.answers.values() for host, told in page.told.items()}
    here = {server.host for server in servers} & told.keys()
    seen = {one.instance_uuid: one for host in here for one in told[host].servers}
    body: dict[str, Any] = {
        "vitals": [fleet_vitals.line(server, seen.get(server.uuid)) for server in servers],
        "hosts": [_totals(host, told[host]) for host in sorted(here)],
        "silent": sorted(asked.services.cells.get(cell).name for cell in found.silent),
    }
    if len(servers) == wanted.limit:
        body["next_marker"] = servers[-1].uuid
    return Answer(body)


def _wanted(asked: Asked) -> VitalsQuery:
    host, project, marker = asked.one("host"), asked.one("project"), asked.one("marker")
    return VitalsQuery(
        host=None if host is None else HostName(host),
        project=None if project is None else ProjectId(project),
        after=None if marker is None else InstanceUuid(marker),
        limit=whole(asked.one("limit") or _USUAL, "limit", low=1, high=_MOST),
    )


def _totals(host: HostName, told: HostVitals) -> dict[str, Any]:
    return {"host": host, "at": told.at, "used": told.used, "reserved": told.reserved}


ROUTES = (Route("GET", "/vitals", "kilonova:vitals:list", list_vitals, query=_QUERY),)
