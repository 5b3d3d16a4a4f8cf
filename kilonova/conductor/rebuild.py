"""Gives a build that cannot go on to another host, or anew to its own, without scheduling again.

Always in this order: its epoch is ended in the cell's database, so that nobody acts for it any more; the
claim is made under the next epoch, which fences off whoever claimed before; the server is moved; its host
is told. Whatever breaks off on the way leaves a build that nobody began, and is done again from the start.
"""

import logging
from collections.abc import Sequence

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import Fenced
from kilonova.core.instance import Fault, Instance
from kilonova.core.scheduling import Allocation, Destination
from kilonova.core.states import TaskState, VmState
from kilonova.db import reports
from kilonova.db.engine import Database
from kilonova.placement.client import Claim, Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import BuildInstance

LOG = logging.getLogger(__name__)


class Rebuild:
    """Acts for the servers of one cell."""

    def __init__(self, cell_db: Database, bus: Bus, placement: Placement) -> None:
        self._cell_db = cell_db
        self._bus = bus
        self._placement = placement

    def end(self, instance: Instance, *, unbegun: bool = False) -> Instance | None:
        """End a build, with ``unbegun`` only if no host began it; return the server under the next epoch.

        None if somebody else has acted for it: then there is nothing to do.
        """
        if not reports.raise_epoch(
            self._cell_db, instance.uuid, instance.epoch, utcnow(), unbegun=unbegun
        ):
            return None
        return msgspec.structs.replace(instance, epoch=instance.epoch + 1)

    def start(
        self, context: RequestContext, waiting: Instance, candidates: Sequence[Destination]
    ) -> Destination | None:
        """Build a server whose build was ended on the first of these hosts that has room; None if none has.

        Raises:
            Fenced: somebody else has acted for it.
            PlacementUnavailable, BusUnavailable: it is still to be done.
        """
        for index, chosen in enumerate(candidates):
            if self._placement.claim([_claim(waiting, chosen.allocation)]):
                continue
            left = tuple(candidates[index:])
            if not reports.move(self._cell_db, waiting.uuid, waiting.epoch, left, utcnow()):
                # It may be deleted by now: then nobody else gives this back.
                self._placement.claim([_claim(waiting, {})])
                raise Fenced(f"Somebody else has acted for {waiting.uuid}.")
            message = BuildInstance(
                instance=_at(waiting, chosen), destination=chosen, alternates=left[1:]
            )
            self._bus.cast(context, message, host=chosen.host)
            return chosen
        return None

    def give_up(self, instance: Instance, fault: Fault) -> bool:
        """Put a server into ERROR, and give back what it holds; False if somebody else acted for it.

        Raises:
            PlacementUnavailable: it is in ERROR, and what it holds is still to be given back.
        """
        if not reports.fail(self._cell_db, instance.uuid, instance.epoch, fault):
            return False
        self.free(msgspec.structs.replace(instance, epoch=instance.epoch + 1))
        return True

    def free(self, failed: Instance) -> None:
        """Give back what a server without a host holds.

        Raises:
            PlacementUnavailable: it is still to be done.
            Fenced: somebody has claimed for it since.
        """
        self._placement.claim([_claim(failed, {})])
        reports.note_freed(self._cell_db, failed.uuid, failed.epoch)


def _claim(instance: Instance, allocation: Allocation) -> Claim:
    return Claim(
        consumer=instance.uuid,
        project_id=instance.project_id,
        user_id=instance.user_id,
        allocation=allocation,
        fence=instance.epoch,
    )


def _at(instance: Instance, chosen: Destination) -> Instance:
    return msgspec.structs.replace(
        instance,
        host=chosen.host,
        node=chosen.node,
        availability_zone=chosen.availability_zone,
        vm_state=VmState.BUILDING,
        task_state=TaskState.SCHEDULING,
    )
