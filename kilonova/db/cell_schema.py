"""A cell's database: its servers, what was done to them, and its hosts."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kilonova.db.types import BigId, Json, LongText, Moment, Name, Uuid


class CellBase(DeclarativeBase):
    """The tables of a cell's database."""


class StoredInstance(CellBase):
    """One server.

    What lists filter and sort by are columns; what never changes (flavor, image, wishes) is one
    document. ``tags`` are joined by commas, with one before and one behind. ``epoch`` is the build that
    counts, ``begun_epoch`` the last that a host began and ``builder`` the token with which it did.
    ``task_request`` is the request whose task is under way, ``task_worker`` the token of who does it.
    ``password`` is the administrator's, sealed for the owner's key.
    ``group_uuid`` is the server group in which it was created, until it is deleted.
    ``destinations`` are, while it is being built, where it is built and where else it may be;
    ``reported`` is the number of the last report of its host.
    """

    __tablename__ = "instances"
    __table_args__ = (
        Index("instances_listed", "project_id", "deleted", "created_at", "uuid"),
        Index("instances_all", "deleted", "created_at", "uuid"),
        Index("instances_host", "host", "deleted"),
        Index("instances_busy", "task_state", "updated_at"),
        Index("instances_ended", "terminated_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    project_id: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    hostname: Mapped[str] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(LongText)
    host: Mapped[str | None] = mapped_column(Name)
    node: Mapped[str | None] = mapped_column(Name)
    availability_zone: Mapped[str | None] = mapped_column(Name)
    flavor_id: Mapped[str] = mapped_column(Name)
    image_id: Mapped[str | None] = mapped_column(Name)
    key_name: Mapped[str | None] = mapped_column(Name)
    reservation_id: Mapped[str] = mapped_column(Name)
    vm_state: Mapped[str] = mapped_column(Name)
    task_state: Mapped[str | None] = mapped_column(Name)
    power_state: Mapped[int]
    progress: Mapped[int] = mapped_column(default=0)
    locked_by: Mapped[str | None] = mapped_column(Name)
    locked_reason: Mapped[str | None] = mapped_column(LongText)
    access_ipv4: Mapped[str | None] = mapped_column(Name)
    access_ipv6: Mapped[str | None] = mapped_column(Name)
    root_device_name: Mapped[str | None] = mapped_column(Name)
    epoch: Mapped[int]
    begun_epoch: Mapped[int] = mapped_column(default=0)
    builder: Mapped[str] = mapped_column(Name, default="")
    task_request: Mapped[str | None] = mapped_column(Name)
    task_worker: Mapped[str] = mapped_column(Name, default="")
    password: Mapped[str | None] = mapped_column(LongText)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
    launched_at: Mapped[datetime | None] = mapped_column(Moment)
    terminated_at: Mapped[datetime | None] = mapped_column(Moment)
    deleted: Mapped[bool] = mapped_column(default=False)
    group_uuid: Mapped[str | None] = mapped_column(Uuid, index=True)
    tags: Mapped[str] = mapped_column(LongText, default="")
    nics: Mapped[bytes | None] = mapped_column(Json)
    volumes: Mapped[bytes | None] = mapped_column(Json)
    shares: Mapped[bytes | None] = mapped_column(Json)
    attributes: Mapped[bytes] = mapped_column("metadata", Json)
    fixed: Mapped[bytes] = mapped_column(Json)
    destinations: Mapped[bytes | None] = mapped_column(Json)
    reported: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class VolumeAttachment(CellBase):
    """A volume of a server, and what is under way with it; the rest stands in the server's row."""

    __tablename__ = "volume_attachments"
    __table_args__ = (
        Index("volume_attachments_of", "volume_id"),
        Index("volume_attachments_at", "stage", "changed_at"),
    )

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    volume_id: Mapped[str] = mapped_column(Name, primary_key=True)
    stage: Mapped[str] = mapped_column(Name)
    changed_at: Mapped[datetime] = mapped_column(Moment)


class ShareAttachment(CellBase):
    """A share of a server, and what is under way with it; the rest stands in the server's row."""

    __tablename__ = "share_attachments"
    __table_args__ = (
        Index("share_attachments_of", "share_id"),
        Index("share_attachments_at", "stage", "changed_at"),
        Index("share_attachments_tagged", "instance_uuid", "tag", unique=True),
    )

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    share_id: Mapped[str] = mapped_column(Name, primary_key=True)
    tag: Mapped[str] = mapped_column(Name)
    stage: Mapped[str] = mapped_column(Name)
    changed_at: Mapped[datetime] = mapped_column(Moment)


class StoredCardOrder(CellBase):
    """An order about a network card of a server, until it has ended."""

    __tablename__ = "card_orders"
    __table_args__ = (Index("card_orders_at", "changed_at"),)

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    request_id: Mapped[str] = mapped_column(Name, primary_key=True)
    wanted: Mapped[bytes] = mapped_column(Json)
    changed_at: Mapped[datetime] = mapped_column(Moment)


class InstanceFault(CellBase):
    """Why a server is in ERROR; the newest counts."""

    __tablename__ = "instance_faults"
    __table_args__ = (Index("instance_faults_of", "instance_uuid", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    instance_uuid: Mapped[str] = mapped_column(Uuid)
    code: Mapped[int]
    message: Mapped[str] = mapped_column(LongText)
    details: Mapped[str] = mapped_column(LongText)
    created_at: Mapped[datetime] = mapped_column(Moment)


class StoredAction(CellBase):
    """Something that was asked of a server, under one request id."""

    __tablename__ = "instance_actions"
    __table_args__ = (
        Index("instance_actions_of", "instance_uuid", "request_id", "action", unique=True),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    instance_uuid: Mapped[str] = mapped_column(Uuid)
    request_id: Mapped[str] = mapped_column(Name)
    action: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    project_id: Mapped[str] = mapped_column(Name)
    started_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
    message: Mapped[str | None] = mapped_column(LongText)


class StoredEvent(CellBase):
    """A stage of an action. It names its action by request id, so writing one needs no look-up."""

    __tablename__ = "instance_action_events"
    __table_args__ = (
        Index(
            "instance_action_events_of",
            "instance_uuid",
            "request_id",
            "name",
            "started_at",
            unique=True,
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    instance_uuid: Mapped[str] = mapped_column(Uuid)
    request_id: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    host: Mapped[str | None] = mapped_column(Name)
    started_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    result: Mapped[str | None] = mapped_column(Name)
    details: Mapped[str | None] = mapped_column(LongText)
    traceback: Mapped[str | None] = mapped_column(LongText)


class StoredService(CellBase):
    """A service of this cell; ``last_seen`` is its last sign of life.

    ``starts`` is the greatest number that a start of it got, ``started`` that of the start which counts.
    """

    __tablename__ = "services"
    __table_args__ = (Index("services_named", "binary", "host", unique=True),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    binary: Mapped[str] = mapped_column(Name)
    host: Mapped[str] = mapped_column(Name)
    topic: Mapped[str] = mapped_column(Name)
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(LongText)
    forced_down: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_seen: Mapped[datetime | None] = mapped_column(Moment)
    starts: Mapped[int] = mapped_column(default=0, server_default="0")
    started: Mapped[int] = mapped_column(default=0, server_default="0")


class ComputeNode(CellBase):
    """A compute node: its own last report, whole, beside what lists ask for."""

    __tablename__ = "compute_nodes"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    provider_uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    host: Mapped[str] = mapped_column(Name, index=True)
    node: Mapped[str] = mapped_column(Name)
    updated_at: Mapped[datetime] = mapped_column(Moment, index=True)
    report: Mapped[bytes] = mapped_column(Json)


class StoredVitals(CellBase):
    """What a host told last of how its servers are, whole: one row a host, however many they are."""

    __tablename__ = "host_vitals"

    host: Mapped[str] = mapped_column(Name, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    vitals: Mapped[bytes] = mapped_column(Json)


class StoredMigration(CellBase):
    """One move of one server.

    What it is asked by are columns, the whole of it is a document. ``driver`` is who chooses a destination,
    and may until a while after ``driven_at``. ``settled``: what the top level keeps of its server agrees
    with how it ended.
    """

    __tablename__ = "migrations"
    __table_args__ = (
        Index("migrations_of", "instance_uuid", "stage"),
        Index("migrations_at", "stage", "updated_at"),
        Index("migrations_from", "source_host", "stage"),
        Index("migrations_to", "destination_host", "stage"),
        Index("migrations_unsettled", "settled", "stage"),
        Index("migrations_listed", "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    instance_uuid: Mapped[str] = mapped_column(Uuid)
    kind: Mapped[str] = mapped_column(Name)
    stage: Mapped[str] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Name)
    source_host: Mapped[str] = mapped_column(Name)
    destination_host: Mapped[str | None] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    project_id: Mapped[str] = mapped_column(Name)
    attempt: Mapped[int]
    wish: Mapped[str] = mapped_column(Name, default="")
    settled: Mapped[bool] = mapped_column(default=False)
    driver: Mapped[str] = mapped_column(Name, default="")
    driven_at: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    progress: Mapped[bytes] = mapped_column(Json)
    document: Mapped[bytes] = mapped_column(Json)


class SoftDeletion(CellBase):
    """A server that was soft-deleted, and when. One that was restored since may still have its note."""

    __tablename__ = "soft_deletions"
    __table_args__ = (Index("soft_deletions_due", "deleted_at"),)

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(Moment)


class HostFence(CellBase):
    """What is known of a silent host: see ``core.host_failure.Fence``."""

    __tablename__ = "host_fences"

    host: Mapped[str] = mapped_column(Name, primary_key=True)
    since: Mapped[datetime] = mapped_column(Moment)
    verdict: Mapped[str] = mapped_column(Name)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    tries: Mapped[int]
    token: Mapped[str] = mapped_column(Name)
    words: Mapped[str] = mapped_column(LongText)
