"""``POST /servers``: from a checked body to build requests in the database and one message.

Everything that can refuse the request comes before the one transaction that accepts it.
"""

import base64
import binascii
import logging
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from kilonova.api.limits import limits_of
from kilonova.api.routing import Answer, Asked
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, KilonovaError, NotFound, QuotaExceeded
from kilonova.core.flavor import Flavor
from kilonova.core.ids import HostName, ImageId, InstanceUuid, NodeName
from kilonova.core.image import Image
from kilonova.core.instance import BlockDevice, Instance, KeyPair, Wishes
from kilonova.core.quota import UNLIMITED, Amount, Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db import build_requests, flavors, key_pairs, quotas
from kilonova.db.build_requests import Accepted
from kilonova.rpc.messages import BuildServers

LOG = logging.getLogger(__name__)

_FORCED = "os_compute_api:servers:create:forced_host"
_DESTINATION = "compute:servers:create:requested_destination"
_TRUE = frozenset({"true", "1", "on", "yes", "y", "t"})


def create(asked: Asked) -> Answer:
    """Accept servers. Answers 202 as soon as they are written down, whatever else is away."""
    body = asked.body["server"]
    low, high = _counts(body)
    limits = limits_of(asked, asked.context.project_id, asked.context.user_id)
    flavor = _flavor(asked, body)
    image = _image(asked, body, flavor)
    _check_metadata(body, limits)
    wishes = _wishes(asked, body)
    spec = RequestSpec(
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        flavor=flavor,
        image=image,
        availability_zone=wishes.pinned_zone or asked.services.conf.default_schedule_zone,
        hints=wishes.hints,
        forced_host=wishes.forced_host,
        forced_node=wishes.forced_node,
    )
    template = _template(asked, body, flavor, image, wishes)
    accepted = _accept(asked, template, spec, (low, high), limits)
    _cast(asked, [a.instance.uuid for a in accepted])
    return _answer(asked, body, accepted[0].instance)


def _counts(body: Mapping[str, Any]) -> tuple[int, int]:
    low = int(body.get("min_count", 1))
    high = int(body.get("max_count", low))
    if low < 1 or high < 1:
        raise Invalid("min_count and max_count must be at least 1")
    if low > high:
        raise Invalid("min_count must be <= max_count")
    return low, high


def _flavor(asked: Asked, body: Mapping[str, Any]) -> Flavor:
    wanted = str(body["flavorRef"]).rstrip("/").rpartition("/")[2]
    project = None if asked.context.is_admin else asked.context.project_id
    try:
        flavor = flavors.get(asked.services.api_db, wanted, project)
    except NotFound as error:
        raise Invalid(f"flavorRef: Flavor {wanted} could not be found.") from error
    if flavor.disabled:
        raise Invalid(f"flavorRef: Flavor {wanted} could not be found.")
    return flavor


def _image(asked: Asked, body: Mapping[str, Any], flavor: Flavor) -> Image:
    image_id = _image_id(body)
    try:
        image = asked.services.images.get(asked.context, image_id)
    except NotFound as error:
        raise Invalid("imageRef: Can not find requested image") from error
    if image.status != "active":
        raise Invalid(f"imageRef: Image {image_id} is not active.")
    if image.min_ram > flavor.memory_mb:
        raise Invalid(
            "flavorRef: Flavor's memory is too small for requested image: "
            f"{flavor.memory_mb} MB, the image needs {image.min_ram} MB."
        )
    needed = max(image.min_disk, -(-max(image.size, image.virtual_size) // 2**30))
    if flavor.root_gb and needed > flavor.root_gb:
        raise Invalid(
            "flavorRef: Flavor's disk is too small for requested image: "
            f"{flavor.root_gb} GB, the image needs {needed} GB."
        )
    return image


def _image_id(body: Mapping[str, Any]) -> ImageId:
    """Return the image to boot: ``imageRef``, or the boot device that clients send beside it."""
    devices = body.get("block_device_mapping_v2", [])
    if body.get("block_device_mapping"):
        raise Invalid(
            "block_device_mapping: volumes need a block storage service; none is configured"
        )
    for device in devices:
        plain = (device.get("source_type"), device.get("destination_type", "local"))
        boots = str(device.get("boot_index", -1)) == "0"
        if plain != ("image", "local") or not boots:
            raise Invalid(
                "block_device_mapping_v2: only a local boot disk from an image can be made; "
                "no block storage service is configured"
            )
    if len(devices) > 1:
        raise Invalid("block_device_mapping_v2: more than one device has boot_index 0")
    named = {str(d["uuid"]) for d in devices if d.get("uuid")}
    image_ref = body.get("imageRef") or next(iter(named), "")
    if not image_ref:
        raise Invalid("Missing imageRef attribute")
    if named - {image_ref}:
        raise Invalid("block_device_mapping_v2: its image is not the one in imageRef")
    return ImageId(image_ref)


def _check_metadata(body: Mapping[str, Any], limits: Limits) -> None:
    count = len(body.get("metadata", {}))
    if limits.metadata_items != UNLIMITED and count > limits.metadata_items:
        raise QuotaExceeded(
            f"metadata: Maximum number of metadata items exceeds {limits.metadata_items}"
        )


def _wishes(asked: Asked, body: Mapping[str, Any]) -> Wishes:
    networks = body.get("networks", "auto" if asked.version < (2, 37) else "none")
    if not isinstance(networks, str):
        if networks:
            raise Invalid(
                "networks: no network service is configured, so only 'none' and 'auto' can be asked for"
            )
        networks = "none"
    zone, host, node = _destination(asked, body)
    hints = asked.body.get("os:scheduler_hints") or asked.body.get("OS-SCH-HNT:scheduler_hints")
    return Wishes(
        networks=networks,
        block_devices=tuple(_device(d) for d in body.get("block_device_mapping_v2", ())),
        user_data=_user_data(body),
        key_pair=_key_pair(asked, body),
        hints=hints or {},
        pinned_zone=zone,
        forced_host=host,
        forced_node=node,
        security_groups=tuple(group["name"] for group in body.get("security_groups", ())),
        config_drive=str(body.get("config_drive", "")).lower() in _TRUE,
        trusted_certs=_tuple(body.get("trusted_image_certificates")),
        disk_config=body.get("OS-DCF:diskConfig", "AUTO"),
        reservation_id="r-" + secrets.token_hex(4),
    )


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _device(device: Mapping[str, Any]) -> BlockDevice:
    return BlockDevice(
        source_type=device["source_type"],
        destination_type=device.get("destination_type", "local"),
        boot_index=int(device["boot_index"]),
        uuid=device.get("uuid"),
        delete_on_termination=str(device.get("delete_on_termination", "")).lower() in _TRUE,
        tag=device.get("tag"),
    )


def _user_data(body: Mapping[str, Any]) -> str | None:
    text: str | None = body.get("user_data")
    if text is not None:
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid("user_data: must be base64 encoded.") from error
    return text


def _key_pair(asked: Asked, body: Mapping[str, Any]) -> KeyPair | None:
    name = body.get("key_name")
    if name is None:
        return None
    try:
        return key_pairs.get(asked.services.api_db, asked.context.user_id, name).key_pair
    except NotFound as error:
        raise Invalid("key_name: Invalid key_name provided.") from error


def _destination(
    asked: Asked, body: Mapping[str, Any]
) -> tuple[str | None, HostName | None, NodeName | None]:
    """Return the zone, the host and the node that the request names."""
    zone, _, rest = (body.get("availability_zone") or "").partition(":")
    host, _, node = rest.partition(":")
    if host or node:
        asked.authorize(_FORCED)
        if "host" in body or "hypervisor_hostname" in body:
            raise Invalid(
                "availability_zone: names a host, and so does host or hypervisor_hostname"
            )
    if "host" in body or "hypervisor_hostname" in body:
        asked.authorize(_DESTINATION)
        host, node = body.get("host", ""), body.get("hypervisor_hostname", "")
    return zone or None, HostName(host) if host else None, NodeName(node) if node else None


def _template(
    asked: Asked, body: Mapping[str, Any], flavor: Flavor, image: Image, wishes: Wishes
) -> Instance:
    name = body["name"]
    return Instance(
        uuid=InstanceUuid(""),
        name=name,
        hostname=body.get("hostname") or _hostname(name),
        project_id=asked.context.project_id,
        user_id=asked.context.user_id,
        flavor=flavor,
        image=image,
        wishes=wishes,
        created_at=utcnow(),
        description=body.get("description", name if asked.version < (2, 19) else None),
        metadata=body.get("metadata", {}),
        tags=tuple(dict.fromkeys(body.get("tags", ()))),
        access_ipv4=body.get("accessIPv4"),
        access_ipv6=body.get("accessIPv6"),
    )


def _hostname(name: str) -> str:
    """Return a host name made of a server's name: letters, digits and hyphens, at most 63."""
    text = re.sub(r"[ _.]", "-", name.lower())
    return re.sub(r"[^a-z0-9-]", "", text).strip("-")[:63].rstrip("-") or "server"


def _accept(
    asked: Asked,
    template: Instance,
    spec: RequestSpec,
    counts: tuple[int, int],
    limits: Limits,
) -> list[Accepted]:
    """Write as many servers as the quota holds between min_count and max_count, in one transaction.

    Raises:
        QuotaExceeded: it does not hold min_count of them.
    """
    low, high = counts
    count = high
    while True:
        accepted = [_numbered(asked, template, spec, n, high) for n in range(count)]
        try:
            build_requests.accept(asked.services.api_db, accepted, limits)
        except QuotaExceeded:
            fewer = _room(asked, template.flavor, limits)
            if count == low or fewer < low:
                raise
            count = max(low, min(fewer, count - 1))
        else:
            return accepted


def _room(asked: Asked, flavor: Flavor, limits: Limits) -> int:
    used = quotas.used_by(asked.services.api_db, asked.context.project_id)
    each = Amount(instances=1, cores=flavor.vcpus, ram=flavor.memory_mb)
    rooms: list[int] = [
        (getattr(limits, name) - getattr(used, name)) // getattr(each, name)
        for name in Amount.__struct_fields__
        if getattr(limits, name) != UNLIMITED and getattr(each, name)
    ]
    return min(rooms)


def _numbered(
    asked: Asked, template: Instance, spec: RequestSpec, number: int, of: int
) -> Accepted:
    suffix = f"-{number + 1}" if of > 1 else ""
    instance = msgspec.structs.replace(
        template,
        uuid=InstanceUuid(str(uuid.uuid4())),
        name=template.name + suffix,
        hostname=template.hostname[: 255 - len(suffix)] + suffix if suffix else template.hostname,
        wishes=msgspec.structs.replace(template.wishes, launch_index=number)
        if number
        else template.wishes,
    )
    return Accepted(instance=instance, spec=spec, request_id=asked.context.request_id)


def _cast(asked: Asked, uuids: list[InstanceUuid]) -> None:
    try:
        asked.services.bus.cast(asked.context, BuildServers(instance_uuids=tuple(uuids)))
    except KilonovaError as error:
        # Accepted is accepted: the converger drives what no conductor took up.
        LOG.warning(
            "%s: %d servers wait for the converger: %s", asked.context.request_id, len(uuids), error
        )


def _answer(asked: Asked, body: Mapping[str, Any], first: Instance) -> Answer:
    if str(body.get("return_reservation_id", "")).lower() in _TRUE:
        return Answer({"reservation_id": first.wishes.reservation_id}, 202)
    path = f"/servers/{first.uuid}"
    server = {
        "id": first.uuid,
        "links": asked.links(path),
        "OS-DCF:diskConfig": first.wishes.disk_config,
        "security_groups": [{"name": name} for name in first.wishes.security_groups],
        "adminPass": body.get("adminPass") or secrets.token_urlsafe(9),
    }
    return Answer({"server": server}, 202, {"Location": asked.link(path)})
