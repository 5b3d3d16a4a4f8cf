"""Finds destinations for servers that are to move: asks the scheduler, and exchanges claims."""

import logging
import queue
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
from oslo_config import cfg

from kilonova.conductor import move_plan, plan
from kilonova.conductor.cell_moves import CellMoves, Seen
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, log_under, service_context
from kilonova.core.errors import GenerationConflict, KilonovaError
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.instance import Fault, Instance
from kilonova.core.migration import Kind, Migration
from kilonova.core.scheduling import Decision, Destination, RequestSpec
from kilonova.core.states import TaskState
from kilonova.db import host_fences, instances, moved_parts, moves, request_specs
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import Destinations, SelectDestinations, StartMove

LOG = logging.getLogger(__name__)

_ROUNDS = 3
"""Times that the scheduler is asked again because whatever it named had filled up."""
_SCHEDULING_TIMEOUT = 55.0
_PATIENCE = timedelta(seconds=20)
"""How long a server that could go nowhere else waits for a host to be rid of what it left there."""
_PAUSE = 0.5


class MoveStarter:
    """Starts moves, in threads of its own."""

    def __init__(
        self, conf: cfg.ConfigOpts, collaborators: tuple[Database, Cells, Buses, Placement]
    ) -> None:
        self._api_db, self._cells, self._buses, self._placement = collaborators
        self._alternates = conf.scheduler.max_attempts - 1
        self._timeout = conf.instance_build_timeout
        self._token = str(uuid.uuid4())
        self._arrived: queue.SimpleQueue[StartMove | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, threads: int = 2) -> None:
        """Begin."""
        for number in range(threads):
            thread = threading.Thread(target=self._run, name=f"move-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what is in hand. The rest is driven by another."""
        for _ in self._threads:
            self._arrived.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def take_note(self, message: StartMove) -> None:
        """Take note of a server to move."""
        self._arrived.put(message)

    def _run(self) -> None:
        while (message := self._arrived.get()) is not None:
            try:
                self.drive(message.cell_uuid, message.migration)
            except KilonovaError as error:
                LOG.warning("Migration %s waits for the converger: %s", message.migration, error)
            except Exception:
                LOG.exception("Starting migration %s failed", message.migration)

    def of_cell(self, cell: CellUuid) -> CellMoves:
        """Return the moves of a cell."""
        bus = self._buses.at(self._cells.get(cell).transport_url)
        return CellMoves(self._cells.database(cell), bus, self._placement)

    def drive(self, cell: CellUuid, migration_uuid: str) -> None:
        """Give a move a destination, or end it because there is none.

        Raises:
            KilonovaError: it is driven again later.
        """
        database = self._cells.database(cell)
        taken = moves.take(database, migration_uuid, self._token, utcnow())
        if taken is None:
            return
        server = instances.get(database, taken.instance_uuid)
        if server is None or server.task_state == TaskState.DELETING:
            # Whoever deletes it ends this, too.
            return
        log_under(_context_of(taken))
        try:
            if not taken.builds and taken.source_host in host_fences.surely_dead(database):
                why = Fault(
                    code=500, message="The host of the server is dead.", created_at=utcnow()
                )
                self._end(self.of_cell(cell), taken, why, why.created_at)
                settled = True
            else:
                settled = self._send(cell, taken, server)
        except KilonovaError:
            moves.release(database, migration_uuid, self._token)
            raise
        if not settled:
            moves.release(database, migration_uuid, self._token)
            self._drive_later(StartMove(cell_uuid=cell, migration=migration_uuid))

    def _drive_later(self, message: StartMove) -> None:
        timer = threading.Timer(_PAUSE, self._arrived.put, (message,))
        timer.daemon = True
        timer.start()

    def _send(self, cell: CellUuid, taken: Migration, server: Instance) -> bool:
        """Settle where a move goes; False if there may be a host when an earlier move is cleared away."""
        here, began = self.of_cell(cell), utcnow()
        migration, seen = self._as_it_was(here, taken)
        why: Fault | None = None
        dirty = moved_parts.being_cleared(self._cells.database(cell), server.uuid)
        for spec in self._wishes(cell, migration, server, dirty):
            for _ in range(_ROUNDS):
                decision = self._ask(migration, spec)
                if decision.destination is None:
                    why = plan.no_valid_host(decision.no_host, utcnow())
                    break
                if self._begin(here, migration, decision, seen, began):
                    return True
        awaited = migration.requested_host in dirty if migration.requested_host else bool(dirty)
        if awaited and utcnow() - migration.created_at < _PATIENCE:
            return False
        why = why or plan.no_valid_host(None, utcnow())
        self._end(here, migration, why, began)
        return True

    def _as_it_was(self, here: CellMoves, taken: Migration) -> tuple[Migration, Seen]:
        """Return a move of which nothing is claimed yet, and what its server holds.

        A driver that died may have claimed for it: that is given back.
        """
        seen = here.seen(taken.uuid, taken.instance_uuid)
        of_source = seen[taken.uuid].allocation
        if taken.kind is Kind.UNSHELVE:
            here.claim(taken, ({}, {}), seen)
            return taken, here.seen(taken.uuid, taken.instance_uuid)
        if of_source:
            migration = msgspec.structs.replace(taken, source_allocation=of_source)
            here.claim(migration, (of_source, {}), seen)
            return migration, here.seen(taken.uuid, taken.instance_uuid)
        held = seen[taken.instance_uuid].allocation
        return msgspec.structs.replace(taken, source_allocation=held), seen

    def _wishes(
        self, cell: CellUuid, migration: Migration, server: Instance, dirty: tuple[HostName, ...]
    ) -> Iterator[RequestSpec]:
        """Yield what the scheduler is asked, one after the other, until there is a host.

        A server that changes its size stays on its host if that has room: then nothing has to be copied.
        """
        stored = request_specs.spec_of(self._api_db, server.uuid)
        if stored is None:
            stored = RequestSpec(
                project_id=server.project_id,
                user_id=server.user_id,
                flavor=server.flavor,
                image=server.image,
            )
        zone = server.wishes.pinned_zone
        spec = msgspec.structs.replace(
            stored,
            flavor=migration.new_flavor,
            availability_zone=zone or stored.availability_zone,
            forced_host=migration.requested_host,
            forced_node=None,
            moves_from=cell,
            unjudged=migration.forced,
        )
        may_stay = migration.kind is Kind.RESIZE and migration.requested_host is None
        if may_stay and migration.source_host not in dirty:
            yield msgspec.structs.replace(spec, forced_host=migration.source_host)
        others = tuple(sorted({migration.source_host, *dirty} - {""}))
        yield msgspec.structs.replace(spec, ignored_hosts=others)

    def _ask(self, migration: Migration, spec: RequestSpec) -> Decision:
        message = SelectDestinations(
            spec=spec,
            instance_uuids=(migration.instance_uuid,),
            alternates=0 if migration.requested_host else self._alternates,
            dry_run=True,
        )
        answer = self._buses.default().call(
            _context_of(migration), message, Destinations, timeout=_SCHEDULING_TIMEOUT
        )
        return answer.decisions[0]

    def _begin(
        self,
        here: CellMoves,
        migration: Migration,
        decision: Decision,
        seen: Seen,
        began: datetime,
    ) -> bool:
        """Claim the first of the hosts that has room, and begin; False if none has.

        ``began`` is when a host was first looked for.
        """
        left = [one for one in (decision.destination, *decision.alternates) if one is not None]
        while left:
            chosen = left.pop(0)
            try:
                if here.claim_for(migration, chosen, seen):
                    self._change(here, migration, (chosen, tuple(left)), began)
                    return True
            except GenerationConflict:
                LOG.info("Migration %s is another's by now", migration.uuid)
                return True
        return False

    def _change(
        self,
        here: CellMoves,
        migration: Migration,
        to: tuple[Destination, tuple[Destination, ...]],
        began: datetime,
    ) -> None:
        def step(accepted: Migration, server: Instance) -> moves.Next:
            known = msgspec.structs.replace(accepted, source_allocation=migration.source_allocation)
            now = utcnow()
            found = move_plan.begin(known, server, to, now)
            return msgspec.structs.replace(found, events=move_plan.choice(known, began, now))

        if here.change(migration, step, driver=self._token) is None:
            here.forget(migration)

    def _end(self, here: CellMoves, migration: Migration, why: Fault, began: datetime) -> None:
        LOG.info("%s stays on %s: %s", migration.instance_uuid, migration.source_host, why.message)

        def step(accepted: Migration, server: Instance) -> moves.Next:
            now = utcnow()
            found = move_plan.refused(accepted, server, why, now)
            return msgspec.structs.replace(
                found, events=move_plan.choice(accepted, began, now, why)
            )

        here.change(migration, step, driver=self._token)


def _context_of(migration: Migration) -> RequestContext:
    return msgspec.structs.replace(
        service_context(migration.request_id),
        user_id=migration.user_id,
        project_id=migration.project_id,
    )
