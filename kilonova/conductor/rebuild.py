"""Gives a build that cannot go on to another host, or anew to its own, without scheduling again.

Always in this order: its epoch is ended in the cell's database, so that nobody acts for it any more; the
claim is made under the next epoch, which fences off whoever claimed before; the server is moved; its host
is told. Whatever breaks off on the way leaves a build that nobody began, and is done again from the start.
"""

import logging
from collections.abc import Sequence

import msgspec

from kilonova.conductor import plan
from kilonova.conductor.notices import Notices
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import Fenced, KilonovaError
from kilonova.core.instance import ActionEvent, Fault, Instance
from kilonova.core.report import Tried
from kilonova.core.scheduling import Allocation, Destination
from kilonova.db import builds
from kilonova.db.engine import Database
from kilonova.placement.client import Claim, Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import BuildInstance

LOG = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True):
    """Where a build goes on (None: no host had room), and what was tried for it."""

    destination: Destination | None
    tries: tuple[ActionEvent, ...]


class Rebuild:
    """Acts for the servers of one cell."""

    def __init__(self, cell_db: Database, bus: Bus, placement: Placement, notices: Notices) -> None:
        self._cell_db = cell_db
        self._bus = bus
        self._placement = placement
        self._notices = notices

    def end(self, instance: Instance, *, unbegun: bool = False) -> Instance | None:
        """End a build, with ``unbegun`` only if no host began it; return the server under the next epoch.

        None if somebody else has acted for it: then there is nothing to do.
        """
        if not builds.raise_epoch(
            self._cell_db, instance.uuid, instance.epoch, utcnow(), unbegun=unbegun
        ):
            return None
        return msgspec.structs.replace(instance, epoch=instance.epoch + 1)

    def start(
        self,
        context: RequestContext,
        waiting: Instance,
        candidates: Sequence[Destination],
        *,
        again: bool = False,
    ) -> Started:
        """Build a server whose build was ended on the first of these hosts that has room.

        ``again`` says that it is sent once more because nothing was heard of it.

        Raises:
            Fenced: somebody else has acted for it.
            PlacementUnavailable, BusUnavailable: it is still to be done.
        """
        tries: list[ActionEvent] = []
        for index, chosen in enumerate(candidates):
            began = utcnow()
            refused = self._placement.claim([_claim(waiting, chosen.allocation)])
            now = utcnow()
            if again and not refused:
                tries.append(plan.sent_again(chosen, now))
            else:
                tries.append(plan.claimed(chosen, began, now, refused.get(waiting.uuid)))
            if not refused:
                self._send(context, waiting, candidates[index:], tries)
                return Started(chosen, tuple(tries))
        return Started(None, tuple(tries))

    def _send(
        self,
        context: RequestContext,
        waiting: Instance,
        left: Sequence[Destination],
        tries: Sequence[ActionEvent],
    ) -> None:
        """Give a server to the first of the hosts that are left, where its claim stands."""
        now = utcnow()
        tried = Tried(request_id=context.request_id, events=tuple(tries))
        if not builds.move(self._cell_db, (waiting.uuid, waiting.epoch), left, now, tried):
            # It may be deleted by now: then nobody else gives this back.
            self._placement.claim([_claim(waiting, {})])
            raise Fenced(f"Somebody else has acted for {waiting.uuid}.")
        chosen = left[0]
        moved = msgspec.structs.replace(plan.at(waiting, chosen, waiting.epoch, now), nics=())
        message = BuildInstance(instance=moved, destination=chosen, alternates=tuple(left[1:]))
        self._bus.cast(context, message, host=chosen.host)

    def give_up(self, instance: Instance, fault: Fault, tried: Tried | None) -> bool:
        """Put a server into ERROR, and give back what it holds; False if somebody else acted for it.

        What cannot be given back now is by the converger.
        """
        if not builds.fail(self._cell_db, instance.uuid, instance.epoch, fault, tried):
            return False
        self._notices.tell_given_up(instance, tried.request_id if tried else None, fault)
        try:
            self.free(msgspec.structs.replace(instance, epoch=instance.epoch + 1))
        except KilonovaError as error:
            LOG.warning("%s keeps its claim for now: %s", instance.uuid, error)
        return True

    def free(self, failed: Instance) -> None:
        """Give back what a server without a host holds.

        Raises:
            PlacementUnavailable: it is still to be done.
            Fenced: somebody has claimed for it since.
        """
        self._placement.claim([_claim(failed, {})])
        builds.note_freed(self._cell_db, failed.uuid, failed.epoch)


def _claim(instance: Instance, allocation: Allocation) -> Claim:
    return Claim(
        consumer=instance.uuid,
        project_id=instance.project_id,
        user_id=instance.user_id,
        allocation=allocation,
        fence=instance.epoch,
    )
