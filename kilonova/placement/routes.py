"""Every path that Placement answers: per method, its first microversion, policy rule and handler."""

from typing import NamedTuple

from kilonova.placement import (
    aggregates,
    allocations,
    candidates,
    claims,
    inventories,
    providers,
    reshaper,
    resource_classes,
    traits,
    usages,
)
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
_INVENTORY = f"{_PROVIDER}:inventories"
_ALLOCATION = "placement:allocations"

ROUTES: dict[str, dict[str, Route]] = {
    "/": {"GET": Route((1, 0), "", versions)},
    "/resource_classes": {
        "GET": Route((1, 2), f"{_CLASS}:list", resource_classes.list_classes),
        "POST": Route((1, 2), f"{_CLASS}:create", resource_classes.create, reads=True),
    },
    "/resource_classes/{name}": {
        "GET": Route((1, 2), f"{_CLASS}:show", resource_classes.show),
        "PUT": Route((1, 2), f"{_CLASS}:update", resource_classes.update),
        "DELETE": Route((1, 2), f"{_CLASS}:delete", resource_classes.delete),
    },
    "/traits": {"GET": Route((1, 6), f"{_TRAIT}:list", traits.list_traits)},
    "/traits/{name}": {
        "GET": Route((1, 6), f"{_TRAIT}:show", traits.show),
        "PUT": Route((1, 6), f"{_TRAIT}:update", traits.update),
        "DELETE": Route((1, 6), f"{_TRAIT}:delete", traits.delete),
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
        "GET": Route((1, 0), f"{_INVENTORY}:list", inventories.list_of_provider),
        "POST": Route((1, 0), f"{_INVENTORY}:create", inventories.create, reads=True),
        "PUT": Route((1, 0), f"{_INVENTORY}:update", inventories.set_all, reads=True),
        "DELETE": Route(
            (1, 5), f"{_INVENTORY}:delete", inventories.delete_all, hidden_as_method=True
        ),
    },
    "/resource_providers/{uuid}/inventories/{name}": {
        "GET": Route((1, 0), f"{_INVENTORY}:show", inventories.show),
        "PUT": Route((1, 0), f"{_INVENTORY}:update", inventories.update, reads=True),
        "DELETE": Route((1, 0), f"{_INVENTORY}:delete", inventories.delete),
    },
    "/resource_providers/{uuid}/traits": {
        "GET": Route((1, 6), f"{_PROVIDER}:traits:list", traits.list_of_provider),
        "PUT": Route((1, 6), f"{_PROVIDER}:traits:update", traits.set_of_provider, reads=True),
        "DELETE": Route((1, 6), f"{_PROVIDER}:traits:delete", traits.delete_of_provider),
    },
    "/resource_providers/{uuid}/aggregates": {
        "GET": Route((1, 1), f"{_PROVIDER}:aggregates:list", aggregates.list_of_provider),
        "PUT": Route(
            (1, 1), f"{_PROVIDER}:aggregates:update", aggregates.set_of_provider, reads=True
        ),
    },
    "/resource_providers/{uuid}/usages": {
        "GET": Route((1, 0), f"{_PROVIDER}:usages", usages.of_provider),
    },
    "/resource_providers/{uuid}/allocations": {
        "GET": Route((1, 0), f"{_PROVIDER}:allocations:list", allocations.list_of_provider),
    },
    "/allocations": {
        "POST": Route((1, 13), f"{_ALLOCATION}:manage", allocations.update_many, reads=True),
    },
    "/allocations/{consumer}": {
        "GET": Route((1, 0), f"{_ALLOCATION}:list", allocations.show),
        "PUT": Route((1, 0), f"{_ALLOCATION}:update", allocations.update, reads=True),
        "DELETE": Route((1, 0), f"{_ALLOCATION}:delete", allocations.delete),
    },
    "/allocation_candidates": {
        "GET": Route((1, 10), "placement:allocation_candidates:list", candidates.list_candidates),
    },
    "/usages": {"GET": Route((1, 9), "placement:usages", usages.of_project)},
    "/reshaper": {
        "POST": Route((1, 30), "placement:reshaper:reshape", reshaper.change, reads=True)
    },
    "/kilonova/v1/claims": {"POST": Route((1, 0), "kilonova:placement:claims", claims.claim)},
}
"""Path -> method -> route."""
