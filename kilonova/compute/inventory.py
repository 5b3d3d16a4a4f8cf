"""What a host offers to Placement, and what it counts of its servers: pure arithmetic."""

import uuid
from collections import Counter
from collections.abc import Iterable

import msgspec
from oslo_config import cfg

from kilonova.core.asked import Malformed
from kilonova.core.errors import Invalid
from kilonova.core.guest_cells import cpu_set
from kilonova.core.ids import HostName, NodeName, ProviderUuid
from kilonova.core.image import Image
from kilonova.core.scheduling import Inventory

_NAMESPACE = uuid.UUID("e3e7c6b2-6a43-5d5e-8f6e-5a3f9b1f2c77")


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What a host has: CPUs, MiB of memory, GiB of disk, mediated devices.

    ``pcpus`` of the CPUs are set apart for servers that want CPUs of their own.
    """

    vcpus: int
    memory_mb: int
    disk_gb: int
    pcpus: int = 0
    vgpus: int = 0


def set_apart(conf: cfg.ConfigOpts, vcpus: int) -> frozenset[int]:
    """Return those of a host's CPUs that ``[compute] cpu_dedicated_set`` sets apart.

    Raises:
        Invalid: the option is no list of CPUs.
    """
    text = conf.compute.cpu_dedicated_set
    try:
        return cpu_set(text) & frozenset(range(vcpus)) if text else frozenset()
    except Malformed as error:
        raise Invalid(f"[compute] cpu_dedicated_set: {error}.") from error


def provider_uuid(host: HostName, node: NodeName) -> ProviderUuid:
    """Return the UUID of a node's resource provider: made of its names, so that no restart changes it."""
    return ProviderUuid(str(uuid.uuid5(_NAMESPACE, f"{host}/{node}")))


def inventory(conf: cfg.ConfigOpts, has: Capacity) -> dict[str, Inventory]:
    """Return the inventories of a host under the configured reserves and ratios; empty ones left out."""
    reserved_gb = -(-conf.reserved_host_disk_mb // 1024)
    wanted = {
        "VCPU": (has.vcpus - has.pcpus, conf.reserved_host_cpus, conf.cpu_allocation_ratio),
        "PCPU": (has.pcpus, 0, 1.0),
        "MEMORY_MB": (has.memory_mb, conf.reserved_host_memory_mb, conf.ram_allocation_ratio),
        "DISK_GB": (has.disk_gb, reserved_gb, conf.disk_allocation_ratio),
        "VGPU": (has.vgpus, 0, 1.0),
    }
    return {
        name: Inventory(
            total=total,
            reserved=min(reserved, total),
            max_unit=total,
            allocation_ratio=ratio,
        )
        for name, (total, reserved, ratio) in wanted.items()
        if total > 0
    }


def count_properties(images: Iterable[Image | None]) -> dict[str, int]:
    """Return how many servers' images have each property, by ``name=value``, in order."""
    found = Counter(
        f"{name}={value}" for image in images if image for name, value in image.properties.items()
    )
    return dict(sorted(found.items()))
