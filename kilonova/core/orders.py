"""What a compute host can be told to do with a server that it has: one order for each action.

An order's name on the wire, ``do``, is the key of its rule in ``states.RULES``.
"""

import msgspec

from kilonova.core import states
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.core.states import Action


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """The root of all orders."""


class Stop(Order, frozen=True, kw_only=True, tag=str(Action.STOP)):
    """Shut the guest down: ask it first, then force it."""


class Start(Order, frozen=True, kw_only=True, tag=str(Action.START)):
    """Start a guest that is shut down."""


class SoftReboot(Order, frozen=True, kw_only=True, tag=states.SOFT_REBOOT):
    """Shut the guest down, and start it."""


class HardReboot(Order, frozen=True, kw_only=True, tag=states.HARD_REBOOT):
    """Cut the guest's power, make it anew from what is stored, and start it."""


class Pause(Order, frozen=True, kw_only=True, tag=str(Action.PAUSE)):
    """Let the guest stand still; its memory stays where it is."""


class Unpause(Order, frozen=True, kw_only=True, tag=str(Action.UNPAUSE)):
    """Let a paused guest go on."""


class Suspend(Order, frozen=True, kw_only=True, tag=str(Action.SUSPEND)):
    """Write the guest's memory to disk, and end it."""


class Resume(Order, frozen=True, kw_only=True, tag=str(Action.RESUME)):
    """Let a suspended guest go on where it was."""


class Rescue(Order, frozen=True, kw_only=True, tag=str(Action.RESCUE)):
    """Start the guest from an image, with its own disk beside it."""

    image: Image


class Unrescue(Order, frozen=True, kw_only=True, tag=str(Action.UNRESCUE)):
    """Start a rescued guest from its own disk again."""


class Rebuild(Order, frozen=True, kw_only=True, tag=str(Action.REBUILD)):
    """Make the guest anew, from the image that the server has now.

    ``onto_volume`` is an image that is written over the volume that it boots from.
    """

    onto_volume: ImageId | None = None


class Snapshot(Order, frozen=True, kw_only=True, tag=str(Action.CREATE_IMAGE)):
    """Copy the guest's disk into an image that has no data yet."""

    image_id: ImageId


class Backup(Order, frozen=True, kw_only=True, tag=str(Action.CREATE_BACKUP)):
    """The same, and then remove backups of this type until ``rotation`` are left, the newest."""

    image_id: ImageId
    backup_type: str
    rotation: int


class ChangePassword(Order, frozen=True, kw_only=True, tag=str(Action.CHANGE_PASSWORD)):
    """Set the password of the guest's administrator."""

    password: str


class TriggerCrashDump(Order, frozen=True, kw_only=True, tag=str(Action.TRIGGER_CRASH_DUMP)):
    """Interrupt the guest's kernel, so that it dumps its memory."""


class AttachVolume(Order, frozen=True, kw_only=True, tag=str(Action.ATTACH_VOLUME)):
    """Give the guest a volume that the server has got."""

    volume_id: str


class DetachVolume(Order, frozen=True, kw_only=True, tag=str(Action.DETACH_VOLUME)):
    """Take a volume from the guest."""

    volume_id: str


class SwapVolume(Order, frozen=True, kw_only=True, tag=str(Action.SWAP_VOLUME)):
    """Copy a volume of the guest to its replacement, and put that in its place."""

    volume_id: str


class ExtendVolume(Order, frozen=True, kw_only=True, tag=str(Action.EXTEND_VOLUME)):
    """Let the guest see that a volume has grown."""

    volume_id: str


class SnapshotVolume(Order, frozen=True, kw_only=True, tag=str(Action.SNAPSHOT_VOLUME)):
    """Let the guest go on with another file of a volume, in front of the one that it has."""

    volume_id: str
    snapshot_id: str
    new_file: str


class MergeSnapshot(Order, frozen=True, kw_only=True, tag=str(Action.MERGE_SNAPSHOT)):
    """Merge a file of a volume into another that is behind it; see ``Attaching.merge_snapshot``."""

    volume_id: str
    snapshot_id: str
    file_to_merge: str | None = None
    target_file: str | None = None


class AttachShare(Order, frozen=True, kw_only=True, tag=str(Action.ATTACH_SHARE)):
    """Let this host in to a share that the server has got, and give it to the guest."""

    share_id: str


class DetachShare(Order, frozen=True, kw_only=True, tag=str(Action.DETACH_SHARE)):
    """Take a share from the guest."""

    share_id: str


class AttachInterface(Order, frozen=True, kw_only=True, tag=str(Action.ATTACH_INTERFACE)):
    """Give the guest a card: a port of the network service, which is the server's already."""

    port_id: str
    tag: str | None = None


class DetachInterface(Order, frozen=True, kw_only=True, tag=str(Action.DETACH_INTERFACE)):
    """Take a card away from the guest, and let go of its port."""

    port_id: str


CardOrder = AttachInterface | DetachInterface


class SoftDelete(Order, frozen=True, kw_only=True, tag=states.SOFT_DELETE):
    """Shut the guest down, and keep it."""


class Restore(Order, frozen=True, kw_only=True, tag=str(Action.RESTORE)):
    """Let a guest that was kept run again."""


AnyOrder = (
    Stop
    | Start
    | SoftReboot
    | HardReboot
    | Pause
    | Unpause
    | Suspend
    | Resume
    | Rescue
    | Unrescue
    | Rebuild
    | Snapshot
    | Backup
    | ChangePassword
    | TriggerCrashDump
    | AttachVolume
    | DetachVolume
    | SwapVolume
    | ExtendVolume
    | SnapshotVolume
    | MergeSnapshot
    | AttachShare
    | DetachShare
    | AttachInterface
    | DetachInterface
    | SoftDelete
    | Restore
)


def image_of(order: Order) -> ImageId | None:
    """Return the image that an order is about, or None."""
    if isinstance(order, Snapshot | Backup):
        return order.image_id
    return order.image.image_id if isinstance(order, Rescue) else None


def share_of(order: Order) -> str:
    """Return the id of the share that an order is about, or an empty text."""
    return order.share_id if isinstance(order, AttachShare | DetachShare) else ""


def port_of(order: Order) -> str:
    """Return the id of the port whose card an order is about, or an empty text."""
    return order.port_id if isinstance(order, AttachInterface | DetachInterface) else ""


def rule_of(order: Order) -> str:
    """Return the key of an order's rule in ``states.RULES``."""
    return str(order.__struct_config__.tag)
