"""Flavors as the API shows them."""

from collections.abc import Iterable
from typing import Any

from kilonova.api.microversions import Since, Version
from kilonova.api.views.fields import Field, shown
from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId, ProjectId

Links = list[dict[str, str]]

_BRIEF: tuple[Field[Flavor], ...] = (
    Field("id", lambda flavor: flavor.flavor_id),
    Field("name", lambda flavor: flavor.name),
    Field("description", lambda flavor: flavor.description, when=Since.FLAVOR_DESCRIPTION),
)
_FULL: tuple[Field[Flavor], ...] = (
    *_BRIEF,
    Field("ram", lambda flavor: flavor.memory_mb),
    Field("disk", lambda flavor: flavor.root_gb),
    Field("vcpus", lambda flavor: flavor.vcpus),
    Field("swap", lambda flavor: flavor.swap_mb or "", when=Since.SWAP_AS_NUMBER.before),
    Field("swap", lambda flavor: flavor.swap_mb, when=Since.SWAP_AS_NUMBER),
    Field("rxtx_factor", lambda flavor: flavor.rxtx_factor, when=Since.FLAVOR_NAMES.before),
    Field("OS-FLV-EXT-DATA:ephemeral", lambda flavor: flavor.ephemeral_gb),
    Field(
        "OS-FLV-DISABLED:disabled", lambda flavor: flavor.disabled, when=Since.FLAVOR_NAMES.before
    ),
    Field("os-flavor-access:is_public", lambda flavor: flavor.is_public),
)
_FULL_WITH_EXTRA_SPECS: tuple[Field[Flavor], ...] = (
    *_FULL,
    Field("extra_specs", lambda flavor: flavor.extra_specs, when=Since.FLAVOR_EXTRA_SPECS),
)


def brief(flavor: Flavor, version: Version, links: Links) -> dict[str, Any]:
    """Return a flavor of a list without details."""
    return shown(_BRIEF, flavor, version) | {"links": links}


def full(
    flavor: Flavor, version: Version, links: Links, *, with_extra_specs: bool
) -> dict[str, Any]:
    """Return a whole flavor. ``with_extra_specs`` says whether policy lets the asker see them."""
    fields = _FULL_WITH_EXTRA_SPECS if with_extra_specs else _FULL
    return shown(fields, flavor, version) | {"links": links}


def access(flavor_id: FlavorId, projects: Iterable[ProjectId]) -> dict[str, Any]:
    """Return who may use a private flavor."""
    return {
        "flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in projects]
    }
