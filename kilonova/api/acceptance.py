"""Accepting servers: they are written down first, and only then is a conductor told.

Owns what requests that come at the same time share: one transaction, and one message.
"""

import logging
from collections.abc import Sequence

from kilonova.core.context import RequestContext
from kilonova.core.ids import InstanceUuid
from kilonova.core.quota import Limits
from kilonova.core.rounds import Rounds
from kilonova.db import acceptance
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.engine import Database
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import BuildServers

LOG = logging.getLogger(__name__)

_FEW = 10
"""Servers of a request that others share a transaction with: for more it would be a long one."""

_Told = tuple[RequestContext, Sequence[InstanceUuid]]


class Acceptance:
    """The requests for servers that one process of the API takes."""

    def __init__(self, api_db: Database, bus: Bus) -> None:
        self._api_db = api_db
        self._bus = bus
        self._written = Rounds(self._write)
        self._told = Rounds(self._tell)

    def write(self, accepted: Sequence[Accepted], limits: Limits) -> None:
        """Write the servers of a request down, all or none.

        Raises:
            QuotaExceeded, Invalid, DatabaseUnavailable: as ``kilonova.db.acceptance``.
        """
        lot = Lot(accepted, limits)
        if len(accepted) > _FEW or lot.group is not None:
            # Members of a group are counted under a lock on it, which others need not wait for.
            self._write([lot])
            return
        (error,) = self._written.carry_out([lot])
        if error is not None:
            raise error

    def tell(self, context: RequestContext, uuids: Sequence[InstanceUuid]) -> None:
        """Tell a conductor of servers that are written down.

        Accepted is accepted: if the bus is away the converger has them built.
        """
        (error,) = self._told.carry_out([(context, uuids)])
        if error is not None:
            request, count = context.request_id, len(uuids)
            LOG.warning("%s: %d servers wait for the converger: %s", request, count, error)

    def _write(self, lots: Sequence[Lot]) -> None:
        acceptance.accept(self._api_db, lots)

    def _tell(self, told: Sequence[_Told]) -> None:
        # The message names servers only, so that it matters little under which request it travels.
        everyone = tuple(uuid for _, uuids in told for uuid in uuids)
        self._bus.cast(told[0][0], BuildServers(instance_uuids=everyone))
