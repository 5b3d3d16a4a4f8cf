"""Flavors: the size of a server and what it demands of its host."""

import msgspec

from kilonova.core.ids import FlavorId


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """A size. ``memory_mb`` and ``swap_mb`` are MiB, ``root_gb`` and ``ephemeral_gb`` GiB.

    ``flavor_id`` is the id that users type; ``disabled`` flavors cannot be booted.
    """

    flavor_id: FlavorId
    name: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    disabled: bool = False
    description: str | None = None
    extra_specs: dict[str, str] = {}


def resources(flavor: Flavor, *, boots_from_volume: bool = False) -> dict[str, int]:
    """Return what a server of this flavor takes of its host, by resource class.

    DISK_GB counts root, ephemeral and swap (rounded up to GiB); a root disk on a volume takes none of
    the host's. Classes of amount 0 are left out, as Placement refuses them.
    """
    root = 0 if boots_from_volume else flavor.root_gb
    disk = root + flavor.ephemeral_gb + -(-flavor.swap_mb // 1024)
    amounts = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.memory_mb, "DISK_GB": disk}
    return {name: amount for name, amount in amounts.items() if amount}
