"""Flavors as the API shows them."""

from collections.abc import Iterable
from typing import Any

from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId, ProjectId

Version = tuple[int, int]
Links = list[dict[str, str]]


def brief(flavor: Flavor, version: Version, links: Links) -> dict[str, Any]:
    """Return a flavor of a list without details (2.55: the description)."""
    view: dict[str, Any] = {"id": flavor.flavor_id, "name": flavor.name, "links": links}
    if version >= (2, 55):
        view["description"] = flavor.description
    return view


def full(
    flavor: Flavor, version: Version, links: Links, *, with_extra_specs: bool
) -> dict[str, Any]:
    """Return a whole flavor (2.55: the description; 2.61: the extra specs; 2.75: no swap is 0;
    2.102: two fields are gone).

    ``with_extra_specs`` says whether policy lets the asker see them.
    """
    view = brief(flavor, version, links) | {
        "ram": flavor.memory_mb,
        "disk": flavor.root_gb,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap_mb if flavor.swap_mb or version >= (2, 75) else "",
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "os-flavor-access:is_public": flavor.is_public,
    }
    if version < (2, 102):
        view |= {"rxtx_factor": flavor.rxtx_factor, "OS-FLV-DISABLED:disabled": flavor.disabled}
    if version >= (2, 61) and with_extra_specs:
        view["extra_specs"] = flavor.extra_specs
    return view


def access(flavor_id: FlavorId, projects: Iterable[ProjectId]) -> dict[str, Any]:
    """Return who may use a private flavor."""
    return {
        "flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in projects]
    }
