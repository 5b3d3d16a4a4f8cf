"""Moves that stand still: each is sent on, or gone on with without a destination that is dead.

Its row says what is to be done, and every part of a move may be done twice.
"""

import logging
from datetime import timedelta

from oslo_config import cfg

from kilonova.conductor.move_starter import MoveStarter
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.ids import CellUuid
from kilonova.core.migration import Stage
from kilonova.db import hosts, instances, moves, resizes
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.messages import StartMove

LOG = logging.getLogger(__name__)

STANDS_STILL = timedelta(seconds=30)
"""A move of which nothing was heard for so long is sent on. Hosts say every ten that one is in hand."""


class MoveRepairs:
    """What the converger does about moves."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        collaborators: tuple[Database, Cells, Placement],
        starter: MoveStarter,
    ) -> None:
        self._api_db, self._cells, self._placement = collaborators
        self._starter = starter
        self._down_time = conf.service_down_time

    def send_on(self, cell: CellUuid) -> int:
        """Send on what stands still; return how many moves that were."""
        now = utcnow()
        database = self._cells.database(cell)
        stuck = moves.stuck(database, now - STANDS_STILL)
        if not stuck:
            return 0
        silent = hosts.silent_since(database, now - timedelta(seconds=self._down_time))
        here = self._starter.of_cell(cell)
        count = 0
        for move in stuck:
            if move.stage is Stage.ACCEPTED:
                message = StartMove(cell_uuid=cell, migration=move.uuid)
                self._starter.start_move(service_context(), message)
                moves.touch(database, move, now)
            elif not here.again(move, acts=move.acting() not in silent, now=now):
                continue
            LOG.info("Repair move: %s, %s on %s", move.instance_uuid, move.stage, move.acting())
            count += 1
        return count

    def settle(self, cell: CellUuid) -> None:
        """Let the top level know how moves ended: what servers count for, and what they need of a host.

        Of one that is deleted nothing is to be claimed, whoever came late.
        """
        database = self._cells.database(cell)
        late = utcnow() - moves.LEASE
        for move in moves.unsettled(database):
            server = instances.get(database, move.instance_uuid)
            if server is not None:
                resizes.resize(self._api_db, server.uuid, server.flavor)
            elif move.updated_at > late:
                # Somebody may be claiming for it still, who looked before it was deleted.
                continue
            else:
                self._placement.free([move.instance_uuid, move.consumer])
            moves.settle(database, move.uuid)
