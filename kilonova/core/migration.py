"""Migrations: servers on their way from one host to another, or to another size.

Owns the one table of what a move goes through: who acts at which stage, what is claimed for whom
meanwhile, and what outsiders call it. A stage changes only by compare-and-set in the cell's database, so
that the row of a migration says at any moment who has to do what next, whoever dies.

    ACCEPTED -> PREPARING -> SENDING -> FINISHING -> FINISHED -> CLEARING -> ENDED     confirmed
                    |           |           |           |
                    |           +-----------+-----------+-> UNDOING -> RESTORING -> ENDED
                    +-> PREPARING, on the next alternate            ^
                    +-----------------------------------------------+

A live migration and an evacuation go from FINISHING to CLEARING by themselves; an evacuation begins with
FINISHING. A server that is deleted leaves CLEARING, or ABANDONING, to be ended. One that is shelved goes
from SENDING, into an image, to CLEARING, and has no host then; unshelving is FINISHING alone.

Until a destination is chosen the server holds what the source gives. Then it holds what the destination
gives, and the migration what the source gives, until one of both sides has nothing of the server any more.

Source of the statuses: Compute API reference, "Migrations".
"""

import uuid
from datetime import datetime
from enum import StrEnum

import msgspec

from kilonova.core.context import RequestContext
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    HostName,
    InstanceUuid,
    NodeName,
    ProjectId,
    RequestId,
    UserId,
)
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.scheduling import Allocation, Destination
from kilonova.core.states import PowerState, TaskState, VmState


class Kind(StrEnum):
    """Why a server moves; the value is the API's ``migration_type``."""

    MIGRATION = "migration"
    RESIZE = "resize"
    LIVE = "live-migration"
    EVACUATION = "evacuation"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"


LISTED = (Kind.MIGRATION, Kind.RESIZE, Kind.LIVE, Kind.EVACUATION)
"""What the API calls migrations. A server that is shelved moves out of its host, and back to any."""


class Stage(StrEnum):
    """How far a move is: what has to be done next."""

    ACCEPTED = "accepted"
    """A destination is to be chosen and claimed."""
    PREPARING = "preparing"
    """The destination makes itself ready."""
    SENDING = "sending"
    """The source sends the guest, and keeps what it has (a live one moves for good)."""
    FINISHING = "finishing"
    """The destination makes the guest. From here on the server is there, under the next epoch."""
    FINISHED = "finished"
    """The owner is to confirm or to revert."""
    CLEARING = "clearing"
    """The source removes what it has; the server is none of this any more."""
    UNDOING = "undoing"
    """The destination removes what it has."""
    RESTORING = "restoring"
    """The source has the guest again as it was."""
    ABANDONING = "abandoning"
    """The server is deleted: the destination removes what it has."""
    ENDED = "ended"


class Side(StrEnum):
    """One of the two hosts of a move. They may be the same one."""

    SOURCE = "source"
    DESTINATION = "destination"


ACTS: dict[Stage, Side] = {
    Stage.PREPARING: Side.DESTINATION,
    Stage.SENDING: Side.SOURCE,
    Stage.FINISHING: Side.DESTINATION,
    Stage.CLEARING: Side.SOURCE,
    Stage.UNDOING: Side.DESTINATION,
    Stage.RESTORING: Side.SOURCE,
    Stage.ABANDONING: Side.DESTINATION,
}
"""Whose host does something at a stage; at the others none does."""

_COLD: dict[Stage, str] = {
    Stage.ACCEPTED: "accepted",
    Stage.PREPARING: "pre-migrating",
    Stage.SENDING: "migrating",
    Stage.FINISHING: "post-migrating",
    Stage.FINISHED: "finished",
    Stage.CLEARING: "confirming",
    Stage.UNDOING: "reverting",
    Stage.RESTORING: "reverting",
    Stage.ABANDONING: "reverting",
}
_STATUS: dict[Kind, dict[Stage, str]] = {
    Kind.MIGRATION: _COLD,
    Kind.RESIZE: _COLD,
    Kind.LIVE: _COLD
    | {
        Stage.PREPARING: "preparing",
        Stage.SENDING: "running",
        Stage.CLEARING: "post-migrating",
        Stage.UNDOING: "running",
        Stage.RESTORING: "running",
        Stage.ABANDONING: "running",
    },
    Kind.EVACUATION: _COLD | {Stage.FINISHING: "pre-migrating", Stage.CLEARING: "done"},
    Kind.SHELVE: _COLD,
    Kind.UNSHELVE: _COLD,
}

CONFIRMED, REVERTED, COMPLETED = "confirmed", "reverted", "completed"
FAILED, CANCELLED = "error", "cancelled"

WAITS = "conductor_wait_for_host"
"""The event of a move that waits for a host that does not answer."""

_CLEARED = {
    Kind.MIGRATION: CONFIRMED,
    Kind.RESIZE: CONFIRMED,
    Kind.LIVE: COMPLETED,
    Kind.EVACUATION: COMPLETED,
    Kind.SHELVE: COMPLETED,
    Kind.UNSHELVE: COMPLETED,
}

IN_PROGRESS = frozenset({"queued", "preparing", "running", "post-migrating"})
"""The statuses of live migrations that their server's list shows."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a running guest is moved: bytes of memory and of disks.

    ``downtime`` is for how many milliseconds it stood still, once that is known.
    """

    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0
    downtime: int = 0


class Berth(msgspec.Struct, frozen=True, kw_only=True):
    """Where a destination awaits one guest, and how its source is let in.

    It listens at ``address`` and ``port``, is known by the SHA-256 ``fingerprint`` of its certificate, and
    lets in who shows ``token``. ``directory`` is where the guest's files are to be there, and
    ``hypervisor`` what names the hypervisor there. With ``shared`` its disks are seen from both hosts, so
    that none is sent; with ``wants_image`` the destination cannot have the guest's image elsewhere.
    ``volumes`` are the paths there of those volumes, by their ids, that have one.
    Of a guest that comes while it runs, ``nics`` are the cards as they are plugged in there, and ``place``
    says in the words of the hypervisor there which of its host's CPUs, cells and pages it gets.
    """

    address: str
    port: int
    fingerprint: str
    token: str
    directory: str = ""
    hypervisor: str = ""
    shared: bool = False
    wants_image: bool = False
    volumes: dict[str, str] = {}
    nics: tuple[Nic, ...] = ()
    place: str = ""

    def __repr__(self) -> str:
        """Show all but the token: logs are read by many."""
        return f"Berth({self.address}:{self.port})"


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One move of one server. ``number`` is its id, by which the API knows it.

    ``attempt`` counts the destinations that were tried. ``vm_state`` is what the server was before, and is
    again when the move ends. ``epoch`` is the build that counted then, ``guest_epoch`` the oldest of which
    the source's guest may be. ``outcome`` is the status with which a move that is undone will end,
    ``reason`` and ``details`` why it failed. ``wish`` is ``abort`` or ``force`` where an operator asked for
    that. ``project_id`` is the server's, ``user_id`` that of who asked. With ``forced`` the destination is
    claimed and not judged. ``image`` is what a shelved server becomes, and is made of again. ``berth`` is
    what the destination has ready for the guest, until the move is done. With ``unsent`` the source died
    before it said that a running guest had left it.
    """

    uuid: str
    instance_uuid: InstanceUuid
    kind: Kind
    source_host: HostName
    source_node: NodeName
    source_zone: str
    old_flavor: Flavor
    new_flavor: Flavor
    vm_state: VmState
    epoch: int
    guest_epoch: int
    request_id: RequestId
    user_id: UserId
    project_id: ProjectId
    created_at: datetime
    updated_at: datetime
    number: int = 0
    stage: Stage = Stage.ACCEPTED
    status: str = "accepted"
    attempt: int = 0
    destination: Destination | None = None
    alternates: tuple[Destination, ...] = ()
    source_allocation: Allocation = {}
    requested_host: HostName | None = None
    forced: bool = False
    block_migration: bool | None = None
    stays_off: bool = False
    outcome: str = ""
    reason: str = ""
    details: str = ""
    wish: str = ""
    progress: Progress = Progress()
    settled: bool = False
    image: Image | None = None
    berth: Berth | None = None
    unsent: bool = False

    @property
    def consumer(self) -> InstanceUuid:
        """The name under which Placement knows it. There it is a consumer like a server."""
        return InstanceUuid(self.uuid)

    @property
    def stays(self) -> bool:
        """Whether the server stays on its host, in another size."""
        return self.destination is not None and self.destination.host == self.source_host

    @property
    def chosen(self) -> Destination:
        """The destination of a move that has one.

        Raises:
            ValueError: it has none yet.
        """
        if self.destination is None:
            raise ValueError(f"migration {self.uuid} has no destination yet")
        return self.destination

    @property
    def builds(self) -> bool:
        """Whether the destination makes the guest of an image, as nothing is sent."""
        return self.kind in (Kind.EVACUATION, Kind.UNSHELVE)

    @property
    def is_live(self) -> bool:
        """Whether the guest runs on while it moves."""
        return self.kind is Kind.LIVE

    @property
    def is_resize(self) -> bool:
        """Whether an owner is to confirm it."""
        return self.kind in (Kind.RESIZE, Kind.MIGRATION)

    @property
    def power_on(self) -> bool:
        """Whether the guest is to run where it arrives."""
        return self.vm_state is not VmState.STOPPED and not self.stays_off

    def acting(self) -> HostName | None:
        """Return the host that has something to do now, or None."""
        return self.host_of(ACTS.get(self.stage))

    def host_of(self, side: Side | None) -> HostName | None:
        """Return one of the hosts; None where it is not known yet."""
        if side is Side.SOURCE:
            return self.source_host
        if side is Side.DESTINATION and self.destination is not None:
            return self.destination.host
        return None

    @property
    def acting_flavor(self) -> Flavor:
        """The size in which the acting host has to do with the server."""
        before = (Stage.SENDING, Stage.RESTORING, Stage.CLEARING)
        return self.old_flavor if self.stage in before else self.new_flavor

    def allocation_of(self, side: Side | None) -> Allocation:
        """Return what one side takes in Placement."""
        if side is Side.SOURCE:
            return self.source_allocation
        if side is Side.DESTINATION and self.destination is not None:
            return self.destination.allocation
        return {}


def of_server(server: Instance, kind: Kind, context: RequestContext, now: datetime) -> Migration:
    """Return a move that was accepted of who asks for it, of a server as it is then."""
    return Migration(
        uuid=str(uuid.uuid4()),
        instance_uuid=server.uuid,
        kind=kind,
        source_host=server.host or HostName(""),
        source_node=server.node or NodeName(""),
        source_zone=server.availability_zone or "",
        old_flavor=server.flavor,
        new_flavor=server.flavor,
        vm_state=server.vm_state,
        epoch=server.epoch,
        guest_epoch=server.begun_epoch,
        request_id=context.request_id,
        user_id=context.user_id,
        project_id=server.project_id,
        created_at=now,
        updated_at=now,
    )


def at(migration: Migration, stage: Stage, now: datetime) -> Migration:
    """Return a migration at another stage, under the name that outsiders give to that."""
    status = _STATUS[migration.kind][stage]
    return msgspec.structs.replace(migration, stage=stage, status=status, updated_at=now)


def ended(migration: Migration, now: datetime) -> Migration:
    """Return a migration whose last stage is done."""
    if migration.stage is Stage.CLEARING or migration.kind is Kind.UNSHELVE:
        status = migration.outcome or _CLEARED[migration.kind]
    else:
        status = migration.outcome or FAILED
    return msgspec.structs.replace(
        migration, stage=Stage.ENDED, status=status, updated_at=now, berth=None
    )


def confirming(
    migration: Migration, server: Instance, request: RequestId, now: datetime
) -> tuple[Migration, Instance]:
    """Return a move, and its server, of which a request says that it is to stay what it is."""
    settled = VmState.STOPPED if server.power_state is PowerState.SHUTDOWN else VmState.ACTIVE
    kept = msgspec.structs.replace(server, vm_state=settled, updated_at=now)
    mine = msgspec.structs.replace(migration, request_id=request)
    return at(mine, Stage.CLEARING, now), kept


def reverting(
    migration: Migration, server: Instance, request: RequestId, now: datetime
) -> tuple[Migration, Instance]:
    """Return a move, and its server, of which a request says that it is to be what it was before."""
    mine = msgspec.structs.replace(migration, request_id=request, outcome=REVERTED)
    going = msgspec.structs.replace(
        server, task_state=TaskState.RESIZE_REVERTING, task_request=request, updated_at=now
    )
    return at(mine, Stage.UNDOING, now), going


class Moved(StrEnum):
    """What a host says of its part of a move."""

    BEGUN = "begun"
    GOES_ON = "goes on"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class MoveReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a host did at one stage of a move, and of which attempt.

    ``reason`` is fit for the tenant, ``details`` for the operator. A report that is refused says that the
    stage is over, or that an operator wants the move to be aborted. ``berth`` is what a destination that
    is prepared has made ready. With ``left`` a destination that failed knows that a running guest had left
    its source, whatever that had said.
    """

    migration: str
    stage: Stage
    attempt: int
    moved: Moved
    reason: str = ""
    details: str = ""
    progress: Progress | None = None
    berth: Berth | None = None
    left: bool = False
