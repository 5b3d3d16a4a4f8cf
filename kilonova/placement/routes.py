"""Every path that Placement answers: per method, its first microversion, policy rule and handler."""

from typing import NamedTuple

from kilonova.placement import allocations, candidates, names, providers
from kilonova.placement.wire import (
    MAXIMUM,
    MINIMUM,
    Answer,
    Asked,
    Handler,
    Version,
    shown,
)


class Route(NamedTuple):
    """One operation. ``reads`` says that its body must be JSON; without a ``rule`` anybody may ask."""

    since: Version
    rule: str
    handler: Handler
    reads: bool = False
    hidden_as_method: bool = False
    """Before ``since`` the method is missing (405), not the path (404)."""


def versions(_asked: Asked) -> Answer:
    """``GET /``: the version document, which needs no token."""
    version = {
        "id": f"v{shown(MINIMUM)}",
        "min_version": shown(MINIMUM),
        "max_version": shown(MAXIMUM),
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }
    return Answer({"versions": [version]})


_PROVIDER = "placement:resource_providers"
_CLASS = "placement:resource_classes"
_TRAIT = "placement:traits"
_ALLOCATION = "placement:allocations"

ROUTES: dict[str, dict[str, Route]] = {
    "/": {"GET": Route((1, 0), "", versions)},
    "/resource_classes": {
        "GET": Route((1, 2), f"{_CLASS}:list", names.list_classes),
        "POST": Route((1, 2), f"{_CLASS}:create", names.create_class, reads=True),
    },
    "/resource_classes/{name}": {
        "GET": Route((1, 2), f"{_CLASS}:show", names.show_class),
        "PUT": Route((1, 7), f"{_CLASS}:update", names.put_class),
    },
    "/traits": {"GET": Route((1, 6), f"{_TRAIT}:list", names.list_traits)},
    "/traits/{name}": {
        "GET": Route((1, 6), f"{_TRAIT}:show", names.show_trait),
        "PUT": Route((1, 6), f"{_TRAIT}:update", names.put_trait),
    },
    "/resource_providers": {
        "GET": Route((1, 0), f"{_PROVIDER}:list", providers.list_providers),
        "POST": Route((1, 0), f"{_PROVIDER}:create", providers.create, reads=True),
    },
    "/resource_providers/{uuid}": {
        "GET": Route((1, 0), f"{_PROVIDER}:show", providers.show),
        "PUT": Route((1, 0), f"{_PROVIDER}:update", providers.update, reads=True),
        "DELETE": Route((1, 0), f"{_PROVIDER}:delete", providers.delete),
    },
    "/resource_providers/{uuid}/inventories": {
        "GET": Route((1, 0), f"{_PROVIDER}:inventories:list", providers.list_inventories),
        "PUT": Route(
            (1, 0), f"{_PROVIDER}:inventories:update", providers.set_inventories, reads=True
        ),
    },
    "/resource_providers/{uuid}/inventories/{name}": {
        "GET": Route((1, 0), f"{_PROVIDER}:inventories:show", providers.show_inventory),
    },
    "/resource_providers/{uuid}/traits": {
        "GET": Route((1, 6), f"{_PROVIDER}:traits:list", providers.list_traits),
        "PUT": Route((1, 6), f"{_PROVIDER}:traits:update", providers.set_traits, reads=True),
    },
    "/resource_providers/{uuid}/aggregates": {
        "GET": Route((1, 1), f"{_PROVIDER}:aggregates:list", providers.list_aggregates),
        "PUT": Route(
            (1, 1), f"{_PROVIDER}:aggregates:update", providers.set_aggregates, reads=True
        ),
    },
    "/resource_providers/{uuid}/usages": {
        "GET": Route((1, 0), f"{_PROVIDER}:usages", providers.usages),
    },
    "/resource_providers/{uuid}/allocations": {
        "GET": Route((1, 0), f"{_PROVIDER}:allocations:list", providers.list_allocations),
    },
    "/allocations": {
        "POST": Route((1, 13), f"{_ALLOCATION}:manage", allocations.change_many, reads=True),
    },
    "/allocations/{consumer}": {
        "GET": Route((1, 0), f"{_ALLOCATION}:list", allocations.show),
        "PUT": Route((1, 0), f"{_ALLOCATION}:update", allocations.update, reads=True),
        "DELETE": Route((1, 0), f"{_ALLOCATION}:delete", allocations.delete),
    },
    "/allocation_candidates": {
        "GET": Route((1, 10), "placement:allocation_candidates:list", candidates.list_candidates),
    },
    "/usages": {"GET": Route((1, 9), "placement:usages", allocations.usages)},
    "/kilonova/v1/claims": {
        "POST": Route((1, 0), "kilonova:placement:claims", allocations.claim),
    },
}
"""Path -> method -> route."""
