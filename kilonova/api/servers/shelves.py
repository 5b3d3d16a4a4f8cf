"""Shelving: a server becomes an image and leaves its host, and is made of that image again, anywhere.

A server is offloaded as soon as it is shelved, so there is none that is shelved and still on its host.
"""

import logging
from typing import Any

import msgspec

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Act, Answer, Asked
from kilonova.api.schemas import moves as schemas
from kilonova.api.schemas.servers import NO_ARGUMENTS
from kilonova.api.servers import wishes
from kilonova.api.servers.images import make_image
from kilonova.api.servers.moves import Wanted, begin_move, start, tell
from kilonova.api.servers.tasks import (
    check_state,
    check_unlocked,
    find_free,
    placed,
    refused,
)
from kilonova.core.block_devices import boots_from_volume
from kilonova.core.context import service_context
from kilonova.core.errors import Conflict, Invalid, KilonovaError, NotFound
from kilonova.core.ids import HostName
from kilonova.core.image import Image
from kilonova.core.instance import Located
from kilonova.core.migration import Kind
from kilonova.core.states import Action
from kilonova.db import hosts, instances, request_specs

LOG = logging.getLogger(__name__)

_RULE = "os_compute_api:os-shelve"


def shelve(asked: Asked, server_id: str) -> Answer:
    """``shelve``: an image is made at once, without data, and the host fills it and lets go."""
    located = find_free(asked, server_id, Action.SHELVE)
    server = located.instance
    if boots_from_volume(server.wishes):
        # Its volume is all that there is of it.
        tell(asked, located, begin_move(asked, located, Wanted(kind=Kind.SHELVE)))
        return Answer(status=202)
    wanted = {"name": f"{server.name}-shelved"}
    image_id = make_image(asked, server, wanted, {"image_type": "snapshot"})
    try:
        migration = begin_move(
            asked, located, Wanted(kind=Kind.SHELVE, image=Image(image_id=image_id))
        )
    except KilonovaError:
        asked.services.images.delete(image_id)
        raise
    tell(asked, located, migration)
    return Answer(status=202)


def shelve_offload(asked: Asked, server_id: str) -> Answer:
    """``shelveOffload``: refused, as every shelved server is off its host already.

    Raises:
        WrongState: always, for a server that is there.
    """
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    state = f"vm_state {located.instance.vm_state}"
    raise refused(located.instance, Action.SHELVE_OFFLOAD, state)


def unshelve(asked: Asked, server_id: str) -> Answer:
    """``unshelve``; from 2.77 into a zone, from 2.91 onto a host, or out of the zone it was pinned to."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    check_state(located.instance, Action.UNSHELVE)
    body = (asked.body["unshelve"] or {}) if asked.version in Since.UNSHELVE_TO_ZONE else {}
    host = _host(asked, located, body.get("host"))
    _pin(asked, located, body)
    from_volume = boots_from_volume(located.instance.wishes)
    image = None if from_volume else _shelved(asked, located)
    wanted = Wanted(kind=Kind.UNSHELVE, host=host, image=image)
    migration = begin_move(asked, located, wanted)
    start(asked, located, migration)
    return Answer(status=202)


def _host(asked: Asked, located: Located, name: str | None) -> HostName | None:
    if name is None:
        return None
    asked.authorize(f"{_RULE}:unshelve_to_host")
    _, cell = placed(located, Action.UNSHELVE)
    database = asked.services.cells.database(cell)
    if not hosts.list_services(database, binary=hosts.COMPUTE, host=name):
        raise Invalid(f"Compute host {name} could not be found.")
    return HostName(name)


def _pin(asked: Asked, located: Located, body: dict[str, Any]) -> None:
    """Pin the server to the zone that it is wanted in, or let it go from the one that it is pinned to."""
    if "availability_zone" not in body:
        return
    server, cell = placed(located, Action.UNSHELVE)
    zone = body["availability_zone"]
    if zone is not None:
        wishes.check_zone(asked, zone)
    request_specs.pin(asked.services.api_db, server.uuid, zone)
    instances.wish(asked.services.cells.database(cell), server.uuid, {"pinned_zone": zone})


def _shelved(asked: Asked, located: Located) -> Image:
    """Return the image that the server has become.

    Raises:
        Conflict: it is gone.
    """
    server = located.instance
    missing = Conflict(f"The image of the shelved server {server.uuid} is gone.")
    if server.shelved_image is None:
        raise missing
    try:
        found = asked.services.images.get(service_context(), server.shelved_image)
    except NotFound as error:
        raise missing from error
    own = server.image.properties if server.image else {}
    return msgspec.structs.replace(found, properties=own)


ACTS = {
    "shelve": Act(f"{_RULE}:shelve", shelve, NO_ARGUMENTS),
    "shelveOffload": Act(f"{_RULE}:shelve_offload", shelve_offload, NO_ARGUMENTS),
    "unshelve": Act(f"{_RULE}:unshelve", unshelve, schemas.UNSHELVE),
}
