"""What the scheduler is asked, what it looks at, and what it answers."""

from datetime import datetime

import msgspec

from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    CellUuid,
    HostName,
    InstanceUuid,
    NodeName,
    ProjectId,
    ProviderUuid,
    UserId,
)
from kilonova.core.image import Image


class RequestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a server needs of its host. Requests with equal specs are scheduled together."""

    project_id: ProjectId
    user_id: UserId
    flavor: Flavor
    image: Image | None
    availability_zone: str | None = None
    hints: dict[str, str | list[str]] = {}
    forced_host: HostName | None = None
    forced_node: NodeName | None = None
    boots_from_volume: bool = False


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler knows of a compute node beyond Placement's figures.

    ``last_seen`` is UTC without a zone. ``capabilities`` are what ComputeCapabilities compares with:
    ``hypervisor_type``, ``hypervisor_version``, ``cpu_arch`` and the like, as strings.
    """

    host: HostName
    node: NodeName
    cell_uuid: CellUuid
    provider_uuid: ProviderUuid
    enabled: bool = True
    forced_down: bool = False
    disabled_reason: str | None = None
    last_seen: datetime | None = None
    availability_zone: str = "nova"
    capabilities: dict[str, str] = {}
    supported: tuple[tuple[str, str, str], ...] = ()
    """(architecture, hypervisor type, vm mode) triples that the host can run."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one resource class a provider has, in Placement's terms."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 2147483647
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        """What may be allocated in all: ``(total - reserved) * allocation_ratio``, rounded down."""
        return int((self.total - self.reserved) * self.allocation_ratio)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity and use of one resource class on one provider."""

    capacity: int
    used: int

    @property
    def free(self) -> int:
        """What is left; negative when a ratio was lowered below the use."""
        return self.capacity - self.used


Allocation = dict[str, dict[str, int]]
"""What a claim takes: provider UUID -> resource class -> amount."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A host for a server, with what is or would be allocated there."""

    host: HostName
    node: NodeName
    cell_uuid: CellUuid
    provider_uuid: ProviderUuid
    availability_zone: str
    allocation: Allocation


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why hosts were refused: by which filter or resource class, how many, and the nearest miss.

    ``sentence`` is safe for a tenant: it names no host. ``short_by`` is how far the nearest miss was
    from fitting, in whatever ``refused_by`` counts; 0 where that is no number.
    """

    refused_by: str
    sentence: str
    hosts: int = 1
    nearest_miss: str = ""
    short_by: float = 0.0


class NoHost(msgspec.Struct, frozen=True, kw_only=True):
    """No host fits: how many were looked at and every reason, counted."""

    considered: int
    reasons: tuple[Reason, ...]

    def sentence(self) -> str:
        """Return the tenant's sentence, such as ``0 of 12 hosts fit: 9 lack MEMORY_MB, ...``."""
        counted = ", ".join(f"{r.hosts} {r.sentence}" for r in self.reasons)
        return f"0 of {self.considered} hosts fit" + (f": {counted}" if counted else "")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The scheduler's answer for one server: a claimed destination, or why there is none.

    ``alternates`` are in the destination's cell and hold no claim.
    """

    instance_uuid: InstanceUuid
    destination: Destination | None = None
    alternates: tuple[Destination, ...] = ()
    no_host: NoHost | None = None
