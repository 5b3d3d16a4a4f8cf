"""What ``POST /servers`` asks for, resolved: flavor, image, key pair, destination and the rest.

Everything that can refuse the request but its quota is here; nothing is written. What this deployment
cannot do (signed images) is refused by name, never ignored.
"""

import base64
import binascii
import ipaddress
import secrets
import uuid as uuids
from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.compute_services import fleet_of
from kilonova.api.limits import limits_of
from kilonova.api.routing import Asked
from kilonova.api.servers import devices as server_devices
from kilonova.api.servers import network_wishes
from kilonova.api.servers import volumes as server_volumes
from kilonova.core.block_devices import on_volume, requested, root_of
from kilonova.core.errors import Forbidden, Invalid, NotFound, QuotaExceeded
from kilonova.core.flavor import Flavor
from kilonova.core.ids import HostName, ImageId, NodeName, UserId
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, InjectedFile, KeyPair, Wishes
from kilonova.core.quota import UNLIMITED, Limits
from kilonova.core.server_group import GroupRule
from kilonova.db import aggregates, flavors, key_pairs, server_groups
from kilonova.db.hosts import NodeQuery

Body = Mapping[str, Any]

SAID = {
    "name": "name",
    "description": "description",
    "hostname": "hostname",
    "accessIPv4": "access_ipv4",
    "accessIPv6": "access_ipv6",
    "metadata": "metadata",
}
"""What a server is as its user says, and may be otherwise later: key of the body -> field."""

_CREATE = "os_compute_api:servers:create"
_NO_IMAGE = "Can not find requested image"
_DESTINATION = "compute:servers:create:requested_destination"


def said_in(body: Body) -> dict[str, Any]:
    """Return the fields of a server that a request to change it names, as they are kept."""
    said = {field: body[key] for key, field in SAID.items() if key in body}
    return said | ({"access_ipv6": access_ipv6_of(body)} if "accessIPv6" in body else {})


def access_ipv6_of(body: Body) -> str | None:
    """Return the address in the one form that RFC 5952 has of it, if there is one."""
    said = body.get("accessIPv6")
    return None if said is None else str(ipaddress.IPv6Address(said))


def flavor_of(asked: Asked, body: Body) -> Flavor:
    """Return the flavor in ``flavorRef``, which is an id or a URL that ends in one.

    Raises:
        Invalid: there is none that the asker may use.
    """
    wanted = str(body["flavorRef"]).rstrip("/").rpartition("/")[2]
    project = None if asked.is_admin else asked.context.project_id
    missing = Invalid(f"Flavor {wanted} could not be found.")
    try:
        flavor = flavors.get(asked.services.api_db, wanted, project)
    except NotFound as error:
        raise missing from error
    if flavor.disabled:
        raise missing
    return flavor


def disks_of(
    asked: Asked, body: Body, flavor: Flavor, most: int
) -> tuple[tuple[BlockDevice, ...], Image]:
    """Return the disks that the request names, for at most ``most`` servers, and the image to boot.

    The image of a server that boots from a volume has no id.

    Raises:
        Invalid, Forbidden: as ``image_of``, or a volume is not to be had.
        Unavailable: nobody knows.
    """
    if not body.get("imageRef") and not requested(body):
        raise Invalid("Missing imageRef attribute")
    storage = asked.services.volumes
    named = server_devices.block_devices(body, _named_image(asked, body), volumes=storage.is_there)
    devices, on_root = server_volumes.checked(asked, named, most)
    root = root_of(devices)
    if root is None or not on_volume(root):
        return devices, image_of(asked, body, flavor)
    if on_root.min_ram > flavor.memory_mb:
        raise _too_little_memory(flavor, on_root)
    return devices, on_root


def _named_image(asked: Asked, body: Body) -> Image | None:
    """Return the image in ``imageRef``, which may say what disks its servers have."""
    if not body.get("imageRef"):
        return None
    try:
        return asked.services.images.get(asked.context, _canonical(body["imageRef"]))
    except NotFound:
        # What is refused for that is said by whoever needs it.
        return None


def _too_little_memory(flavor: Flavor, image: Image) -> Invalid:
    return Invalid(
        "flavorRef: Flavor's memory is too small for requested image: "
        f"it has {flavor.memory_mb} MB, the image needs {image.min_ram} MB."
    )


def image_of(asked: Asked, body: Body, flavor: Flavor, *, to_volume: bool = False) -> Image:
    """Return the image to boot, which fits into the flavor; ``to_volume``: its disk need not.

    Raises:
        Invalid: there is none, it has no data, or it is too large.
        Forbidden: the flavor has no disk to hold it.
        ImageStoreUnavailable: nobody knows.
    """
    image_id = _image_id(body)
    try:
        image = asked.services.images.get(asked.context, image_id)
    except NotFound as error:
        raise Invalid(_NO_IMAGE) from error
    if image.status != "active":
        raise Invalid(f"imageRef: Image {image_id} is not active.")
    if image.min_ram > flavor.memory_mb:
        raise _too_little_memory(flavor, image)
    if to_volume:
        return image
    if not flavor.root_gb and not asked.allows(f"{_CREATE}:zero_disk_flavor"):
        raise Forbidden(
            "flavorRef: Only volume-backed servers are allowed for flavors with zero disk."
        )
    needed = max(image.min_disk, -(-max(image.size, image.virtual_size) // 2**30))
    if flavor.root_gb and needed > flavor.root_gb:
        raise Invalid(
            "flavorRef: Flavor's disk is too small for requested image: "
            f"it has {flavor.root_gb} GB, the image needs {needed} GB."
        )
    return image


def _image_id(body: Body) -> ImageId:
    """Return the image to boot: ``imageRef``, or the boot device that clients send beside it."""
    named = server_devices.named_images(requested(body))
    image_ref = body.get("imageRef") or next(iter(named), "")
    if not image_ref:
        raise Invalid("Missing imageRef attribute")
    if {_canonical(one) for one in named} - {_canonical(image_ref)}:
        raise Invalid("block_device_mapping_v2: its image is not the one in imageRef")
    return _canonical(image_ref)


def _canonical(image_ref: str) -> ImageId:
    try:
        return ImageId(str(uuids.UUID(image_ref)))
    except ValueError as error:
        raise Invalid(_NO_IMAGE) from error


def check_metadata(body: Body, limits: Limits) -> None:
    """Check the number of metadata items.

    Raises:
        QuotaExceeded: there are too many.
    """
    count = len(body.get("metadata", {}))
    if limits.metadata_items != UNLIMITED and count > limits.metadata_items:
        raise QuotaExceeded(
            f"metadata: Maximum number of metadata items exceeds {limits.metadata_items}"
        )


def wishes_of(asked: Asked, body: Body, image: Image) -> Wishes:
    """Return what the request asks for beyond flavor and image.

    Raises:
        Invalid: it is wrong, or this deployment cannot do it.
        Forbidden: policy does not let the asker name a host.
    """
    refuse_what_is_not_done(body)
    zone, host, node = _destination(asked, body)
    drive = server_devices.wants_drive(body, image)
    plugs = network_wishes.wanted_by(asked, body)
    return Wishes(
        networks=plugs.networks,
        security_groups=plugs.groups,
        security_group_ids=plugs.group_ids,
        user_data=user_data_of(body),
        key_pair=key_pair_of(asked, body, asked.context.user_id),
        hints=_hints(asked.body),
        group=_group(asked),
        pinned_zone=zone,
        forced_host=host,
        forced_node=node,
        config_drive=drive,
        disk_config=body.get("OS-DCF:diskConfig", "AUTO"),
        reservation_id="r-" + secrets.token_hex(4),
        # Nothing else would tell the guest.
        admin_pass=_password(asked, body) if drive else "",
        files=files_of(asked, body),
    )


def _password(asked: Asked, body: Body) -> str:
    if not asked.services.conf.api.enable_instance_password:
        return ""
    return body.get("adminPass") or secrets.token_urlsafe(9)


def files_of(asked: Asked, body: Body) -> tuple[InjectedFile, ...]:
    """Return the files that go into a guest, within the asker's limits; see ``server_devices.files``."""
    if not body.get("personality"):
        return ()
    limits = limits_of(asked, asked.context.project_id, asked.context.user_id)
    return server_devices.files(body, limits)


def refuse_what_is_not_done(body: Body) -> None:
    """Refuse what asks for more than this deployment does.

    Raises:
        Invalid: naming it.
    """
    if body.get("trusted_image_certificates"):
        raise Invalid("trusted_image_certificates: signatures of images are not verified here")


def user_data_of(body: Body) -> str | None:
    """Return the user data, without white space.

    Raises:
        Invalid: they are not base64.
    """
    text: str | None = body.get("user_data")
    if text is None:
        return None
    # Some clients break the lines.
    text = "".join(text.split())
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("user_data: it must be base64 encoded.") from error
    return text


def key_pair_of(asked: Asked, body: Body, user: UserId) -> KeyPair | None:
    """Return the user's key pair of the name in ``key_name``.

    Raises:
        Invalid: there is none.
    """
    name = body.get("key_name")
    if name is None:
        return None
    try:
        return key_pairs.get(asked.services.api_db, user, name).key_pair
    except NotFound as error:
        raise Invalid("Invalid key_name provided.") from error


def _hinted(body: Body) -> Body:
    return body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}


def _hints(body: Body) -> dict[str, str | list[str]]:
    return {
        name: [_text(one) for one in value] if isinstance(value, list) else _text(value)
        for name, value in _hinted(body).items()
    }


def _group(asked: Asked) -> GroupRule | None:
    named = _hinted(asked.body).get("group")
    if not named:
        return None
    uuid = str(uuids.UUID(named))
    rule = server_groups.rule_of(asked.services.api_db, uuid, asked.context.project_id)
    if rule is None:
        raise Invalid(f"group: {server_groups.missing(uuid)}")
    return rule


def _text(value: Any) -> str:
    """Return a hint's value as a text; one that is none is its JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _destination(asked: Asked, body: Body) -> tuple[str | None, HostName | None, NodeName | None]:
    """Return the zone, the host and the node that the request names."""
    zone, _, rest = body.get("availability_zone", "").partition(":")
    host, _, node = rest.partition(":")
    if zone:
        check_zone(asked, zone)
    if host or node:
        asked.authorize(f"{_CREATE}:forced_host")
    if "host" in body or "hypervisor_hostname" in body:
        if host or node:
            raise Invalid(
                "availability_zone: it names a host, and so does host or hypervisor_hostname"
            )
        asked.authorize(_DESTINATION)
        host, node = body.get("host", ""), body.get("hypervisor_hostname", "")
        if node and not any(
            found.report.node == node for found in fleet_of(asked).nodes(NodeQuery(name_part=node))
        ):
            raise Invalid(f"hypervisor_hostname: Compute host {node} could not be found.")
    if host and not fleet_of(asked).knows(HostName(host)):
        raise Invalid(f"host: Compute host {host} could not be found.")
    return zone or None, HostName(host) if host else None, NodeName(node) if node else None


def check_zone(asked: Asked, zone: str) -> None:
    """Refuse a zone that there is not.

    Raises:
        Invalid: no host is in it.
    """
    if zone == asked.services.conf.default_availability_zone:
        return
    if zone not in aggregates.zones_of_hosts(asked.services.api_db).values():
        raise Invalid("availability_zone: The requested availability zone is not available")
