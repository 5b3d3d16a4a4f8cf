"""Host aggregates as the API shows them."""

from typing import Any

from kilonova.api.views.moments import precise
from kilonova.core.aggregate import HostAggregate

Version = tuple[int, int]


def full(aggregate: HostAggregate, version: Version) -> dict[str, Any]:
    """Return a whole aggregate (2.41: its UUID)."""
    return created(aggregate, version) | {
        "hosts": list(aggregate.hosts),
        "metadata": aggregate.metadata,
    }


def created(aggregate: HostAggregate, version: Version) -> dict[str, Any]:
    """Return an aggregate as it is answered to its creation, when it has nothing yet."""
    view = {
        "id": aggregate.number,
        "name": aggregate.name,
        "availability_zone": aggregate.zone,
        "created_at": precise(aggregate.created_at),
        "updated_at": precise(aggregate.updated_at),
        "deleted": False,
        "deleted_at": None,
    }
    if version >= (2, 41):
        view["uuid"] = aggregate.uuid
    return view
