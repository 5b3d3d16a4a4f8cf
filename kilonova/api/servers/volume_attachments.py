"""``/servers/{server_id}/os-volume_attachments``: volumes that come to a server, and go from it.

What is under way with a volume stands in the server's row from the moment it is asked for; then the host
gets an order. An order that is lost is sent again, as the row says what is to be done.
"""

import uuid as uuids
from typing import Any

import msgspec

from kilonova.api.find import find_server, missing
from kilonova.api.microversions import Since
from kilonova.api.parameters import is_true, whole
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.schemas import volumes as schemas
from kilonova.api.servers.reach import check_reached
from kilonova.api.servers.tasks import check_state, check_unlocked, placed, record_of, refused
from kilonova.api.servers.volumes import volume_of
from kilonova.core import block_devices
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, Invalid, KilonovaError, NotFound
from kilonova.core.ids import CellUuid
from kilonova.core.instance import Instance, InstanceAction, Located
from kilonova.core.orders import AnyOrder, AttachVolume, DetachVolume, SwapVolume
from kilonova.core.states import Action, VmState
from kilonova.core.volume import NOBODY, Volume, VolumeReport, VolumeStage
from kilonova.db import volumes
from kilonova.db.engine import Database
from kilonova.http.volumes import IS_MOVING, check_free
from kilonova.rpc.messages import ActOnInstance

_RULE = "os_compute_api:os-volumes-attachments"
_PATH = "/servers/{server_id}/os-volume_attachments"
_ONE = _PATH + "/{volume_id}"
_SHELVED = (VmState.SHELVED, VmState.SHELVED_OFFLOADED)
_NAMESPACE = uuids.UUID("6f1c4a3e-54a7-4f0b-9c5d-0f6a7b1d2e90")

replace = msgspec.structs.replace


def list_attachments(asked: Asked, server_id: str) -> Answer:
    """``GET .../os-volume_attachments``."""
    server = find_server(asked, server_id).instance
    offset = whole(asked.one("offset") or 0, "offset")
    limit = asked.one("limit")
    chosen = server.volumes[offset:]
    if limit is not None:
        chosen = chosen[: whole(limit, "limit")]
    return Answer({"volumeAttachments": [_view(asked, server, one) for one in chosen]})


def show(asked: Asked, server_id: str, volume_id: str) -> Answer:
    """``GET .../os-volume_attachments/{volume_id}``."""
    server = find_server(asked, server_id).instance
    return Answer({"volumeAttachment": _view(asked, server, _found(server, volume_id))})


def _found(server: Instance, volume_id: str) -> Volume:
    for volume in server.volumes:
        if volume.volume_id == volume_id:
            return volume
    raise NotFound(f"Instance {server.uuid} is not attached to volume {volume_id}")


def _view(asked: Asked, server: Instance, volume: Volume) -> dict[str, Any]:
    view: dict[str, Any] = {"volumeId": volume.volume_id, "serverId": server.uuid}
    if volume.device:
        view["device"] = volume.device
    if asked.version not in Since.ATTACHMENT_IDS:
        view["id"] = volume.volume_id
    return view | _later(asked, server, volume)


def _later(asked: Asked, server: Instance, volume: Volume) -> dict[str, Any]:
    """Return what a volume's view has gained."""
    view: dict[str, Any] = {}
    if asked.version in Since.ATTACHED_TAGS:
        view["tag"] = volume.tag
    if asked.version in Since.DELETE_ON_TERMINATION:
        view["delete_on_termination"] = volume.delete_on_termination
    if asked.version in Since.ATTACHMENT_IDS:
        view["attachment_id"] = volume.attachment_at(server.host) or None
        view["bdm_uuid"] = str(uuids.uuid5(_NAMESPACE, f"{server.uuid} {volume.volume_id}"))
    return view


def _changeable(asked: Asked, server_id: str, action: Action) -> tuple[Instance, CellUuid]:
    """Return a server from or to which volumes may go now, and its cell."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    server, cell = placed(located, action)
    if server.vm_state in _SHELVED and asked.version not in Since.VOLUMES_OF_SHELVED:
        raise refused(server, action, f"vm_state {server.vm_state}")
    check_state(server, action)
    check_reached(asked, server)
    return server, cell


def attach(asked: Asked, server_id: str) -> Answer:
    """``POST .../os-volume_attachments``. Answers when the volume is reserved; the host goes on."""
    wanted = asked.body["volumeAttachment"]
    server, cell = _changeable(asked, server_id, Action.ATTACH_VOLUME)
    volume_id = str(uuids.UUID(wanted["volumeId"]))
    stored = volume_of(asked, volume_id)
    check_free(stored, to_be_shared=True)
    volume = Volume(
        volume_id=volume_id,
        tag=wanted.get("tag"),
        delete_on_termination=is_true(wanted.get("delete_on_termination")),
        multiattach=stored.multiattach,
        size_gb=stored.size_gb,
        request_id=asked.context.request_id,
    )
    _check_free_name(server, wanted.get("device"))

    def added(now: Instance) -> tuple[Volume, ...]:
        check_state(now, Action.ATTACH_VOLUME)
        if any(one.volume_id == volume_id for one in now.volumes):
            raise Invalid(f"Invalid volume: volume {volume_id} is attached to {now.uuid} already.")
        # Without a host there is nobody to attach it: it comes with the next one.
        stage = VolumeStage.ATTACHING if now.host else VolumeStage.ATTACHED
        return block_devices.with_volume(now, replace(volume, stage=stage)).volumes

    after = _change(asked, (server, cell), added, Action.ATTACH_VOLUME)
    after = _reserve(asked, (after, cell), volume_id)
    shown = _found(after, volume_id)
    if after.host is not None:
        _cast(asked, (after, cell), AttachVolume(volume_id=volume_id))
    if asked.version in Since.ATTACHED_LATER:
        return Answer(status=202)
    view: dict[str, Any] = {
        "id": volume_id,
        "serverId": after.uuid,
        "volumeId": volume_id,
        "device": shown.device,
    }
    if asked.version in Since.ATTACHED_TAGS:
        view["tag"] = volume.tag
    if asked.version in Since.DELETE_ON_TERMINATION:
        view["delete_on_termination"] = volume.delete_on_termination
    return Answer({"volumeAttachment": view})


def _check_free_name(server: Instance, device: str | None) -> None:
    """Refuse a name that another disk has. Which one a volume gets is not the user's to say."""
    if device is None:
        return
    taken = {block_devices.short(one.device) for one in server.volumes}
    taken |= set(block_devices.local_names(server).values())
    if block_devices.short(device) in taken:
        raise Conflict(f"The supplied device path ({device}) is in use.")


def _change(
    asked: Asked, where: tuple[Instance, CellUuid], becomes: volumes.Change, action: Action | None
) -> Instance:
    server, cell = where
    record: InstanceAction | None = record_of(asked, server, action) if action else None
    after = volumes.change(_database(asked, cell), server.uuid, becomes, utcnow(), record)
    if after is None:
        raise missing(server.uuid)
    return after


def _database(asked: Asked, cell: CellUuid) -> Database:
    return asked.services.cells.database(cell)


def _reserve(asked: Asked, where: tuple[Instance, CellUuid], volume_id: str) -> Instance:
    """Reserve a volume that stands in the server's row, and return the server with it.

    One that is not to be had leaves the row again.
    """
    server, _ = where
    try:
        attachment = _taken(asked, server, volume_id)
    except KilonovaError as error:
        _change(asked, where, lambda now: _without(now, volume_id), None)
        if isinstance(error, Conflict):
            raise Invalid(f"Invalid volume: {error.message}") from error
        raise
    said = VolumeReport(volume_id=volume_id, reserved=attachment)

    def reserved(now: Instance) -> tuple[Volume, ...]:
        return tuple(
            volumes.heard(one, NOBODY, said) or one if one.volume_id == volume_id else one
            for one in now.volumes
        )

    return _change(asked, where, reserved, None)


def _taken(asked: Asked, server: Instance, volume_id: str) -> str:
    """Reserve a volume, and return its attachment.

    Of a server without a host, it is in use at once: nobody connects it before the server has one.
    """
    storage = asked.services.volumes
    attachment = storage.reserve(volume_id, server.uuid, asked.asker)
    if server.host is None:
        try:
            storage.complete(attachment)
        except KilonovaError:
            storage.release(attachment)
            raise
    return attachment


def _without(server: Instance, volume_id: str) -> tuple[Volume, ...]:
    return tuple(one for one in server.volumes if one.volume_id != volume_id)


def _cast(asked: Asked, where: tuple[Instance, CellUuid], order: AnyOrder) -> None:
    """Tell the host. If it cannot be told now, the converger tells it."""
    server, cell = where
    message = ActOnInstance(instance=server, order=order)
    try:
        asked.services.cell_bus(cell).cast(asked.context, message, host=server.host)
    except KilonovaError:
        return


def detach(asked: Asked, server_id: str, volume_id: str) -> Answer:
    """``DELETE .../os-volume_attachments/{volume_id}``."""
    server, cell = _changeable(asked, server_id, Action.DETACH_VOLUME)
    volume = _found(server, volume_id)
    if volume.boot_index == 0:
        raise Invalid("Cannot detach a root device volume")

    def leaving(now: Instance) -> tuple[Volume, ...]:
        check_state(now, Action.DETACH_VOLUME)
        _check_settled(_found(now, volume_id))
        return _in_stage(asked, now, volume_id, VolumeStage.DETACHING)

    after = _change(asked, (server, cell), leaving, Action.DETACH_VOLUME)
    if after.host is not None:
        _cast(asked, (after, cell), DetachVolume(volume_id=volume_id))
        return Answer(status=202)
    for one in asked.services.volumes.attachments_of(after.uuid):
        if one.volume_id == volume_id:
            asked.services.volumes.release(one.attachment_id)
    _change(asked, (after, cell), lambda now: _without(now, volume_id), None)
    return Answer(status=202)


def _check_settled(volume: Volume) -> None:
    if volume.stage is not VolumeStage.ATTACHED:
        raise Invalid(
            f"Invalid volume: volume {volume.volume_id} is {volume.stage}; "
            "it must be attached, with nothing under way."
        )


def _in_stage(
    asked: Asked, server: Instance, volume_id: str, stage: VolumeStage, **more: Any
) -> tuple[Volume, ...]:
    changes = {"stage": stage, "request_id": asked.context.request_id, **more}
    return tuple(
        replace(one, **changes) if one.volume_id == volume_id else one for one in server.volumes
    )


def update(asked: Asked, server_id: str, volume_id: str) -> Answer:
    """``PUT .../os-volume_attachments/{volume_id}``: another volume in its place, or from 2.85 whether it
    ends with the server.

    Who puts another volume there needs the rule for that alone, whatever else is said of the old one.
    """
    wanted = asked.body["volumeAttachment"]
    other = str(uuids.UUID(wanted["volumeId"]))
    swaps = asked.version not in Since.ATTACHMENT_CHANGED or other != volume_id
    asked.authorize(f"{_RULE}:swap" if swaps else f"{_RULE}:update")
    if asked.version in Since.ATTACHMENT_CHANGED:
        _update(asked, find_server(asked, server_id), volume_id, wanted)
    if swaps:
        _swap(asked, server_id, volume_id, other)
    return Answer(status=202)


def _update(asked: Asked, located: Located, volume_id: str, wanted: dict[str, Any]) -> None:
    server, cell = placed(located, Action.ATTACH_VOLUME)
    volume = _found(server, volume_id)
    fixed = {
        "id": volume_id,
        "serverId": server.uuid,
        "device": volume.device,
        "tag": volume.tag,
    }
    for name, value in fixed.items():
        if name in wanted and wanted[name] != value:
            raise Invalid(f"The {name} property is not mutable")
    if "delete_on_termination" not in wanted:
        return
    ends = is_true(wanted["delete_on_termination"])

    def changed(now: Instance) -> tuple[Volume, ...]:
        return tuple(
            replace(one, delete_on_termination=ends) if one.volume_id == volume_id else one
            for one in now.volumes
        )

    _change(asked, (server, cell), changed, None)


def _swap(asked: Asked, server_id: str, volume_id: str, other: str) -> None:
    """Have the host copy a volume to another; only while the block storage service moves it there."""
    server, cell = _changeable(asked, server_id, Action.SWAP_VOLUME)
    _found(server, volume_id)
    storage = asked.services.volumes
    old = storage.get(volume_id)
    if old.migration_status not in IS_MOVING:
        raise Conflict(
            f"volume {volume_id} is not migrating; this API should only be called by Cinder"
        )
    try:
        new = storage.get(other)
    except NotFound as error:
        raise Invalid(error.message) from error
    if old.multiattach or new.multiattach:
        raise Invalid("Volumes that several servers can have cannot be swapped.")
    check_free(new)
    if new.size_gb < old.size_gb:
        raise Invalid(f"Invalid volume: volume {other} is smaller than volume {volume_id}.")

    def swapping(now: Instance) -> tuple[Volume, ...]:
        check_state(now, Action.SWAP_VOLUME)
        _check_settled(_found(now, volume_id))
        return _in_stage(asked, now, volume_id, VolumeStage.SWAPPING, replacement=other)

    after = _change(asked, (server, cell), swapping, Action.SWAP_VOLUME)
    _cast(asked, (after, cell), SwapVolume(volume_id=volume_id))


ROUTES = (
    Route("GET", _PATH, f"{_RULE}:index", list_attachments, query=schemas.LIST),
    Route("POST", _PATH, f"{_RULE}:create", attach, body=schemas.ATTACH),
    Route("GET", _ONE, f"{_RULE}:show", show),
    # Which rule it needs, the body says.
    Route("PUT", _ONE, None, update, body=schemas.UPDATE),
    Route("DELETE", _ONE, f"{_RULE}:delete", detach),
)
