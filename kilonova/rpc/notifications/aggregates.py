"""Payloads of ``aggregate.*``: created, deleted, renamed, hosts added and removed, images cached."""

from collections.abc import Sequence

from kilonova.core.aggregate import ZONE, HostAggregate
from kilonova.core.ids import HostName
from kilonova.rpc.notifications.notification import Payload, versioned

_NAME, _VERSION = "AggregatePayload", "1.1"


def of_aggregate(aggregate: HostAggregate) -> Payload:
    """Return the payload of an aggregate."""
    data = {
        "id": aggregate.number,
        "uuid": aggregate.uuid,
        "name": aggregate.name,
        "hosts": list(aggregate.hosts),
        "metadata": dict(aggregate.metadata),
    }
    return versioned(_NAME, _VERSION, data)


def wanted(name: str, zone: str | None) -> Payload:
    """Return the payload of an aggregate that is only about to be made."""
    metadata = {} if zone is None else {ZONE: zone}
    data = {"id": None, "uuid": None, "name": name, "hosts": None, "metadata": metadata}
    return versioned(_NAME, _VERSION, data)


def cached(
    aggregate: HostAggregate,
    host: HostName,
    done: tuple[int, int],
    images: tuple[Sequence[str], Sequence[str]],
) -> Payload:
    """Return the payload of one host that has cached images of those (cached, failed) it was told of.

    ``done`` are how many hosts are, that one among them, and how many are to be.
    """
    index, total = done
    had, failed = images
    data = {
        "id": aggregate.number,
        "uuid": aggregate.uuid,
        "name": aggregate.name,
        "host": host,
        "index": index,
        "total": total,
        "images_cached": list(had),
        "images_failed": list(failed),
    }
    return versioned("AggregateCachePayload", "1.0", data)
