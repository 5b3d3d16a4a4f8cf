"""``os-server-external-events``: what other services say reaches the host that has the server."""

import uuid as uuids
from collections import defaultdict
from functools import partial
from typing import Any

from kilonova.api import volume_events
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.server_actions import EXTERNAL_EVENTS
from kilonova.core.errors import DatabaseUnavailable, NotFound
from kilonova.core.external_event import NEEDS_TAG, ExternalEvent
from kilonova.core.ids import CellUuid, HostName, InstanceUuid
from kilonova.db import cells, hosted
from kilonova.db.scatter import gather_from
from kilonova.rpc.messages import TakeExternalEvents

_GROWN = "volume-extended"
_Place = tuple[CellUuid, HostName | None]


def create(asked: Asked) -> Answer:
    """Pass events on. 200 if all of them went; 207, and each event's own code, if some did not.

    Raises:
        NotFound: none of them could be passed on.
        Unavailable: none of them could be, or a cell's bus does not answer; they may be sent again.
    """
    events = [_event(one) for one in asked.body["events"]]
    places, silent = _places(asked, [event.server_uuid for event in events])
    codes = [503 if e.server_uuid in silent else _code(e, places) for e in events]
    if 200 not in codes and silent:
        raise DatabaseUnavailable("The cells of these instances do not answer. Try again later.")
    if 200 not in codes:
        raise NotFound("No instances found for any event")
    _pass_on(asked, [e for e, code in zip(events, codes, strict=True) if code == 200], places)
    shown = [
        one | {"status": "completed" if code == 200 else "failed", "code": code}
        for one, code in zip(asked.body["events"], codes, strict=True)
    ]
    return Answer({"events": shown}, 200 if set(codes) == {200} else 207)


def _event(one: dict[str, Any]) -> ExternalEvent:
    return ExternalEvent(
        server_uuid=InstanceUuid(str(uuids.UUID(one["server_uuid"]))),
        name=one["name"],
        tag=one.get("tag"),
        status=one.get("status", "completed"),
    )


def _places(
    asked: Asked, uuids: list[InstanceUuid]
) -> tuple[dict[InstanceUuid, _Place], frozenset[InstanceUuid]]:
    """Return the cell and the host of each server that has a cell, and the servers whose cell is away."""
    services = asked.services
    by_cell: defaultdict[CellUuid, list[InstanceUuid]] = defaultdict(list)
    for uuid, cell in cells.cells_of(services.api_db, uuids).items():
        by_cell[cell].append(uuid)
    work = {cell: partial(hosted.hosts_of, uuids=members) for cell, members in by_cell.items()}
    found = gather_from(services.cells, work)
    places: dict[InstanceUuid, _Place] = {
        uuid: (cell, host) for cell, there in found.answers.items() for uuid, host in there.items()
    }
    return places, frozenset(uuid for cell in found.silent for uuid in by_cell[cell])


def _code(event: ExternalEvent, places: dict[InstanceUuid, _Place]) -> int:
    if event.server_uuid not in places:
        return 404
    if event.name in NEEDS_TAG and not event.tag:
        return 400
    return 422 if places[event.server_uuid][1] is None else 200


def _pass_on(asked: Asked, events: list[ExternalEvent], places: dict[InstanceUuid, _Place]) -> None:
    by_host: defaultdict[_Place, list[ExternalEvent]] = defaultdict(list)
    for event in events:
        by_host[places[event.server_uuid]].append(event)
    for event in events:
        if event.name == _GROWN:
            volume_events.extended(asked, event, places[event.server_uuid])
    for (cell, host), its in by_host.items():
        message = TakeExternalEvents(events=tuple(its))
        asked.services.cell_bus(cell).cast(asked.context, message, host=host)


ROUTES = (
    Route(
        "POST",
        "/os-server-external-events",
        "os_compute_api:os-server-external-events:create",
        create,
        body=EXTERNAL_EVENTS,
    ),
)
