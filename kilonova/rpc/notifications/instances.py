"""Payloads of ``instance.*``. The asker is whose request brought it about, as far as that is known."""

from datetime import datetime

from kilonova.core.context import RequestContext
from kilonova.core.ids import ImageId, domain_name
from kilonova.core.instance import Instance, Nic
from kilonova.core.share import Share
from kilonova.core.share import shown as shown_status
from kilonova.core.states import PowerState
from kilonova.rpc.notifications.flavors import of_flavor
from kilonova.rpc.notifications.key_pairs import of_key_pair
from kilonova.rpc.notifications.notification import Payload, shown, versioned

_POWER = {PowerState.NOSTATE: "pending"}


def of_action(instance: Instance, asker: RequestContext, fault: Payload | None = None) -> Payload:
    """Return the payload of an action, with what went wrong if it did."""
    return versioned("InstanceActionPayload", "1.9", _acted(instance, asker, fault))


def of_creation(instance: Instance, asker: RequestContext, fault: Payload | None = None) -> Payload:
    """Return the payload of ``instance.create``."""
    wishes = instance.wishes
    keys = [] if wishes.key_pair is None else [of_key_pair(wishes.key_pair, instance.user_id)]
    data = _acted(instance, asker, fault) | {
        "keypairs": keys,
        "tags": list(instance.tags),
        "trusted_image_certificates": _certificates(instance),
        "instance_name": domain_name(instance.uuid),
    }
    return versioned("InstanceCreatePayload", "1.13", data)


def of_rebuild(instance: Instance, asker: RequestContext, fault: Payload | None = None) -> Payload:
    """Return the payload of ``instance.rebuild``."""
    certificates = {"trusted_image_certificates": _certificates(instance)}
    data = _acted(instance, asker, fault) | certificates
    return versioned("InstanceActionRebuildPayload", "1.10", data)


def of_rescue(
    instance: Instance, asker: RequestContext, fault: Payload | None, image: ImageId | None
) -> Payload:
    """Return the payload of ``instance.rescue`` from an image."""
    data = _acted(instance, asker, fault) | {"rescue_image_ref": image}
    return versioned("InstanceActionRescuePayload", "1.4", data)


def of_snapshot(
    instance: Instance, asker: RequestContext, fault: Payload | None, image: ImageId | None
) -> Payload:
    """Return the payload of ``instance.snapshot`` into an image."""
    data = _acted(instance, asker, fault) | {"snapshot_image_id": image}
    return versioned("InstanceActionSnapshotPayload", "1.10", data)


def of_update(
    before: Instance, instance: Instance, asker: RequestContext, now: datetime
) -> Payload:
    """Return the payload of ``instance.update``: what a server was, and what it is."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    period = {"audit_period_beginning": shown(month), "audit_period_ending": shown(now)}
    states = {
        "old_state": before.vm_state.value,
        "state": instance.vm_state.value,
        "old_task_state": _task(before),
        "new_task_state": _task(instance),
    }
    data = _plain(instance, asker) | {
        "state_update": versioned("InstanceStateUpdatePayload", "1.0", states),
        "audit_period": versioned("AuditPeriodPayload", "1.0", period),
        "bandwidth": [],
        "old_display_name": before.name if before.name != instance.name else None,
        "tags": list(instance.tags),
    }
    return versioned("InstanceUpdatePayload", "1.10", data)


def of_share(
    instance: Instance, asker: RequestContext, fault: Payload | None, share_id: str
) -> Payload:
    """Return the payload of ``instance.share_attach`` and ``instance.share_detach``."""
    data = _acted(instance, asker, fault) | {"share_id": share_id}
    return versioned("InstanceActionSharePayload", "1.0", data)


def _acted(instance: Instance, asker: RequestContext, fault: Payload | None) -> Payload:
    return _plain(instance, asker) | {"fault": fault}


def _plain(instance: Instance, asker: RequestContext) -> Payload:
    """Return what every payload of a server has. There is nothing in it that only its owner may know."""
    properties = instance.image.properties if instance.image else {}
    key_pair = instance.wishes.key_pair
    user, project = asker.user_id or None, asker.project_id or None
    return {
        "uuid": instance.uuid,
        "user_id": instance.user_id,
        "tenant_id": instance.project_id,
        "reservation_id": instance.wishes.reservation_id,
        "display_name": instance.name,
        "display_description": instance.description,
        "host_name": instance.hostname,
        "host": instance.host,
        "node": instance.node,
        "os_type": properties.get("os_type"),
        "architecture": properties.get("hw_architecture") or properties.get("architecture"),
        "availability_zone": instance.availability_zone,
        "flavor": of_flavor(instance.flavor),
        "image_uuid": instance.image.image_id if instance.image else None,
        "key_name": key_pair.name if key_pair else None,
        "kernel_id": "",
        "ramdisk_id": "",
        "created_at": shown(instance.created_at),
        "launched_at": shown(instance.launched_at),
        "terminated_at": shown(instance.terminated_at),
        "deleted_at": shown(instance.terminated_at) if instance.deleted else None,
        "updated_at": shown(instance.updated_at),
        "state": instance.vm_state.value,
        "power_state": _POWER.get(instance.power_state, instance.power_state.name.lower()),
        "task_state": _task(instance),
        "progress": instance.progress,
        "ip_addresses": [_address(nic) for nic in instance.nics],
        "block_devices": [],
        "metadata": dict(instance.metadata),
        "locked": instance.locked_by is not None,
        "locked_reason": instance.locked_reason,
        "auto_disk_config": instance.wishes.disk_config,
        # A service that acts of itself is no request's.
        "request_id": asker.request_id if user and project else None,
        "action_initiator_user": user,
        "action_initiator_project": project,
        "shares": [_share(share, instance) for share in instance.shares],
    }


def _share(share: Share, instance: Instance) -> Payload:
    """Where hosts mount it from is for administrators only, so it is left out."""
    data: Payload = {
        "share_mapping_uuid": share.uuid,
        "share_id": share.share_id,
        "status": shown_status(share, instance.power_state),
        "tag": share.tag,
    }
    return versioned("SharePayload", "1.0", data)


def _task(instance: Instance) -> str | None:
    return None if instance.task_state is None else instance.task_state.value


def _certificates(instance: Instance) -> list[str] | None:
    certificates = instance.wishes.trusted_certs
    return None if certificates is None else list(certificates)


def _address(nic: Nic) -> Payload:
    data: Payload = {
        "label": nic.network,
        "mac": nic.mac,
        "meta": {},
        "port_uuid": None,
        "version": 6 if ":" in nic.address else 4,
        "address": nic.address,
        "device_name": None,
    }
    return versioned("IpPayload", "1.0", data)
