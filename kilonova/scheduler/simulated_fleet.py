"""A described fleet in memory, which answers as Placement would: who has room, and claims.

Knows no trees of providers: what a host gives, it gives itself.
"""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

import msgspec

from kilonova.core.aggregate import ZONE, HostAggregate
from kilonova.core.candidates import Group, Request
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import CellUuid, HostName, NodeName, ProviderUuid
from kilonova.core.scheduling import HostState, Inventory
from kilonova.scheduler.fit import Fit, Free
from kilonova.scheduler.prefilters import resources

_NAMESPACE = uuid.UUID("0e0b7f0e-7d6c-5a52-9f2b-6f0a2d0f9a11")
_ALWAYS = datetime.max
_BEGINNING = datetime(2000, 1, 1)


class HostKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many hosts that are alike. Memory is MiB, disk GiB.

    They are dealt out evenly to ``cells`` cells and to ``zones``. All are in an aggregate of ``metadata``,
    if there is any.
    """

    count: int
    vcpus: int
    memory_mb: int
    disk_gb: int
    name: str = "host"
    cpu_allocation_ratio: float = 4.0
    ram_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    reserved_host_memory_mb: int = 512
    cells: int = 1
    zones: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    traits: tuple[str, ...] = ()
    capabilities: dict[str, str] = {}
    supported: tuple[tuple[str, str, str], ...] = (
        ("x86_64", "qemu", "hvm"),
        ("x86_64", "kvm", "hvm"),
    )

    def capacity(self) -> Free:
        """Return what one of them can give of each class."""
        inventories = {
            "VCPU": Inventory(total=self.vcpus, allocation_ratio=self.cpu_allocation_ratio),
            "MEMORY_MB": Inventory(
                total=self.memory_mb,
                reserved=self.reserved_host_memory_mb,
                allocation_ratio=self.ram_allocation_ratio,
            ),
            "DISK_GB": Inventory(total=self.disk_gb, allocation_ratio=self.disk_allocation_ratio),
        }
        return {name: inventory.capacity for name, inventory in inventories.items()}


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What FLEET.yaml describes."""

    hosts: tuple[HostKind, ...]


class Fleet:
    """Hosts, what is free on each, and the order in which they are offered.

    Hosts that lack even ``least`` of something are not looked at until something is given back, so that a
    full fleet is searched no longer than an empty one.
    """

    def __init__(self, plan: FleetPlan, *, seed: int, least: Mapping[str, int]) -> None:
        self.aggregates: list[HostAggregate] = []
        self.hosts: list[HostState] = []
        self.capacities: list[Free] = []
        self._traits: list[frozenset[str]] = []
        self._member_of: list[frozenset[str]] = []
        self._build(plan, random.Random(seed))
        self.free = [dict(capacity) for capacity in self.capacities]
        self._least = tuple(least.items())
        self._index = {host.provider_uuid: n for n, host in enumerate(self.hosts)}
        # The hosts that are looked at stand before the others.
        self._order = list(range(len(self.hosts)))
        self._place = list(self._order)
        self._open = len(self._order)
        for index in range(len(self.hosts)):
            self._look_or_not(index)

    def _build(self, plan: FleetPlan, chance: random.Random) -> None:
        """Make the hosts in random order, so that those that are looked at together are of all kinds."""
        joined = [self._aggregates_of(kind) for kind in plan.hosts]
        wanted = [(n, number) for n, kind in enumerate(plan.hosts) for number in range(kind.count)]
        chance.shuffle(wanted)
        capacities = [kind.capacity() for kind in plan.hosts]
        traits = [frozenset({"COMPUTE_NODE", *kind.traits}) for kind in plan.hosts]
        sets: dict[int, frozenset[str]] = {}
        for n, number in wanted:
            self.hosts.append(_host(plan.hosts[n], number, joined[n]))
            self.capacities.append(capacities[n])
            self._traits.append(traits[n])
            joins = self.hosts[-1].aggregates
            member_of = sets.setdefault(id(joins), frozenset(one.uuid for one in joins))
            self._member_of.append(member_of)

    def _aggregates_of(self, kind: HostKind) -> dict[str, tuple[HostAggregate, ...]]:
        """Return the aggregates of a kind's hosts by zone."""
        described = [(zone, {ZONE: zone}) for zone in kind.zones]
        if kind.metadata:
            described.append((kind.name, dict(kind.metadata)))
        made = [
            HostAggregate(
                number=len(self.aggregates) + n,
                uuid=str(uuid.uuid5(_NAMESPACE, f"{kind.name}/{name}")),
                name=name,
                created_at=_BEGINNING,
                metadata=metadata,
            )
            for n, (name, metadata) in enumerate(described)
        ]
        self.aggregates += made
        return {
            zone: tuple(one for one in made if one.zone in (None, zone))
            for zone in kind.zones or ("nova",)
        }

    def candidates(self, asked: Request, chance: random.Random) -> Iterator[Fit]:
        """Yield the hosts that have room for a request, each once, beginning anywhere."""
        if not self._open:
            return
        amounts = resources(asked)
        wanted = tuple(amounts.items())
        special = self._special(asked)
        start = chance.randrange(self._open)
        hosts, frees, order = self.hosts, self.free, self._order
        for place in chain(range(start, self._open), range(start)):
            index = order[place]
            # The cheapest questions first: no class is looked up of a host that does not suit.
            if special and not self._suits(special, index):
                continue
            free = frees[index]
            for name, amount in wanted:
                if free.get(name, 0) < amount:
                    break
            else:
                host = hosts[index]
                yield Fit(
                    host=host,
                    allocation={host.provider_uuid: amounts},
                    amounts=amounts,
                    free=free.copy(),
                )

    @staticmethod
    def _special(asked: Request) -> list[Group]:
        """Return the groups that ask for more than room. No host of a described fleet is disabled."""
        return [
            group
            for group in asked.groups
            if group.required
            or group.forbidden - {DISABLED_TRAIT}
            or group.member_of
            or group.in_tree
        ]

    def _suits(self, groups: Sequence[Group], index: int) -> bool:
        traits, member_of = self._traits[index], self._member_of[index]
        for group in groups:
            for uuids in group.member_of:
                if uuids.isdisjoint(member_of):
                    return False
            for names in group.required:
                if names.isdisjoint(traits):
                    return False
            if not traits.isdisjoint(group.forbidden):
                return False
            if group.in_tree not in (None, self.hosts[index].provider_uuid):
                return False
        return True

    def claim(self, provider: ProviderUuid, amounts: Mapping[str, int]) -> int | None:
        """Take a server's amounts from a host and return its index; None if they are not there."""
        index = self._index[provider]
        free = self.free[index]
        if any(free.get(name, 0) < amount for name, amount in amounts.items()):
            return None
        for name, amount in amounts.items():
            free[name] -= amount
        self._count(index, servers=1, busy=1)
        self._look_or_not(index)
        return index

    def built(self, index: int) -> None:
        """A server on a host is no longer being built."""
        self._count(index, servers=0, busy=-1)

    def give_back(self, index: int, amounts: Mapping[str, int]) -> None:
        """A server on a host is gone."""
        free = self.free[index]
        for name, amount in amounts.items():
            free[name] += amount
        self._count(index, servers=-1, busy=0)
        self._look_or_not(index)

    def _count(self, index: int, *, servers: int, busy: int) -> None:
        host = self.hosts[index]
        self.hosts[index] = msgspec.structs.replace(
            host, servers=host.servers + servers, busy=host.busy + busy
        )

    def _look_or_not(self, index: int) -> None:
        """Keep a host before or behind the border in the order, by whether it has the least there is."""
        free = self.free[index]
        has_room = all(free.get(name, 0) >= amount for name, amount in self._least)
        place = self._place[index]
        if has_room == (place < self._open):
            return
        border = self._open if has_room else self._open - 1
        other = self._order[border]
        self._order[place], self._order[border] = other, index
        self._place[index], self._place[other] = border, place
        self._open += 1 if has_room else -1

    def least_hosts(self, demand: Mapping[str, int]) -> int:
        """Return how many hosts a demand needs at least, if its servers could be cut to any size."""
        return max((self._needed(name, amount) for name, amount in demand.items()), default=0)

    def _needed(self, name: str, amount: int) -> int:
        left = amount
        largest: Sequence[int] = sorted((c.get(name, 0) for c in self.capacities), reverse=True)
        for count, capacity in enumerate(largest):
            if left <= 0:
                return count
            left -= capacity
        return len(largest)


def _host(
    kind: HostKind, number: int, joined: Mapping[str, tuple[HostAggregate, ...]]
) -> HostState:
    name = f"{kind.name}-{number:06}"
    zone = kind.zones[number % len(kind.zones)] if kind.zones else "nova"
    return HostState(
        host=HostName(name),
        node=NodeName(name),
        cell_uuid=CellUuid(f"cell{number % kind.cells}"),
        provider_uuid=ProviderUuid(str(uuid.uuid5(_NAMESPACE, name))),
        last_seen=_ALWAYS,
        availability_zone=zone,
        capabilities=kind.capabilities,
        supported=kind.supported,
        aggregates=joined[zone],
    )
