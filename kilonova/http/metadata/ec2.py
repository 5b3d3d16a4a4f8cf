"""EC2's tree: one value under each path, and lists of what is below. Pure.

Source of the names: EC2 user guide, "Instance metadata categories".
"""

import base64
from collections.abc import Mapping
from typing import Any

from kilonova.http.metadata.openstack import Told

VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01",
    "2008-09-01", "2009-04-04", "latest",
)  # fmt: skip

Tree = Mapping[str, Any]
"""Names to texts, or to what is below them."""


def tree(told: Told) -> Tree:
    """Return what there is below a version. All versions tell the same."""
    found: dict[str, Any] = {"meta-data": meta_data(told)}
    user_data = told.instance.wishes.user_data
    if user_data:
        found["user-data"] = base64.b64decode(user_data)
    return found


def meta_data(told: Told) -> Tree:
    """Return the values."""
    instance = told.instance
    wishes = instance.wishes
    address = told.nics[0].address if told.nics else ""
    root = instance.root_device_name or "/dev/vda"
    found: dict[str, Any] = {
        "ami-id": _short("ami", instance.image.image_id if instance.image else "0"),
        "ami-launch-index": str(wishes.launch_index),
        "block-device-mapping": {"ami": root.removeprefix("/dev/"), "root": root},
        "hostname": instance.hostname,
        "instance-action": "none",
        "instance-id": _short("i", instance.uuid),
        "instance-type": instance.flavor.name,
        "local-hostname": instance.hostname,
        "local-ipv4": address,
        "placement": {"availability-zone": instance.availability_zone or ""},
        "public-hostname": instance.hostname,
        "public-ipv4": _floating(told),
        "reservation-id": wishes.reservation_id,
        "security-groups": "\n".join(wishes.security_groups or ("default",)),
    }
    key = wishes.key_pair
    if key is not None:
        # A list of these shows "0=name" where others show "0/".
        found["public-keys"] = {f"0={key.name}": {"openssh-key": key.public_key}}
    return found


def _floating(told: Told) -> str:
    """Return the first address from outside that leads to the server."""
    addresses = (fixed for nic in told.nics for fixed in nic.addresses)
    return next((floating for fixed in addresses for floating in fixed.floating), "")


def _short(prefix: str, uuid: str) -> str:
    """Return an id as EC2 has them: eight digits of the UUID."""
    return f"{prefix}-{uuid.replace('-', '')[:8].rjust(8, '0')}"


def find(below: Tree, path: str) -> bytes | None:
    """Return what is at a path (``meta-data/placement/``): a value, or the names below; None if nothing."""
    here: Any = below
    for name in [part for part in path.split("/") if part]:
        if not isinstance(here, Mapping):
            return None
        here = next((value for key, value in here.items() if key.partition("=")[0] == name), None)
        if here is None:
            return None
    if isinstance(here, Mapping):
        return "\n".join(_shown(key, value) for key, value in here.items()).encode()
    return here if isinstance(here, bytes) else str(here).encode()


def _shown(key: str, value: Any) -> str:
    return f"{key}/" if isinstance(value, Mapping) and "=" not in key else key
