"""Host aggregates: groups of hosts, and the availability zones that some of them are."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from kilonova.core.errors import Conflict
from kilonova.core.ids import HostName

ZONE = "availability_zone"
"""The metadata key that makes an aggregate a zone."""


class ZoneConflict(Conflict):
    """A host would be in two zones, or leave one in which it has servers."""

    code = "zone_conflict"


class HostAggregate(msgspec.Struct, frozen=True, kw_only=True):
    """A group of hosts. ``number`` is what the API calls its id; times are UTC without a zone."""

    number: int
    uuid: str
    name: str
    created_at: datetime
    updated_at: datetime | None = None
    metadata: dict[str, str] = {}
    hosts: tuple[HostName, ...] = ()

    @property
    def zone(self) -> str | None:
        """The zone that its hosts are in, or None if it makes none."""
        return self.metadata.get(ZONE)


def zones_by_host(aggregates: Iterable[HostAggregate]) -> dict[HostName, str]:
    """Return the zone of every host that an aggregate puts into one."""
    return {
        host: aggregate.zone
        for aggregate in aggregates
        if aggregate.zone is not None
        for host in aggregate.hosts
    }


def aggregates_by_host(
    aggregates: Iterable[HostAggregate],
) -> dict[HostName, tuple[HostAggregate, ...]]:
    """Return the aggregates that every host is in, of hosts that are in any."""
    found: dict[HostName, list[HostAggregate]] = {}
    for aggregate in aggregates:
        for host in aggregate.hosts:
            found.setdefault(host, []).append(aggregate)
    return {host: tuple(several) for host, several in found.items()}


def changed_metadata(
    metadata: Mapping[str, str], change: Mapping[str, str | None]
) -> dict[str, str]:
    """Return metadata with items set, or removed where the change says None."""
    merged = {**metadata, **change}
    return {key: value for key, value in merged.items() if value is not None}


def moved_hosts(
    before: Iterable[HostAggregate], after: Iterable[HostAggregate]
) -> frozenset[HostName]:
    """Return the hosts whose zone differs between two pictures of all aggregates."""
    old, new = zones_by_host(before), zones_by_host(after)
    return frozenset(host for host in old.keys() | new.keys() if old.get(host) != new.get(host))


def check_zones(aggregates: Iterable[HostAggregate]) -> None:
    """Check that every host is in at most one zone.

    Raises:
        ZoneConflict: naming a host that would be in two.
    """
    zones: dict[HostName, str] = {}
    for aggregate in aggregates:
        if aggregate.zone is None:
            continue
        for host in aggregate.hosts:
            if zones.setdefault(host, aggregate.zone) != aggregate.zone:
                raise ZoneConflict(
                    f"Host {host} would be in the availability zones {zones[host]} and "
                    f"{aggregate.zone}; a host is in one zone only."
                )


def uuids_with(aggregates: Iterable[HostAggregate], host: HostName) -> frozenset[str]:
    """Return the UUIDs of the aggregates that a host is in."""
    return frozenset(aggregate.uuid for aggregate in aggregates if host in aggregate.hosts)
