"""Hosts and requests to schedule with."""

from datetime import datetime
from typing import Any

from kilonova.core import flavor as flavors
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    CellUuid,
    FlavorId,
    HostName,
    ImageId,
    InstanceUuid,
    NodeName,
    ProjectId,
    ProviderUuid,
    UserId,
)
from kilonova.core.image import Image
from kilonova.core.scheduling import HostState, RequestSpec
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.fit import Fit

NOW = datetime(2026, 5, 1, 12, 0, 0)
MOMENT = Moment(now=NOW, down_after=15)
CELL = CellUuid("cell1")


def host(name: str = "h1", **changed: Any) -> HostState:
    """Return a host that is up and runs x86_64 guests under QEMU."""
    fields: dict[str, Any] = {
        "host": HostName(name),
        "node": NodeName(f"{name}.example"),
        "cell_uuid": CELL,
        "provider_uuid": ProviderUuid(f"provider-of-{name}"),
        "last_seen": NOW,
        "capabilities": {"hypervisor_type": "QEMU", "cpu_arch": "x86_64", "free": "8"},
        "supported": (("x86_64", "qemu", "hvm"), ("i686", "qemu", "hvm")),
    }
    return HostState(**fields | changed)


def flavor(**changed: Any) -> Flavor:
    """Return a flavor of 1 VCPU, 512 MiB and 10 GiB."""
    sizes: dict[str, Any] = {"vcpus": 1, "memory_mb": 512, "root_gb": 10}
    return Flavor(flavor_id=FlavorId("1"), name="f", **sizes | changed)


def image(**properties: str) -> Image:
    """Return an image of these properties."""
    return Image(image_id=ImageId("i"), properties=properties)


def spec(**changed: Any) -> RequestSpec:
    """Return a request for a server of the small flavor."""
    fields: dict[str, Any] = {"flavor": flavor(), "image": None}
    return RequestSpec(project_id=ProjectId("p"), user_id=UserId("u"), **fields | changed)


def rooms(vcpu: int = 8, memory: int = 8192, disk: int = 100) -> dict[str, int]:
    """Return what is free of each class."""
    return {"VCPU": vcpu, "MEMORY_MB": memory, "DISK_GB": disk}


def fit(name: str, *, cell: str = CELL, request: RequestSpec | None = None, **free: int) -> Fit:
    """Return a host on which a request fits, with so much free."""
    state = host(name, cell_uuid=CellUuid(cell))
    wanted = flavors.resources((request or spec()).flavor)
    allocation = {state.provider_uuid: wanted}
    return Fit(host=state, allocation=allocation, amounts=wanted, free=rooms(**free))


def uuids(count: int) -> list[InstanceUuid]:
    """Return so many servers' UUIDs."""
    return [InstanceUuid(f"vm-{number}") for number in range(count)]
