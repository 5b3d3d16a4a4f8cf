"""``/servers/{server_id}/shares`` (from 2.97): file systems that come to a server, and go from it.

A share comes to a server that is shut down, and its guest has it from its next start on. What is under way
stands in the server's row; then its host gets an order, which is sent again if it is lost.
"""

import logging
import uuid as uuids
from typing import Any

import msgspec

from kilonova.api.find import find_server, missing
from kilonova.api.microversions import Since
from kilonova.api.parameters import closed
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.schemas.servers import UUID
from kilonova.api.servers.tasks import check_state, check_unlocked, placed, record_of
from kilonova.core import share as core
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, Forbidden, KilonovaError, NotFound
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.orders import AnyOrder, AttachShare, DetachShare
from kilonova.core.share import Share, ShareStage
from kilonova.core.states import Action
from kilonova.db import hosts, shares
from kilonova.db.hosts import NodeQuery
from kilonova.http.shares import StoredShare
from kilonova.rpc.messages import ActOnInstance

LOG = logging.getLogger(__name__)

_RULE = "os_compute_api:os-server-shares"
_TAG = {
    "type": "string",
    "minLength": 1,
    # More a guest could not be told.
    "maxLength": 36,
    "pattern": r"^[a-zA-Z0-9-]*\Z",
    "description": "letters, digits and hyphens",
}
_ATTACH = Schemas(
    {Since.SHARES: closed({"share": closed({"share_id": UUID, "tag": _TAG}, "share_id")}, "share")}
)

replace = msgspec.structs.replace


def index(asked: Asked, server_id: str) -> Answer:
    """``GET .../shares``."""
    server = find_server(asked, server_id).instance
    return Answer({"shares": [_summary(server, share) for share in server.shares]})


def show(asked: Asked, server_id: str, share_id: str) -> Answer:
    """``GET .../shares/{share_id}``."""
    server = find_server(asked, server_id).instance
    return Answer({"share": _details(asked, server, _found(server, share_id))})


def _summary(server: Instance, share: Share) -> dict[str, Any]:
    status = core.shown(share, server.power_state)
    return {"share_id": share.share_id, "status": status, "tag": share.tag}


def _details(asked: Asked, server: Instance, share: Share) -> dict[str, Any]:
    more = {"uuid": share.uuid, "export_location": share.export} if asked.is_admin else {}
    return _summary(server, share) | more


def _found(server: Instance, share_id: str) -> Share:
    for share in server.shares:
        if share.share_id == share_id:
            return share
    raise NotFound(f"Share {share_id} is not attached to instance {server.uuid}.")


def _changeable(asked: Asked, server_id: str, action: Action) -> tuple[Instance, CellUuid]:
    """Return a server to or from which shares may go now, and its cell."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    server, cell = placed(located, action)
    check_state(server, action)
    return server, cell


def attach(asked: Asked, server_id: str) -> Answer:
    """``POST .../shares``. Answers when the server has it; its host is let in after that."""
    wanted = asked.body["share"]
    server, cell = _changeable(asked, server_id, Action.ATTACH_SHARE)
    _check_host(asked, server, cell)
    found = asked.services.shares.get(str(uuids.UUID(wanted["share_id"])), asked.asker)
    _check_share(asked, server, found)
    share = Share(
        uuid=str(uuids.uuid4()),
        share_id=found.share_id,
        tag=wanted.get("tag", found.share_id),
        protocol=found.protocol,
        export=found.export,
        stage=ShareStage.ATTACHING,
        request_id=asked.context.request_id,
    )

    def added(now: Instance) -> tuple[Share, ...]:
        check_state(now, Action.ATTACH_SHARE)
        for one in now.shares:
            if one.share_id == share.share_id or one.tag == share.tag:
                raise Conflict(
                    f"Share '{share.share_id}' or tag '{share.tag}' is associated to this server already."
                )
        return (*now.shares, share)

    after = _change(asked, (server, cell), added, Action.ATTACH_SHARE)
    _cast(asked, (after, cell), AttachShare(share_id=share.share_id))
    return Answer({"share": _details(asked, after, share)}, status=201)


def _check_host(asked: Asked, server: Instance, cell: CellUuid) -> None:
    """Refuse what the server's host cannot do.

    Raises:
        Forbidden: its guests have no shares.
    """
    nodes = hosts.list_nodes(asked.services.cells.database(cell), NodeQuery(host=server.host))
    if not any(core.VIRTIO_FS in node.report.traits for node in nodes):
        raise Forbidden(f"Guests on the host of instance {server.uuid} cannot have shares.")


def _check_share(asked: Asked, server: Instance, found: StoredShare) -> None:
    """Refuse a share that the server cannot have.

    Raises:
        Forbidden: it is another project's, which only lets it be seen.
        Conflict: it is not ready, or cannot be mounted.
    """
    if found.project_id != server.project_id and not asked.is_admin:
        raise Forbidden(f"Share {found.share_id} is another project's.")
    if found.status != "available":
        raise Conflict(
            f"Share {found.share_id} is in '{found.status}' instead of 'available' status."
        )
    if not found.export:
        raise Conflict(f"Share {found.share_id} export location is missing.")
    if found.protocol not in core.PROTOCOLS:
        raise Conflict(f"Share protocol {found.protocol} is not supported.")


def detach(asked: Asked, server_id: str, share_id: str) -> Answer:
    """``DELETE .../shares/{share_id}``."""
    server, cell = _changeable(asked, server_id, Action.DETACH_SHARE)
    _found(server, share_id)

    def leaving(now: Instance) -> tuple[Share, ...]:
        check_state(now, Action.DETACH_SHARE)
        gone = _found(now, share_id)
        going = replace(gone, stage=ShareStage.DETACHING, request_id=asked.context.request_id)
        return tuple(going if one is gone else one for one in now.shares)

    after = _change(asked, (server, cell), leaving, Action.DETACH_SHARE)
    _cast(asked, (after, cell), DetachShare(share_id=share_id))
    return Answer()


def _change(
    asked: Asked, where: tuple[Instance, CellUuid], becomes: shares.Change, action: Action
) -> Instance:
    server, cell = where
    record = record_of(asked, server, action)
    database = asked.services.cells.database(cell)
    after = shares.change(database, server.uuid, becomes, utcnow(), record)
    if after is None:
        raise missing(server.uuid)
    return after


def _cast(asked: Asked, where: tuple[Instance, CellUuid], order: AnyOrder) -> None:
    """Tell the host. If it cannot be told now, or there is none, the converger goes on."""
    server, cell = where
    if server.host is None:
        return
    message = ActOnInstance(instance=server, order=order)
    try:
        asked.services.cell_bus(cell).cast(asked.context, message, host=server.host)
    except KilonovaError as error:
        LOG.warning("%s: its share waits for the converger: %s", server.uuid, error)


_ALL = "/servers/{server_id}/shares"
_ONE = _ALL + "/{share_id}"
ROUTES = (
    Route("GET", _ALL, f"{_RULE}:index", index, when=Since.SHARES),
    Route("POST", _ALL, f"{_RULE}:create", attach, body=_ATTACH, when=Since.SHARES),
    Route("GET", _ONE, f"{_RULE}:show", show, when=Since.SHARES),
    Route("DELETE", _ONE, f"{_RULE}:delete", detach, when=Since.SHARES),
)
