"""Compute hosts: what one offers, and what it says of itself."""

from datetime import datetime

import msgspec

from kilonova.core.ids import HostName, NodeName, ProviderUuid
from kilonova.core.scheduling import Inventory, NumaCell, PciPool

DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"
"""The trait (os-traits) of a host whose service is disabled: Placement offers it to no new server."""


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One compute node as its host sees it. Memory is MiB, disk GiB.

    ``inventory`` is what the node's resource provider holds; ``supported`` are (architecture,
    hypervisor type, vm mode) triples; ``cpu_info`` is a JSON text; ``booted_at`` is when the host
    started (UTC without a zone), or None where that is not known. ``servers`` are on the node or being
    built there, ``busy`` tasks are under way for them, and ``failed_builds`` came since the last that
    went well. ``image_properties`` counts servers by ``name=value`` of their images. ``pci`` and ``numa``
    are what is left of each.
    """

    node: NodeName
    provider_uuid: ProviderUuid
    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int = 0
    memory_mb_used: int = 0
    disk_gb_used: int = 0
    running_vms: int = 0
    cpu_info: str = "{}"
    inventory: dict[str, Inventory] = {}
    traits: tuple[str, ...] = ()
    capabilities: dict[str, str] = {}
    supported: tuple[tuple[str, str, str], ...] = ()
    booted_at: datetime | None = None
    servers: int = 0
    busy: int = 0
    failed_builds: int = 0
    metrics: dict[str, float] = {}
    image_properties: dict[str, int] = {}
    pci: tuple[PciPool, ...] = ()
    numa: tuple[NumaCell, ...] = ()


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the deployment, as ``os-services`` lists it.

    ``id`` is its number in its cell, by which clients below microversion 2.53 know it.
    """

    uuid: str
    binary: str
    host: HostName
    topic: str
    enabled: bool = True
    disabled_reason: str | None = None
    forced_down: bool = False
    last_seen: datetime | None = None
    created_at: datetime | None = None
    version: int = 1
    id: int = 0

    def is_up(self, now: datetime, down_after: float) -> bool:
        """Whether it was heard of within ``down_after`` seconds of ``now`` and is not forced down."""
        if self.forced_down or self.last_seen is None:
            return False
        return (now - self.last_seen).total_seconds() <= down_after
