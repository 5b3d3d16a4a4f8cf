"""Servers as the API shows them, by microversion. One table says which field came when."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from kilonova.api.microversions import ALWAYS, Since, Span, Version
from kilonova.core import states
from kilonova.core.flavor import Flavor
from kilonova.core.ids import domain_name
from kilonova.core.image import Image
from kilonova.core.instance import Fault, Instance
from kilonova.core.scheduling import RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.core.states import PowerState
from kilonova.db.instance_lists import Mapped

Links = Callable[[str], list[dict[str, str]]]


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What the asker may see, and with which links. ``host_status`` is None where policy hides it.

    ``groups`` returns the server groups that a server with a group's rule is in.
    """

    version: Version
    links: Links
    admin_fields: bool
    extra_specs: bool = True
    host_status: Callable[[Instance], str] | None = None
    show: bool = True
    groups: Callable[[GroupRule | None], list[str]] = lambda _: []


def moment(value: datetime | None) -> str | None:
    """Return a time as the API has it, to the second."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _unzoned(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%S.%f")


def host_id(project: str, host: str | None) -> str:
    """Return the id that shows a tenant which of his servers share a host, and nothing else."""
    return hashlib.sha224(f"{project}{host}".encode()).hexdigest() if host else ""


def brief(instance: Instance, sight: Sight) -> dict[str, Any]:
    """Return a server of a list without details."""
    return {
        "id": instance.uuid,
        "name": instance.name,
        "links": sight.links(f"/servers/{instance.uuid}"),
    }


_WITH_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})


def full(instance: Instance, fault: Fault | None, sight: Sight) -> dict[str, Any]:
    """Return a whole server."""
    status = states.status(instance.vm_state, instance.task_state)
    wishes = instance.wishes
    view = brief(instance, sight) | {
        "status": status,
        "tenant_id": instance.project_id,
        "user_id": instance.user_id,
        "metadata": instance.metadata,
        "hostId": host_id(instance.project_id, instance.host),
        "image": image(instance.image, sight),
        "flavor": flavor(instance.flavor, sight),
        "created": moment(instance.created_at),
        "updated": moment(instance.updated_at or instance.created_at),
        "addresses": addresses(instance),
        "accessIPv4": instance.access_ipv4 or "",
        "accessIPv6": instance.access_ipv6 or "",
        "OS-DCF:diskConfig": wishes.disk_config,
        "OS-EXT-AZ:availability_zone": instance.availability_zone or "",
        "config_drive": "True" if wishes.config_drive else "",
        "key_name": wishes.key_pair.name if wishes.key_pair else None,
        "OS-SRV-USG:launched_at": _unzoned(instance.launched_at),
        "OS-SRV-USG:terminated_at": _unzoned(instance.terminated_at),
        "OS-EXT-STS:task_state": instance.task_state,
        "OS-EXT-STS:vm_state": instance.vm_state,
        "OS-EXT-STS:power_state": int(instance.power_state),
        "os-extended-volumes:volumes_attached": _volumes(instance, sight),
    }
    groups = security_groups(instance)
    if groups:
        view["security_groups"] = groups
    if status in _WITH_PROGRESS:
        view["progress"] = instance.progress
    if fault is not None and status in ("ERROR", "DELETED"):
        view["fault"] = _fault(fault, sight)
    if sight.host_status is not None:
        view["host_status"] = sight.host_status(instance)
    if sight.show and sight.version in Since.GROUPS_OF_SERVER:
        view["server_groups"] = sight.groups(wishes.group)
    for when, allowed, fields in _ADDED:
        if sight.version in when and allowed(sight):
            view |= fields(instance)
    return view


def _volumes(instance: Instance, sight: Sight) -> list[dict[str, Any]]:
    if sight.version not in Since.MORE_FOR_ADMINS:
        return [{"id": volume.volume_id} for volume in instance.volumes]
    return [
        {"id": volume.volume_id, "delete_on_termination": volume.delete_on_termination}
        for volume in instance.volumes
    ]


def addresses(instance: Instance) -> dict[str, list[dict[str, Any]]]:
    """Return a server's addresses by network, as they stand in the server."""
    found: dict[str, list[dict[str, Any]]] = {}
    for nic in instance.nics:
        for fixed in nic.addresses:
            kinds = (("fixed", (fixed.address,)), ("floating", fixed.floating))
            found.setdefault(nic.network, []).extend(
                {
                    "addr": address,
                    "version": 6 if ":" in address else 4,
                    "OS-EXT-IPS:type": kind,
                    "OS-EXT-IPS-MAC:mac_addr": nic.mac,
                }
                for kind, several in kinds
                for address in several
            )
    return found


def short_addresses(instance: Instance) -> dict[str, list[dict[str, Any]]]:
    """Return the same with nothing but the addresses themselves."""
    return {
        network: [{"addr": one["addr"], "version": one["version"]} for one in several]
        for network, several in addresses(instance).items()
    }


def security_groups(instance: Instance) -> list[dict[str, str]]:
    """Return the security groups that a server's cards are in; until it has any, those asked for."""
    names = {name for nic in instance.nics for name in nic.groups}
    asked = () if instance.nics else instance.wishes.security_groups
    return [{"name": name} for name in sorted(names) or asked]


_LATE_IN_CHANGES = (
    "OS-EXT-",
    "OS-SRV-USG:",
    "os-extended-",
    "config_drive",
    "key_name",
    "host_status",
    "security_groups",
)


def changed(instance: Instance, fault: Fault | None, sight: Sight) -> dict[str, Any]:
    """Return a server in the answer to its change, which shows all of it only from 2.75."""
    view = full(instance, fault, sight)
    if sight.version in Since.WHOLE_CHANGED_SERVER:
        return view
    early = {key: value for key, value in view.items() if not key.startswith(_LATE_IN_CHANGES)}
    return early | {"addresses": short_addresses(instance)}


def unknown_brief(uuid: str, sight: Sight) -> dict[str, Any]:
    """Return what a list without details shows of a server whose cell does not answer (from 2.69)."""
    return {"id": uuid, "status": "UNKNOWN", "links": sight.links(f"/servers/{uuid}")}


def unknown(uuid: str, project: str, created_at: datetime, sight: Sight) -> dict[str, Any]:
    """Return what is known of a server whose cell does not answer (from 2.69)."""
    return unknown_brief(uuid, sight) | {"tenant_id": project, "created": moment(created_at)}


def unknown_full(mapped: Mapped, spec: RequestSpec, sight: Sight) -> dict[str, Any]:
    """Return the same of one server that is shown by itself, with what its request says."""
    view = unknown(mapped.uuid, mapped.project_id, mapped.created_at, sight) | {
        "user_id": mapped.user_id,
        "flavor": flavor(spec.flavor, sight),
        "image": _image_link(spec.image, sight) if spec.image and spec.image.image_id else "",
        "OS-EXT-AZ:availability_zone": spec.availability_zone or "UNKNOWN",
        "OS-EXT-STS:power_state": int(PowerState.NOSTATE),
    }
    return (
        view | {"server_groups": sight.groups(spec.group)}
        if sight.version in Since.GROUPS_OF_SERVER
        else view
    )


def _image_link(shown: Image, sight: Sight) -> dict[str, Any]:
    return {"id": shown.image_id, "links": sight.links(f"/images/{shown.image_id}")[1:]}


def image(shown: Image | None, sight: Sight) -> Any:
    """Return a server's image: an object, or an empty text if there is none."""
    if shown is None or not shown.image_id:
        return ""
    view = _image_link(shown, sight)
    return (
        view | {"properties": shown.properties} if sight.version in Since.IMAGE_PROPERTIES else view
    )


def flavor(shown: Flavor, sight: Sight) -> dict[str, Any]:
    """Return a server's flavor: its id, or from 2.47 what it was when the server was made."""
    if sight.version not in Since.FLAVOR_EMBEDDED:
        return {"id": shown.flavor_id, "links": sight.links(f"/flavors/{shown.flavor_id}")[1:]}
    view: dict[str, Any] = {
        "vcpus": shown.vcpus,
        "ram": shown.memory_mb,
        "disk": shown.root_gb,
        "ephemeral": shown.ephemeral_gb,
        "swap": shown.swap_mb,
        "original_name": shown.name,
    }
    return view | {"extra_specs": shown.extra_specs} if sight.extra_specs else view


def _fault(fault: Fault, sight: Sight) -> dict[str, Any]:
    view = {"code": fault.code, "created": moment(fault.created_at), "message": fault.message}
    if fault.details and (sight.admin_fields or fault.code != 500):
        view["details"] = fault.details
    return view


def _admin(sight: Sight) -> bool:
    return sight.admin_fields


def _everybody(_sight: Sight) -> bool:
    return True


def _where(instance: Instance) -> dict[str, Any]:
    return {
        "OS-EXT-SRV-ATTR:host": instance.host,
        "OS-EXT-SRV-ATTR:instance_name": domain_name(instance.uuid),
        "OS-EXT-SRV-ATTR:hypervisor_hostname": instance.node,
    }


def _internals(instance: Instance) -> dict[str, Any]:
    return {
        "OS-EXT-SRV-ATTR:hostname": instance.hostname,
        "OS-EXT-SRV-ATTR:kernel_id": "",
        "OS-EXT-SRV-ATTR:launch_index": instance.wishes.launch_index,
        "OS-EXT-SRV-ATTR:ramdisk_id": "",
        "OS-EXT-SRV-ATTR:reservation_id": instance.wishes.reservation_id,
        "OS-EXT-SRV-ATTR:root_device_name": instance.root_device_name,
        "OS-EXT-SRV-ATTR:user_data": instance.wishes.user_data,
    }


_ADDED: tuple[tuple[Span, Callable[[Sight], bool], Callable[[Instance], dict[str, Any]]], ...] = (
    (ALWAYS, _admin, _where),
    (Since.MORE_FOR_ADMINS, _admin, _internals),
    (Since.LOCKED_SHOWN, _everybody, lambda i: {"locked": i.locked_by is not None}),
    (Since.DESCRIPTION, _everybody, lambda i: {"description": i.description}),
    (Since.SERVER_TAGS, _everybody, lambda i: {"tags": list(i.tags)}),
    (
        Since.TRUSTED_CERTIFICATES,
        _everybody,
        lambda i: {"trusted_image_certificates": i.wishes.trusted_certs},
    ),
    (Since.LOCK_REASON, _everybody, lambda i: {"locked_reason": i.locked_reason}),
    (Since.HOST_NAMES, _everybody, lambda i: {"OS-EXT-SRV-ATTR:hostname": i.hostname}),
    (Since.PINNED_ZONE, _everybody, lambda i: {"pinned_availability_zone": i.wishes.pinned_zone}),
    (Since.HINTS_SHOWN, _everybody, lambda i: {"scheduler_hints": i.wishes.hints}),
)
"""(when, for whom, fields): what a server gained (Compute API reference, "Show Server Details")."""
