"""Brings the moves of a cell from one stage to the next, and tells the host that has to act.

What is claimed is changed before the stage is, by comparing what both held when the stage was looked at.
So whoever comes late changes neither, and whoever dies in between is followed by one who does it again.
Claims are the same through several stages, though: who gave up a host that answered after all, and stood
still meanwhile, may change them late. The converger finds claims that are not their servers' size.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET

from kilonova.conductor import move_plan
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.errors import Conflict, GenerationConflict, KilonovaError
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.migration import ACTS, Kind, Migration, Moved, MoveReport, Stage
from kilonova.core.report import InstanceReport
from kilonova.core.scheduling import Allocation, Destination
from kilonova.core.states import PowerState
from kilonova.db import instances, moves
from kilonova.db.engine import Database
from kilonova.db.hosts import Silence
from kilonova.db.moves import Next
from kilonova.placement.client import Claim, Holding, Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import MoveInstance

LOG = logging.getLogger(__name__)

Seen = dict[str, Holding]
_TRIES = 5


class CellMoves:
    """The moves of one cell."""

    def __init__(self, cell_db: Database, bus: Bus, placement: Placement) -> None:
        self._cell_db = cell_db
        self._bus = bus
        self._placement = placement

    # ---- what hosts say

    def hear(self, report: InstanceReport) -> None:
        """Do what follows from a host's word, which is taken already.

        Raises:
            PlacementUnavailable, DatabaseUnavailable: it will be said again.
        """
        said = report.move
        if said is None or said.moved in (Moved.BEGUN, Moved.GOES_ON):
            return
        seen = self.seen(said.migration, report.instance_uuid)
        migration = moves.get(self._cell_db, said.migration)
        if migration is None or (migration.stage, migration.attempt) != (said.stage, said.attempt):
            return
        if said.moved is Moved.DONE:
            self._done(migration, report, seen)
        elif not self._try_next(migration, said, seen):
            self._failed(migration, said, seen)

    def seen(self, migration: str, server: InstanceUuid) -> Seen:
        """Return what a migration and its server hold. Look at their stage after that, not before."""
        return {one: self._placement.holding(one) for one in (migration, server)}

    def _done(self, migration: Migration, report: InstanceReport, seen: Seen) -> None:
        power = PowerState.NOSTATE if report.power_state is UNSET else report.power_state
        nics = None if report.nics is UNSET else report.nics
        berth = report.move.berth if report.move else None
        arrived = move_plan.Arrived(power=power, nics=nics, berth=berth)
        self._claim_after(migration, seen)
        self.change(migration, lambda m, i: move_plan.done(m, i, arrived, utcnow()))

    def _claim_after(self, migration: Migration, seen: Seen) -> None:
        """Have claimed what is when the acting host has done its part."""
        if migration.stage is Stage.UNDOING:
            self.claim(migration, (migration.source_allocation, {}), seen)
        elif migration.stage in (Stage.CLEARING, Stage.ABANDONING):
            shelved = migration.kind is Kind.SHELVE
            left = migration.instance_uuid if shelved else migration.consumer
            self._placement.free([left])

    def _failed(
        self, migration: Migration, said: MoveReport, seen: Seen, silent: Silence | None = None
    ) -> bool:
        after = move_plan.failed_stage(move_plan.heard(migration, said))
        if after is migration.stage:
            # It cannot be removed yet; the converger sends it on after a while.
            return False
        claimed = migration.destination is not None and migration.stage is not Stage.RESTORING
        if claimed and after in (Stage.RESTORING, Stage.ENDED):
            self.claim(migration, (migration.source_allocation, {}), seen)
        return (
            self.change(
                migration, lambda m, i: move_plan.failed(m, i, said, utcnow()), silent=silent
            )
            is not None
        )

    def _try_next(self, migration: Migration, said: MoveReport, seen: Seen) -> bool:
        """Send a server to the next alternate that has room; False if there is none."""
        if said.moved is Moved.CANCELLED or not move_plan.may_go_elsewhere(migration):
            return False
        LOG.info("%s: %s: %s", migration.instance_uuid, migration.stage, said.reason)
        left = list(migration.alternates)
        while left:
            chosen = left.pop(0)
            if self.claim_for(migration, chosen, seen):
                to = (chosen, tuple(left))
                self.change(migration, lambda m, i: move_plan.begin(m, i, to, utcnow()))  # noqa: B023
                return True
        return False

    # ---- claims

    def claim_for(self, migration: Migration, chosen: Destination, seen: Seen) -> bool:
        """Claim a destination for a server and leave to the migration what the source is; False if full.

        Raises:
            GenerationConflict: somebody else changed what they hold.
        """
        try:
            self.claim(migration, (chosen.allocation, migration.source_allocation), seen)
        except GenerationConflict:
            raise
        except Conflict as error:
            LOG.info("%s: %s is full: %s", migration.instance_uuid, chosen.host, error)
            return False
        return True

    def claim(
        self, migration: Migration, wanted: tuple[Allocation, Allocation], seen: Seen
    ) -> None:
        """Let a server and its migration hold what is said, all at once.

        Raises:
            PlacementUnavailable, GenerationConflict, Conflict: as ``Placement.exchange``.
        """
        self._placement.exchange(claims_of(migration, wanted), seen)

    def forget(self, migration: Migration) -> None:
        """Give back what was claimed for a move that has ended meanwhile, as its server is deleted."""
        now = moves.get(self._cell_db, migration.uuid)
        ended = now is not None and now.stage is Stage.ENDED
        if ended and instances.get(self._cell_db, migration.instance_uuid) is None:
            self._placement.free([migration.instance_uuid, migration.consumer])

    # ---- stages

    def change(
        self,
        migration: Migration,
        step: moves.Step,
        *,
        driver: str | None = None,
        record: InstanceAction | None = None,
        silent: Silence | None = None,
    ) -> Next | None:
        """Bring a migration to its next stage, and tell whoever has to act; None as ``moves.change``."""
        found = moves.change(
            self._cell_db, migration, step, driver=driver, record=record, silent=silent
        )
        if found is None:
            return None
        after = found.migration
        LOG.info(
            "%s: %s of %s, now %s",
            *(after.instance_uuid, after.kind, after.source_host, after.stage),
        )
        server = found.instance or instances.get(
            self._cell_db, after.instance_uuid, with_deleted=True
        )
        if server is not None:
            self.tell(after, server)
        return found

    def tell(self, migration: Migration, server: Instance) -> None:
        """Tell the host that has to act; what is lost is told again by the converger."""
        host = migration.acting()
        if host is None:
            return
        context = msgspec.structs.replace(
            service_context(migration.request_id),
            user_id=migration.user_id,
            project_id=migration.project_id,
        )
        sized = msgspec.structs.replace(server, flavor=migration.acting_flavor)
        if migration.kind is Kind.UNSHELVE and migration.image is not None:
            sized = msgspec.structs.replace(sized, image=migration.image)
        message = MoveInstance(migration=migration, instance=sized)
        try:
            self._bus.cast(context, message, host=host)
        except KilonovaError as error:
            LOG.warning("%s: its move waits for the converger: %s", server.uuid, error)

    # ---- deletes

    def leave_behind(self, gone: Sequence[InstanceUuid], host: str) -> tuple[Migration, ...]:
        """See to it that nothing stays of moves whose servers are deleted; return those that are over.

        The claims of what another host still has go to the migration, until that host has removed it.

        Raises:
            PlacementUnavailable, Conflict: the host will say again that they are gone.
        """
        over = []
        for left in moves.unfinished(self._cell_db, gone):
            after = self._leave_one(left.uuid, left.instance_uuid, host)
            if after is not None and after.stage is Stage.ENDED:
                over.append(after)
        return tuple(over)

    def _leave_one(self, uuid: str, server: InstanceUuid, host: str) -> Migration | None:
        """Leave one move behind; it may be going on at this very moment, but only by a stage or two."""
        for _ in range(_TRIES):
            seen = self.seen(uuid, server)
            left = moves.get(self._cell_db, uuid)
            if left is None or left.stage is Stage.ENDED:
                return None
            after = move_plan.without_server(left, host, utcnow())
            if after is left:
                return None
            try:
                if after.stage is not Stage.ENDED:
                    self.claim(left, ({}, after.allocation_of(ACTS[after.stage])), seen)
            except GenerationConflict:
                continue
            if self._leave(left, after):
                return after
        raise Conflict("The migration goes on.")

    def _leave(self, left: Migration, after: Migration) -> bool:
        def step(_migration: Migration, _server: Instance) -> Next:
            return Next(migration=after, over=True)

        return self.change(left, step) is not None

    # ---- what stands still

    def again(self, migration: Migration, now: datetime) -> bool:
        """Tell the host that has to act again; False if there is nothing to be done."""
        server = instances.get(self._cell_db, migration.instance_uuid, with_deleted=True)
        if server is None:
            return False
        moves.touch(self._cell_db, migration, now)
        self.tell(migration, server)
        return True

    def resume(self, host: HostName) -> None:
        """Tell a host that was restarted what it has to do, which it may have been doing."""
        now = utcnow()
        for migration in moves.due_at(self._cell_db, host):
            LOG.info("%s: %s goes on on %s", migration.instance_uuid, migration.stage, host)
            self.again(migration, now)

    def fail_for(self, migration: Migration, why: str, silent: Silence) -> bool:
        """Go on as if a silent host had said that it cannot do its part; False if it is heard again, or
        has done it."""
        seen = self.seen(migration.uuid, migration.instance_uuid)
        said = MoveReport(
            migration=migration.uuid,
            stage=migration.stage,
            attempt=migration.attempt,
            moved=Moved.FAILED,
            reason=why,
        )
        if self._try_next(migration, said, seen):
            return True
        sends = migration.stage is Stage.SENDING
        undone = move_plan.failed_stage(migration) is Stage.UNDOING
        return self._failed(migration, said, seen, silent if sends or undone else None)

    def pass_over(self, migration: Migration, silent: Silence) -> bool:
        """Go on as if a silent host had done its part; False if it is heard again, or has done it."""
        seen = self.seen(migration.uuid, migration.instance_uuid)
        self._claim_after(migration, seen)

        def step(passed: Migration, server: Instance) -> Next:
            if passed.stage is Stage.SENDING:
                passed = msgspec.structs.replace(passed, unsent=True)
            as_known = move_plan.Arrived(power=server.power_state)
            return move_plan.done(passed, server, as_known, utcnow())

        return self.change(migration, step, silent=silent) is not None


def claims_of(migration: Migration, wanted: tuple[Allocation, Allocation]) -> list[Claim]:
    """Return the claims by which a server and its migration hold what is said."""
    owned = [
        (migration.instance_uuid, "INSTANCE", wanted[0]),
        (migration.consumer, "MIGRATION", wanted[1]),
    ]
    return [
        Claim(
            consumer=consumer,
            project_id=migration.project_id,
            user_id=migration.user_id,
            allocation=allocation,
            consumer_type=kind,
        )
        for consumer, kind, allocation in owned
    ]
