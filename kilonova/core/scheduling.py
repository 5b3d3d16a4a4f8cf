"""What the scheduler is asked, what it looks at, and what it answers.

What there are many of is kept from the garbage collector (``gc=False``): these values hold no cycles.
"""

from datetime import datetime

import msgspec

from kilonova.core.aggregate import HostAggregate
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
from kilonova.core.server_group import GroupRule


class RequestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a server needs of its host. Requests with equal specs are scheduled together.

    ``moves_from`` is the cell of a server that moves, which it does not leave; None for one that is new.
    It goes to none of ``ignored_hosts``. What is ``unjudged`` goes to ``forced_host`` if that lives and has
    room, whatever else speaks against it.
    """

    project_id: ProjectId
    user_id: UserId
    flavor: Flavor
    image: Image | None
    availability_zone: str | None = None
    hints: dict[str, str | list[str]] = {}
    forced_host: HostName | None = None
    forced_node: NodeName | None = None
    boots_from_volume: bool = False
    group: GroupRule | None = None
    moves_from: CellUuid | None = None
    ignored_hosts: tuple[HostName, ...] = ()
    unjudged: bool = False


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a host has and uses by its own report: CPUs, MiB of memory, GiB of disk."""

    vcpus: int = 0
    vcpus_used: int = 0
    memory_mb: int = 0
    memory_mb_used: int = 0
    disk_gb: int = 0
    disk_gb_used: int = 0


class NumaCell(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA cell of a host, and what is left of it.

    ``cpus`` are those that servers share. ``whole_cores`` are the thread siblings of each core of which no
    CPU is pinned, ``single_cpus`` the other CPUs that are free to be pinned. ``memory_mb`` is of small
    pages, ``pages`` counts the free huge pages of each size in KiB.
    """

    number: int
    cpus: int = 0
    whole_cores: int = 0
    threads_per_core: int = 1
    single_cpus: int = 0
    memory_mb: int = 0
    pages: dict[int, int] = {}


class PciPool(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices of one alias are free; ``numa_cell`` is None where they are near none."""

    alias: str
    free: int
    numa_cell: int | None = None


class HostState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the scheduler knows of a compute node beyond Placement's figures.

    ``last_seen`` is UTC without a zone. ``capabilities`` are what ComputeCapabilities compares with:
    ``hypervisor_type``, ``hypervisor_version``, ``cpu_arch`` and the like, as strings. ``servers`` are on
    the host, ``busy`` of them are being built or changed, and ``failed_builds`` failed there lately.
    ``image_properties`` counts the host's servers by ``name=value`` of their images' properties.
    ``multipliers`` are those that the host's aggregates set for weighers, by their option's name. A host
    that is ``unreachable`` is in a cell that does not answer; the rest is as last heard.
    """

    host: HostName
    node: NodeName
    cell_uuid: CellUuid
    provider_uuid: ProviderUuid
    enabled: bool = True
    forced_down: bool = False
    unreachable: bool = False
    disabled_reason: str | None = None
    last_seen: datetime | None = None
    availability_zone: str = "nova"
    capabilities: dict[str, str] = {}
    supported: tuple[tuple[str, str, str], ...] = ()
    """(architecture, hypervisor type, vm mode) triples that the host can run."""
    aggregates: tuple[HostAggregate, ...] = ()
    host_ip: str = ""
    hypervisor_version: int = 0
    figures: Figures = Figures()
    servers: int = 0
    busy: int = 0
    failed_builds: int = 0
    metrics: dict[str, float] = {}
    image_properties: dict[str, int] = {}
    pci: tuple[PciPool, ...] = ()
    numa: tuple[NumaCell, ...] = ()
    multipliers: dict[str, float] = {}


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


Allocation = dict[str, dict[str, int]]
"""What a claim takes: provider UUID -> resource class -> amount."""


class Destination(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A host for a server, with what is or would be allocated there."""

    host: HostName
    node: NodeName
    cell_uuid: CellUuid
    provider_uuid: ProviderUuid
    availability_zone: str
    allocation: Allocation


_OF_ONE = {"are": "is", "were": "was", "have": "has", "lack": "lacks"}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why hosts were refused: by which filter or resource class, how many, and the nearest miss.

    ``sentence`` says what hosts are or have, as of several (``are in another zone``). It is safe for a
    tenant: it names no host. ``short_by`` is how far the nearest miss was
    from fitting, in whatever ``refused_by`` counts; 0 where that is no number.
    """

    refused_by: str
    sentence: str
    hosts: int = 1
    nearest_miss: str = ""
    short_by: float = 0.0

    def counted(self) -> str:
        """Return the sentence with its number of hosts, such as ``1 is down`` or ``2 are down``."""
        verb, space, rest = self.sentence.partition(" ")
        if self.hosts == 1:
            verb = _OF_ONE.get(verb, verb)
        return f"{self.hosts} {verb}{space}{rest}"


class NoHost(msgspec.Struct, frozen=True, kw_only=True):
    """No host fits: how many were looked at and every reason, counted."""

    considered: int
    reasons: tuple[Reason, ...]

    def sentence(self) -> str:
        """Return the tenant's sentence, such as ``0 of 12 hosts fit: 9 lack MEMORY_MB, ...``."""
        counted = ", ".join(reason.counted() for reason in self.reasons)
        if not self.considered:
            counted = "there is no host yet"
        return f"0 of {self.considered} hosts fit" + (f": {counted}" if counted else "")


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The scheduler's answer for one server: a claimed destination, or why there is none.

    ``alternates`` are in the destination's cell and hold no claim.
    """

    instance_uuid: InstanceUuid
    destination: Destination | None = None
    alternates: tuple[Destination, ...] = ()
    no_host: NoHost | None = None
