"""``os-server-external-events``: what other services say reaches the host that has the server."""

import uuid as uuids
from collections import defaultdict
from typing import Any

from kilonova.api import volume_events
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas.server_actions import EXTERNAL_EVENTS
from kilonova.core.errors import NotFound
from kilonova.core.external_event import NEEDS_TAG, ExternalEvent
from kilonova.core.ids import CellUuid, HostName, InstanceUuid
from kilonova.db import cells, hosted
from kilonova.rpc.messages import TakeExternalEvents

_GROWN = "volume-extended"
_Place = tuple[CellUuid, HostName | None]


def create(asked: Asked) -> Answer:
    """Pass events on. 200 if all of them went; 207, and each event's own code, if some did not.

    Raises:
        NotFound: none of them could be passed on.
        Unavailable: the bus of a cell does not answer; the events may be sent again.
    """
    events = [_event(one) for one in asked.body["events"]]
    places = _places(asked, [event.server_uuid for event in events])
    codes = [_code(event, places) for event in events]
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


def _places(asked: Asked, uuids: list[InstanceUuid]) -> dict[InstanceUuid, _Place]:
    """Return the cell and the host of each server that has a cell."""
    places: dict[InstanceUuid, _Place] = {}
    by_cell: defaultdict[CellUuid, list[InstanceUuid]] = defaultdict(list)
    for uuid, cell in cells.cells_of(asked.services.api_db, uuids).items():
        by_cell[cell].append(uuid)
    for cell, members in by_cell.items():
        found = hosted.hosts_of(asked.services.cells.database(cell), members)
        places |= {uuid: (cell, host) for uuid, host in found.items()}
    return places


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
