"""The API database: what the whole deployment knows, whatever cell a server is in."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kilonova.db.types import BigId, Json, LongText, Moment, Name, Uuid


class ApiBase(DeclarativeBase):
    """The tables of the API database."""


class CellMapping(ApiBase):
    """A cell: where its bus and its database are. The connection strings hold passwords."""

    __tablename__ = "cell_mappings"

    uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    transport_url: Mapped[str] = mapped_column(LongText)
    database_connection: Mapped[str] = mapped_column(LongText)
    disabled: Mapped[bool] = mapped_column(default=False)


class HostMapping(ApiBase):
    """Which cell a compute host is in."""

    __tablename__ = "host_mappings"

    host: Mapped[str] = mapped_column(Name, primary_key=True)
    cell_uuid: Mapped[str] = mapped_column(ForeignKey("cell_mappings.uuid"), index=True)


class InstanceMapping(ApiBase):
    """Which cell a server is in (none while it is a build request), and what it counts for in quotas.

    The project's row of ``quota_usages`` is the sum over its mappings that are not queued for delete;
    both change in one transaction. ``group_uuid`` makes the server a member of a server group, until it is
    queued for delete; ``chosen_host`` is where a scheduler last wanted a member to go, for the others to
    see until its cell tells where it is.
    """

    __tablename__ = "instance_mappings"
    __table_args__ = (
        Index("instance_mappings_owner", "project_id", "queued_for_delete", "user_id"),
    )

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    cell_uuid: Mapped[str | None] = mapped_column(ForeignKey("cell_mappings.uuid"), index=True)
    project_id: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    vcpus: Mapped[int]
    memory_mb: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Moment)
    queued_for_delete: Mapped[bool] = mapped_column(default=False)
    group_uuid: Mapped[str | None] = mapped_column(Uuid, index=True)
    chosen_host: Mapped[str | None] = mapped_column(Name)


class ServerGroup(ApiBase):
    """A server group. Whoever adds a member, or chooses a host for one, holds its row."""

    __tablename__ = "server_groups"
    __table_args__ = (Index("server_groups_project", "project_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    project_id: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    policy: Mapped[str] = mapped_column(Name)
    max_server_per_host: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(Moment)


class BuildRequest(ApiBase):
    """A server that was accepted and has no cell yet.

    ``driver`` is the token of the conductor that works on it since ``driven_at`` (empty: nobody yet);
    ``epoch`` counts how often it was taken.
    One that is ``withdrawn`` is nobody's server any more: its owner deleted it after a conductor had
    begun, and what that left in a cell and in Placement is still to be removed. ``waits_for`` is what stood
    in the way when it was driven last.
    """

    __tablename__ = "build_requests"
    __table_args__ = (Index("build_requests_listed", "project_id", "created_at", "instance_uuid"),)

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[str] = mapped_column(Name)
    request_id: Mapped[str] = mapped_column(Name)
    created_at: Mapped[datetime] = mapped_column(Moment)
    driver: Mapped[str] = mapped_column(Name, default="")
    driven_at: Mapped[datetime] = mapped_column(Moment, index=True)
    epoch: Mapped[int] = mapped_column(default=0, server_default="0")
    withdrawn: Mapped[bool] = mapped_column(default=False)
    waits_for: Mapped[str | None] = mapped_column(LongText)
    instance: Mapped[bytes] = mapped_column(Json)


class StoredRequestSpec(ApiBase):
    """What a server needs of its host: kept as long as the server, for every later move."""

    __tablename__ = "request_specs"

    instance_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    spec: Mapped[bytes] = mapped_column(Json)


class StoredFlavor(ApiBase):
    """A flavor. Servers carry a copy, so changing one changes no server."""

    __tablename__ = "flavors"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    flavor_id: Mapped[str] = mapped_column(Name, unique=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    vcpus: Mapped[int]
    memory_mb: Mapped[int]
    root_gb: Mapped[int]
    ephemeral_gb: Mapped[int]
    swap_mb: Mapped[int]
    rxtx_factor: Mapped[float]
    is_public: Mapped[bool]
    disabled: Mapped[bool]
    description: Mapped[str | None] = mapped_column(LongText)
    extra_specs: Mapped[bytes] = mapped_column(Json)


class FlavorProject(ApiBase):
    """A project that may use a flavor that is not public."""

    __tablename__ = "flavor_projects"

    flavor_id: Mapped[str] = mapped_column(
        ForeignKey("flavors.flavor_id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[str] = mapped_column(Name, primary_key=True)


class StoredKeyPair(ApiBase):
    """A public key of a user's."""

    __tablename__ = "key_pairs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(Name)
    fingerprint: Mapped[str] = mapped_column(Name)
    public_key: Mapped[str] = mapped_column(LongText)
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index("key_pairs_user", "user_id", "name", unique=True),)


class Quota(ApiBase):
    """A limit that differs from the configured one. ``user_id`` is empty for the project's own."""

    __tablename__ = "quotas"

    project_id: Mapped[str] = mapped_column(Name, primary_key=True)
    user_id: Mapped[str] = mapped_column(Name, primary_key=True, default="")
    resource: Mapped[str] = mapped_column(Name, primary_key=True)
    hard_limit: Mapped[int]


class QuotaClass(ApiBase):
    """A limit of a quota class. The class ``default`` stands before the configured limits."""

    __tablename__ = "quota_classes"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    resource: Mapped[str] = mapped_column(Name, primary_key=True)
    hard_limit: Mapped[int]


class QuotaUsage(ApiBase):
    """What a project uses, counted in the transaction that changes it. ``ram`` is MiB."""

    __tablename__ = "quota_usages"

    project_id: Mapped[str] = mapped_column(Name, primary_key=True)
    instances: Mapped[int] = mapped_column(default=0)
    cores: Mapped[int] = mapped_column(default=0)
    ram: Mapped[int] = mapped_column(BigId, default=0)
    server_groups: Mapped[int] = mapped_column(default=0)


class KeyPairUsage(ApiBase):
    """How many key pairs a user has, counted in the transaction that changes it."""

    __tablename__ = "key_pair_usages"

    user_id: Mapped[str] = mapped_column(Name, primary_key=True)
    used: Mapped[int]


class Aggregate(ApiBase):
    """A group of hosts. Its metadata's ``availability_zone`` makes it a zone."""

    __tablename__ = "aggregates"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uuid: Mapped[str] = mapped_column(Uuid, unique=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    attributes: Mapped[bytes] = mapped_column("metadata", Json)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)


class AggregateHost(ApiBase):
    """A host in an aggregate."""

    __tablename__ = "aggregate_hosts"

    aggregate_id: Mapped[int] = mapped_column(
        ForeignKey("aggregates.id", ondelete="CASCADE"), primary_key=True
    )
    host: Mapped[str] = mapped_column(Name, primary_key=True, index=True)


class ConsoleToken(ApiBase):
    """Who holds the token may reach a console until it expires. Only its hash is kept."""

    __tablename__ = "console_tokens"

    token_hash: Mapped[str] = mapped_column(Name, primary_key=True)
    instance_uuid: Mapped[str] = mapped_column(Uuid, index=True)
    console_type: Mapped[str] = mapped_column(Name)
    address: Mapped[bytes] = mapped_column(Json)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class StoredDecision(ApiBase):
    """A server that a scheduling pass decided on, with its host, if it got one.

    ``record`` tells how the decision came about; it stands in the row of the pass's first server
    (``place`` 0) alone. All rows of a pass have one ``created_at``.
    """

    __tablename__ = "decisions"
    __table_args__ = (Index("decisions_age", "created_at", "place"),)

    decision_id: Mapped[str] = mapped_column(Uuid, primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime] = mapped_column(Moment)
    instance_uuid: Mapped[str] = mapped_column(Uuid, index=True)
    request_id: Mapped[str] = mapped_column(Name, index=True)
    host: Mapped[str | None] = mapped_column(Name)
    record: Mapped[bytes | None] = mapped_column(Json)


class StoredOperatorTask(ApiBase):
    """A task of an operator's: ``task`` is the whole of it but its ``state``.

    ``worker`` is the token of the conductor that does it, and was heard of at ``seen_at``.
    """

    __tablename__ = "operator_tasks"
    __table_args__ = (Index("operator_tasks_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(Uuid, primary_key=True)
    state: Mapped[str] = mapped_column(Name)
    created_at: Mapped[datetime] = mapped_column(Moment)
    seen_at: Mapped[datetime] = mapped_column(Moment)
    worker: Mapped[str] = mapped_column(Name, default="")
    task: Mapped[bytes] = mapped_column(Json)


class TaskResult(ApiBase):
    """A part of what came of a task: some lines of JSON, one after another."""

    __tablename__ = "operator_task_results"

    task_id: Mapped[str] = mapped_column(
        ForeignKey("operator_tasks.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lines: Mapped[bytes] = mapped_column(Json)


class DesiredServers(ApiBase):
    """So many servers of one kind, which are to run. ``generation`` is the newest of its generations."""

    __tablename__ = "desired_servers"
    __table_args__ = (Index("desired_servers_name", "project_id", "name", unique=True),)

    uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)
    count: Mapped[int]
    generation: Mapped[int]
    deleting: Mapped[bool] = mapped_column(default=False)
    group_uuid: Mapped[str | None] = mapped_column(Uuid)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class DesiredGeneration(ApiBase):
    """What the servers of a generation are made of."""

    __tablename__ = "desired_generations"

    desired_uuid: Mapped[str] = mapped_column(
        ForeignKey("desired_servers.uuid", ondelete="CASCADE"), primary_key=True
    )
    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    template: Mapped[bytes] = mapped_column(Json)


class DesiredSlot(ApiBase):
    """An index, and the server at it. It alone says that a server is a desired one."""

    __tablename__ = "desired_slots"
    __table_args__ = (Index("desired_slots_server", "server", unique=True),)

    desired_uuid: Mapped[str] = mapped_column(
        ForeignKey("desired_servers.uuid", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int]
    server: Mapped[str | None] = mapped_column(Uuid)
    ending: Mapped[str | None] = mapped_column(Name)
    failures: Mapped[int]
    failed_at: Mapped[datetime | None] = mapped_column(Moment)
    reason: Mapped[str | None] = mapped_column(LongText)


class Lease(ApiBase):
    """Who leads. ``token`` grows with each change of holder, so a late holder is known by its own."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    holder: Mapped[str] = mapped_column(Name)
    token: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(Moment)
