"""Orders about network cards of which nothing was heard: the server's host is told once more.

The cell keeps each until it has ended, and every one may be given twice. A server without a host has no
guest to which a card could come: it gets all its ports when it is on one again.
"""

from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.ids import CellUuid
from kilonova.core.orders import DetachInterface
from kilonova.db import card_orders
from kilonova.db.card_orders import KeptOrder
from kilonova.http.network_cards import release
from kilonova.rpc.messages import ActOnInstance


def standing_still(scene: Scene, cell: CellUuid) -> Iterator[Finding]:
    """Find servers to or from which cards are on the way, and whose host says nothing of them."""
    since = utcnow() - patience.NOT_ATTACHED
    for kept in card_orders.standing_still(scene.database(cell), since):
        yield Finding(
            kept.server.uuid, "a card stands still", partial(_bring_on, scene, cell, kept)
        )


def _bring_on(scene: Scene, cell: CellUuid, kept: KeptOrder) -> str | None:
    server = kept.server
    if server.host is None:
        if isinstance(kept.order, DetachInterface) and scene.networks is not None:
            release(scene.networks, server.uuid, (kept.order.port_id,))
        card_orders.end(scene.database(cell), kept, utcnow())
        return "done, as it is on no host"
    card_orders.touch(scene.database(cell), kept, utcnow())
    message = ActOnInstance(instance=server, order=kept.order)
    scene.bus(cell).cast(service_context(kept.request_id), message, host=server.host)
    return f"told {server.host} again"
