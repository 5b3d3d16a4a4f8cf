"""A host that may take a server, with what is left of it in the picture of one decision."""

from collections.abc import Mapping

import msgspec

from kilonova.core.scheduling import Allocation, Destination, HostState

Free = dict[str, int]
"""What is free of each resource class."""


def amounts_of(allocation: Allocation) -> dict[str, int]:
    """Return what an allocation takes of each class, from all its providers together."""
    if len(allocation) == 1:
        return next(iter(allocation.values()))
    total: dict[str, int] = {}
    for part in allocation.values():
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


class Fit(msgspec.Struct, kw_only=True, gc=False):
    """A candidate: a host, what a server would be allocated there, and what is free.

    ``amounts`` are those of the allocation. ``free`` and ``host`` change as servers are placed in the
    picture.
    """

    host: HostState
    allocation: Allocation = {}
    amounts: dict[str, int] = {}
    free: Free = {}

    def has_room(self) -> bool:
        """Whether one more server fits."""
        left = self.free.get
        # Asked of every candidate: a generator would take three times as long.
        for name, amount in self.amounts.items():  # noqa: SIM110
            if left(name, -1) < amount:
                return False
        return True

    def deduct(self, amounts: Mapping[str, int]) -> None:
        """Take amounts out of what is free."""
        free = self.free
        for name, amount in amounts.items():
            if name in free:
                free[name] -= amount

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
