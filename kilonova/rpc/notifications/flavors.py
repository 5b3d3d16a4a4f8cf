"""Payloads of ``flavor.create``, ``flavor.update`` and ``flavor.delete``, and of a server's flavor."""

from collections.abc import Sequence

from kilonova.core.flavor import Flavor
from kilonova.rpc.notifications.notification import Payload, versioned


def of_flavor(flavor: Flavor, projects: Sequence[str] | None = None) -> Payload:
    """Return the payload of a flavor; ``projects`` may use it, None where that is not looked up."""
    data = {
        "flavorid": flavor.flavor_id,
        "name": flavor.name,
        "root_gb": flavor.root_gb,
        "vcpus": flavor.vcpus,
        "ephemeral_gb": flavor.ephemeral_gb,
        "memory_mb": flavor.memory_mb,
        "disabled": flavor.disabled,
        "rxtx_factor": flavor.rxtx_factor,
        "extra_specs": dict(flavor.extra_specs),
        "projects": None if projects is None else list(projects),
        "swap": flavor.swap_mb,
        "is_public": flavor.is_public,
        "vcpu_weight": 0,
        "description": flavor.description,
    }
    return versioned("FlavorPayload", "1.4", data)
