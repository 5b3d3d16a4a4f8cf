"""Servers for tests, as they reach a compute host."""

import uuid
from datetime import datetime

import msgspec

from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId, HostName, ImageId, InstanceUuid, NodeName, ProjectId, UserId
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Wishes

HOST = HostName("host-1")
FLAVOR = Flavor(flavor_id=FlavorId("1"), name="m1.tiny", vcpus=1, memory_mb=64, root_gb=1)
IMAGE = Image(image_id=ImageId("0e1c9f6e-70a5-4d8c-8a0e-3a1f0c9d5b11"), disk_format="raw")


def instance(name: str = "vm", **changed: object) -> Instance:
    """Return a server that was placed on ``HOST`` under epoch 1, with a UUID of its own."""
    plain = Instance(
        uuid=InstanceUuid(str(uuid.uuid4())),
        name=name,
        hostname=name,
        project_id=ProjectId("demo"),
        user_id=UserId("demo"),
        flavor=FLAVOR,
        image=IMAGE,
        wishes=Wishes(),
        created_at=datetime(2026, 5, 1, 12, 0, 0),
        host=HOST,
        node=NodeName(HOST),
        availability_zone="nova",
        epoch=1,
    )
    return msgspec.structs.replace(plain, **changed)
