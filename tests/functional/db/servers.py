"""Servers to write into databases: accepted ones, and instances on a host."""

import itertools
from typing import Any

from kilonova.core.ids import (
    CellUuid,
    HostName,
    InstanceUuid,
    NodeName,
    ProjectId,
    ProviderUuid,
    RequestId,
    UserId,
)
from kilonova.core.instance import Instance, InstanceAction, Wishes
from kilonova.core.scheduling import Destination, RequestSpec
from kilonova.core.states import Action
from kilonova.db.acceptance import Accepted
from kilonova.db.instances import Placed
from tests.functional.db.api_database import NOW, flavor

PROJECT, USER = ProjectId("project-a"), UserId("ann")
REQUEST = RequestId("req-1")
H1, H2 = HostName("h1"), HostName("h2")
_numbers = itertools.count(1)


def instance(**changed: Any) -> Instance:
    """Return a server of 1 VCPU and 512 MiB with a UUID of its own."""
    fields: dict[str, Any] = {
        "uuid": InstanceUuid(f"00000000-0000-4000-8000-{next(_numbers):012}"),
        "name": "vm",
        "hostname": "vm",
        "project_id": PROJECT,
        "user_id": USER,
        "flavor": flavor(),
        "image": None,
        "wishes": Wishes(),
        "created_at": NOW,
    }
    return Instance(**fields | changed)


def accepted(count: int, **changed: Any) -> list[Accepted]:
    """Return so many servers of one request, with one spec."""
    servers = [instance(**changed) for _ in range(count)]
    spec = RequestSpec(
        project_id=servers[0].project_id, user_id=USER, flavor=servers[0].flavor, image=None
    )
    return [Accepted(instance=one, spec=spec, request_id=REQUEST) for one in servers]


def destination(host: HostName, zone: str = "z1") -> Destination:
    """Return a host, with a claim on it."""
    return Destination(
        host=host,
        node=NodeName(f"{host}.example"),
        cell_uuid=CellUuid("11111111-1111-4111-8111-111111111111"),
        provider_uuid=ProviderUuid(f"provider-{host}"),
        availability_zone=zone,
        allocation={f"provider-{host}": {"VCPU": 1}},
    )


def placed(**changed: Any) -> Placed:
    """Return a server that is on host h1 under epoch 1, waiting to be built."""
    one = instance(
        **{"host": H1, "node": NodeName("h1.example"), "epoch": 1, "updated_at": NOW} | changed
    )
    action = InstanceAction(
        action=Action.CREATE,
        instance_uuid=one.uuid,
        request_id=REQUEST,
        user_id=one.user_id,
        project_id=one.project_id,
        started_at=NOW,
    )
    return Placed(instance=one, action=action)
