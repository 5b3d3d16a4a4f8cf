"""Payloads of ``aggregate.*``: created, deleted, renamed, hosts added and removed."""

from kilonova.core.aggregate import ZONE, HostAggregate
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
