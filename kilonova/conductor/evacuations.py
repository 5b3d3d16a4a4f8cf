"""Starts the servers of a dead host elsewhere, each by an evacuation like one that an operator asks for.

An evacuation is written in one transaction with the look whether the host is still silent and known to be
dead. From there it is a move like any other: whoever dies, its row says what is to be done next.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from kilonova.core import migration as mig
from kilonova.core import states
from kilonova.core.context import RequestContext, new_request_id, service_context
from kilonova.core.hardware import has_tpm
from kilonova.core.host_failure import Fence, Mode, again_after, wants
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import Instance, InstanceAction
from kilonova.core.migration import Kind, Migration, Stage
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db import actions, desired, host_fences, instances, moves, tasks
from kilonova.db.engine import Database

AT_ONCE = 50
"""Evacuations of a cell that may be under way by themselves: what more hosts can build at a time."""


_STAND_STILL = (VmState.PAUSED, VmState.SUSPENDED)
"""What a server is that runs nothing, and whose memory is lost with its host: it stays off elsewhere, like
one that is stopped."""


class Waiting(NamedTuple):
    """A server of a dead host that is to be elsewhere; ``refusal`` is why it cannot be, or empty."""

    server: Instance
    refusal: str


def is_waited_for(api_db: Database, cell_db: Database, host: HostName, mode: Mode) -> bool:
    """Whether a host has a server, be it half built or on its way there, that is not to die with it."""
    here = [
        server
        for server in instances.of_host(cell_db, host)
        if server.task_state is not TaskState.DELETING
        and server.vm_state is not VmState.SOFT_DELETED
    ]
    if any(wants(server, mode) for server in here):
        return True
    return bool(desired.among(api_db, [server.uuid for server in here]))


def to_move(
    api_db: Database, cell_db: Database, host: HostName, mode: Mode
) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    """Return the servers of a host that are to be evacuated if it is dead, and those that are desired.

    Desired servers are replaced by others, and not evacuated. What is being built, deleted or moved is left
    to those who do that; a server whose move only waits for this host is moved by nobody.
    """
    here = instances.of_host(cell_db, host)
    moving = {
        move.instance_uuid
        for move in moves.unfinished(cell_db, [server.uuid for server in here])
        if move.stage not in (Stage.CLEARING, Stage.RESTORING)
    }
    idle = [
        server
        for server in here
        if server.uuid not in moving
        and server.task_state is not TaskState.DELETING
        and server.vm_state not in (VmState.BUILDING, VmState.SOFT_DELETED)
    ]
    kept = desired.among(api_db, [server.uuid for server in idle])
    asked = tuple(one for one in idle if one.uuid not in kept and wants(one, mode))
    return asked, tuple(one for one in idle if one.uuid in kept)


def undecided(
    api_db: Database, cell_db: Database, host: HostName, mode: Mode
) -> tuple[tuple[Migration, Instance], ...]:
    """Return the resized servers of a host that are to be elsewhere if it is dead, with their moves: their
    old hosts have all of them still."""
    here = {one.uuid: one for one in instances.of_host(cell_db, host)}
    kept = desired.among(api_db, list(here))
    return tuple(
        (move, here[move.instance_uuid])
        for move in moves.unfinished(cell_db, list(here))
        if move.stage is Stage.FINISHED
        and move.chosen.host == host
        and move.instance_uuid not in kept
        and wants(here[move.instance_uuid], mode)
    )


def reversion(server: Instance, now: datetime) -> InstanceAction:
    """Return the record of a resize that is reverted because its server's host is dead."""
    told = _record(server, new_request_id(), now)
    return msgspec.structs.replace(told, action=Action.REVERT_RESIZE)


def due(
    cell_db: Database, fence: Fence, servers: Sequence[Instance], now: datetime
) -> tuple[Waiting, ...]:
    """Return the servers of a dead host of which something is to be done now.

    One that was evacuated in vain since the host fell silent waits longer each time. One that cannot be is
    named once.
    """
    tried = moves.evacuations_from(cell_db, fence.host, fence.since)
    told = actions.of_requests(cell_db, [(s.uuid, refused_as(fence, s.uuid)) for s in servers])
    found = []
    for server in servers:
        refusal = _refusal(server)
        if refusal:
            if (server.uuid, refused_as(fence, server.uuid)) not in told:
                found.append(Waiting(server, refusal))
        elif _again_at([one for one in tried if one.instance_uuid == server.uuid]) <= now:
            found.append(Waiting(server, ""))
    return tuple(found)


def _refusal(server: Instance) -> str:
    why = states.refusal(states.LEAVE_DEAD, server.vm_state, server.task_state)
    if why is None and server.launched_at is None:
        why = "it has never been active"
    if why is None and has_tpm(server.flavor, server.image):
        why = "only that host knows what its TPM remembers"
    return why or ""


def _again_at(tried: Sequence[Migration]) -> datetime:
    if not tried:
        return datetime.min
    return max(one.updated_at for one in tried) + again_after(len(tried))


def refused_as(fence: Fence, server: InstanceUuid) -> RequestId:
    """Return the request id under which it is recorded that a server cannot leave a dead host."""
    name = f"{fence.host} {fence.since.isoformat()} {server}"
    return RequestId(f"req-{uuid.uuid5(uuid.NAMESPACE_OID, name)}")


def room(cell_db: Database) -> int:
    """Return how many more evacuations of a cell may begin."""
    return max(0, AT_ONCE - moves.evacuations_under_way(cell_db))


class _Passed(Exception):
    """It moves already, or its host gave a sign of life: rolls the transaction back."""


def begin(cell_db: Database, fence: Fence, server: Instance, now: datetime) -> Migration | None:
    """Write an evacuation with its server's task; None if the server or its host have changed meanwhile."""
    record = _record(server, new_request_id(), now)
    made: list[Migration] = []

    def write(connection: sa.Connection, begun: Instance) -> None:
        if begun.host != fence.host or begun.vm_state != server.vm_state:
            raise _Passed
        if not host_fences.holds(connection, fence) or not moves.give_way(connection, begun, now):
            raise _Passed
        move = mig.of_server(begun, Kind.EVACUATION, _owner(server, record.request_id), now)
        made[:] = [msgspec.structs.replace(move, stays_off=server.vm_state in _STAND_STILL)]
        moves.insert(connection, made[0])

    try:
        begun = tasks.begin(cell_db, server, states.LEAVE_DEAD, record, beside=write)
    except _Passed:
        return None
    return made[0] if begun is not None else None


def refuse(cell_db: Database, fence: Fence, waiting: Waiting, now: datetime) -> str:
    """Record, where the server's owner sees it, why it cannot leave its dead host; return the sentence."""
    server = waiting.server
    sentence = (
        f"Its host {fence.host} is dead, and it cannot be started elsewhere: {waiting.refusal}."
    )
    record = _record(server, refused_as(fence, server.uuid), now)
    told = msgspec.structs.replace(record, updated_at=now, message=sentence)
    actions.record(cell_db, [told])
    return sentence


def _owner(server: Instance, request: RequestId) -> RequestContext:
    """Return the context of what is done for a server's owner: what it claims is his."""
    context = service_context(request)
    return msgspec.structs.replace(context, user_id=server.user_id, project_id=server.project_id)


def _record(server: Instance, request: RequestId, now: datetime) -> InstanceAction:
    return InstanceAction(
        action=Action.EVACUATE,
        instance_uuid=server.uuid,
        request_id=request,
        user_id=server.user_id,
        project_id=server.project_id,
        started_at=now,
    )
