"""Shares on the way to or from a server of which nothing was heard: their host is told once more.

The server's row says what is to be done, and every order about a share may be given twice. Of a server
without a host there is nobody to tell: what it leaves is let go here.
"""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs import leftovers
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance
from kilonova.core.orders import AttachShare, DetachShare
from kilonova.core.share import UNDER_WAY, ShareStage
from kilonova.db import shares
from kilonova.rpc.messages import ActOnInstance


def standing_still(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers to or from which shares are on the way, and whose host says nothing of them."""
    for server in shares.standing_still(scene.database(cell), utcnow() - patience.NOT_ATTACHED):
        yield Finding(server.uuid, "a share stands still", partial(_bring_on, scene, cell, server))


def _bring_on(scene: Scene, cell: CellUuid, server: Instance) -> str | None:
    shares.touch(scene.database(cell), [server.uuid], utcnow())
    going = [share for share in server.shares if share.stage in UNDER_WAY]
    if server.host is None:
        for share in going:
            leftovers.free_share(scene, cell, server, share)
        return "let go, as it is on no host"
    for share in going:
        comes = share.stage is ShareStage.ATTACHING
        order = (AttachShare if comes else DetachShare)(share_id=share.share_id)
        message = ActOnInstance(instance=server, order=order)
        scene.bus(cell).cast(service_context(share.request_id), message, host=server.host)
    return f"told {server.host} again"
