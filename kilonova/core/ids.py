"""The names that identify things. Each is a string on the wire and a type of its own in the code."""

from typing import NewType

InstanceUuid = NewType("InstanceUuid", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)
FlavorId = NewType("FlavorId", str)
ImageId = NewType("ImageId", str)
CellUuid = NewType("CellUuid", str)
HostName = NewType("HostName", str)
NodeName = NewType("NodeName", str)
ProviderUuid = NewType("ProviderUuid", str)
ConsumerUuid = NewType("ConsumerUuid", str)
RequestId = NewType("RequestId", str)

CELL0 = CellUuid("00000000-0000-0000-0000-000000000000")
"""The cell of servers that never got a host (the zero UUID, as Nova has it)."""


_DOMAIN = "instance-"


def domain_name(uuid: InstanceUuid) -> str:
    """Return what a hypervisor calls a server's guest, which administrators see as ``instance_name``."""
    return _DOMAIN + uuid


def uuid_of_domain(name: str) -> InstanceUuid | None:
    """Return the server whose guest is called so, or None if it is nobody's."""
    return InstanceUuid(name.removeprefix(_DOMAIN)) if name.startswith(_DOMAIN) else None
