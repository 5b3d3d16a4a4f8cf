"""A host that may take a server, with the room that is left on it in the picture of one decision."""

from collections.abc import Mapping

import msgspec

from kilonova.core.scheduling import Allocation, Destination, HostState, Room

Rooms = dict[str, Room]


class Fit(msgspec.Struct, kw_only=True):
    """A candidate: a host, what a server would be allocated there, and the room of each resource class.

    ``rooms`` and ``host`` change as servers are placed in the picture.
    """

    host: HostState
    allocation: Allocation
    rooms: Rooms

    def amounts(self) -> Mapping[str, int]:
        """Return what a server takes of each class, from the host and the providers under it together."""
        if len(self.allocation) == 1:
            return next(iter(self.allocation.values()))
        total: dict[str, int] = {}
        for part in self.allocation.values():
            for name, amount in part.items():
                total[name] = total.get(name, 0) + amount
        return total

    def has_room(self) -> bool:
        """Whether one more server fits."""
        rooms = self.rooms
        for name, amount in self.amounts().items():
            room = rooms.get(name)
            if room is None or room.capacity - room.used < amount:
                return False
        return True

    def destination(self) -> Destination:
        """Return the host as where a server goes."""
        host = self.host
        return Destination(
            host=host.host,
            node=host.node,
            cell_uuid=host.cell_uuid,
            provider_uuid=host.provider_uuid,
            availability_zone=host.availability_zone,
            allocation=self.allocation,
        )


def deduct(rooms: Rooms, amounts: Mapping[str, int]) -> None:
    """Take amounts out of a picture's rooms."""
    for name, amount in amounts.items():
        if name in rooms:
            room = rooms[name]
            rooms[name] = Room(capacity=room.capacity, used=room.used + amount)
