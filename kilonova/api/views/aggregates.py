"""Host aggregates as the API shows them."""

from typing import Any

from kilonova.api.microversions import Since, Version
from kilonova.api.views.fields import Field, shown
from kilonova.api.views.moments import precise
from kilonova.core.aggregate import HostAggregate

_CREATED: tuple[Field[HostAggregate], ...] = (
    Field("id", lambda aggregate: aggregate.number),
    Field("uuid", lambda aggregate: aggregate.uuid, when=Since.AGGREGATE_UUIDS),
    Field("name", lambda aggregate: aggregate.name),
    Field("availability_zone", lambda aggregate: aggregate.zone),
    Field("created_at", lambda aggregate: precise(aggregate.created_at)),
    Field("updated_at", lambda aggregate: precise(aggregate.updated_at)),
    Field("deleted", lambda _: False),
    Field("deleted_at", lambda _: None),
)
_FULL: tuple[Field[HostAggregate], ...] = (
    *_CREATED,
    Field("hosts", lambda aggregate: list(aggregate.hosts)),
    Field("metadata", lambda aggregate: aggregate.metadata),
)


def full(aggregate: HostAggregate, version: Version) -> dict[str, Any]:
    """Return a whole aggregate."""
    return shown(_FULL, aggregate, version)


def created(aggregate: HostAggregate, version: Version) -> dict[str, Any]:
    """Return an aggregate as it is answered to its creation, when it has nothing yet."""
    return shown(_CREATED, aggregate, version)
