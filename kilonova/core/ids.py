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
