"""Which states a server has, what they look like outside, and which action is legal in which.

Source of the tables: Compute API reference, "Server statuses" and the action pages.
"""

from collections.abc import Collection
from enum import IntEnum, StrEnum


class VmState(StrEnum):
    """What a server is, once nothing is under way."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    RESCUED = "rescued"
    RESIZED = "resized"
    SOFT_DELETED = "soft-delete"
    DELETED = "deleted"
    ERROR = "error"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"


class TaskState(StrEnum):
    """What is under way with a server."""

    SCHEDULING = "scheduling"
    NETWORKING = "networking"
    BLOCK_DEVICE_MAPPING = "block_device_mapping"
    SPAWNING = "spawning"
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    RESCUING = "rescuing"
    UNRESCUING = "unrescuing"
    REBUILDING = "rebuilding"
    REBUILD_BLOCK_DEVICE_MAPPING = "rebuild_block_device_mapping"
    REBUILD_SPAWNING = "rebuild_spawning"
    IMAGE_SNAPSHOT = "image_snapshot"
    IMAGE_BACKUP = "image_backup"
    IMAGE_UPLOADING = "image_uploading"
    UPDATING_PASSWORD = "updating_password"  # noqa: S105
    RESIZE_PREP = "resize_prep"
    RESIZE_MIGRATING = "resize_migrating"
    RESIZE_MIGRATED = "resize_migrated"
    RESIZE_FINISH = "resize_finish"
    RESIZE_REVERTING = "resize_reverting"
    MIGRATING = "migrating"
    SHELVING = "shelving"
    SHELVING_IMAGE_UPLOADING = "shelving_image_uploading"
    SHELVING_OFFLOADING = "shelving_offloading"
    UNSHELVING = "unshelving"
    SOFT_DELETING = "soft-deleting"
    RESTORING = "restoring"
    DELETING = "deleting"


class PowerState(IntEnum):
    """What the hypervisor says of a guest (numbers: Compute API reference)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


_STATUS: dict[VmState, str] = {
    VmState.BUILDING: "BUILD",
    VmState.ACTIVE: "ACTIVE",
    VmState.PAUSED: "PAUSED",
    VmState.SUSPENDED: "SUSPENDED",
    VmState.STOPPED: "SHUTOFF",
    VmState.RESCUED: "RESCUE",
    VmState.RESIZED: "VERIFY_RESIZE",
    VmState.SOFT_DELETED: "SOFT_DELETED",
    VmState.DELETED: "DELETED",
    VmState.ERROR: "ERROR",
    VmState.SHELVED: "SHELVED",
    VmState.SHELVED_OFFLOADED: "SHELVED_OFFLOADED",
}

STATUS_WHILE: dict[tuple[VmState, TaskState], str] = {
    (VmState.ACTIVE, TaskState.REBOOTING): "REBOOT",
    (VmState.ACTIVE, TaskState.REBOOTING_HARD): "HARD_REBOOT",
    (VmState.ACTIVE, TaskState.UPDATING_PASSWORD): "PASSWORD",
    **{
        (vm_state, task): "REBUILD"
        for vm_state in (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR)
        for task in (
            TaskState.REBUILDING,
            TaskState.REBUILD_BLOCK_DEVICE_MAPPING,
            TaskState.REBUILD_SPAWNING,
        )
    },
    **{
        (vm_state, task): "RESIZE"
        for vm_state in (VmState.ACTIVE, VmState.STOPPED)
        for task in (
            TaskState.RESIZE_PREP,
            TaskState.RESIZE_MIGRATING,
            TaskState.RESIZE_MIGRATED,
            TaskState.RESIZE_FINISH,
        )
    },
    (VmState.RESIZED, TaskState.RESIZE_REVERTING): "REVERT_RESIZE",
    (VmState.ACTIVE, TaskState.MIGRATING): "MIGRATING",
    (VmState.PAUSED, TaskState.MIGRATING): "MIGRATING",
}


def status(vm_state: VmState, task_state: TaskState | None) -> str:
    """Return the API's ``status`` of a server."""
    if task_state is not None and (vm_state, task_state) in STATUS_WHILE:
        return STATUS_WHILE[vm_state, task_state]
    return _STATUS[vm_state]


def states_of_status(wanted: str) -> tuple[tuple[VmState, TaskState | None], ...]:
    """Return the (vm_state, task_state) pairs that show as ``wanted``, in any letter case.

    A ``None`` task state stands for every task state that has no status of its own. An unknown status
    gives an empty tuple.
    """
    upper = wanted.upper()
    plain = [(vm, None) for vm, name in _STATUS.items() if name == upper]
    busy = [pair for pair, name in STATUS_WHILE.items() if name == upper]
    return (*plain, *busy)


class Action(StrEnum):
    """What may be asked of a server; the value is the name in its list of instance actions."""

    CREATE = "create"
    DELETE = "delete"
    STOP = "stop"
    START = "start"
    REBOOT = "reboot"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    SUSPEND = "suspend"
    RESUME = "resume"
    RESCUE = "rescue"
    UNRESCUE = "unrescue"
    REBUILD = "rebuild"
    CREATE_IMAGE = "createImage"
    CREATE_BACKUP = "createBackup"
    CHANGE_PASSWORD = "changePassword"  # noqa: S105
    TRIGGER_CRASH_DUMP = "trigger_crash_dump"
    RESTORE = "restore"
    RESET_STATE = "resetState"
    RESIZE = "resize"
    MIGRATE = "migrate"
    CONFIRM_RESIZE = "confirmResize"
    REVERT_RESIZE = "revertResize"
    LIVE_MIGRATE = "live-migration"
    LIVE_CANCEL = "live_migration_cancel"
    LIVE_FORCE = "live_migration_force_complete"
    EVACUATE = "evacuate"
    SHELVE = "shelve"
    SHELVE_OFFLOAD = "shelveOffload"
    UNSHELVE = "unshelve"
    ATTACH_VOLUME = "attach_volume"
    DETACH_VOLUME = "detach_volume"
    SWAP_VOLUME = "swap_volume"
    EXTEND_VOLUME = "extend_volume"
    SNAPSHOT_VOLUME = "volume_snapshot_create"
    MERGE_SNAPSHOT = "volume_snapshot_delete"
    ATTACH_SHARE = "attach_share"
    DETACH_SHARE = "detach_share"
    ATTACH_INTERFACE = "attach_interface"
    DETACH_INTERFACE = "detach_interface"
    LOCK = "lock"
    UNLOCK = "unlock"


class Rule:
    """When an action is legal, and the task state that is set while it is under way.

    An action without a ``task`` is over as soon as its host has done it, and goes beside any other.
    ``action`` is the name under which it is recorded, where that is not the rule's own. One that does not
    ``heed_lock`` is done to locked servers, too. ``never_launched`` servers may be acted on only where the
    rule says so. One with ``bars_shares`` is refused to servers that have shares.
    """

    __slots__ = (
        "action",
        "any_task",
        "bars_shares",
        "during",
        "heeds_lock",
        "never_launched",
        "task",
        "vm_states",
    )

    def __init__(  # noqa: PLR0913 - a row of a table
        self,
        vm_states: Collection[VmState],
        task: TaskState | None,
        *,
        during: Collection[TaskState] = (),
        any_task: bool = False,
        action: str = "",
        heeds_lock: bool = True,
        never_launched: bool = False,
        bars_shares: bool = False,
    ) -> None:
        self.vm_states = frozenset(vm_states)
        self.task = task
        self.during = frozenset(during)
        self.any_task = any_task
        self.action = action
        self.heeds_lock = heeds_lock
        self.never_launched = never_launched
        self.bars_shares = bars_shares


SOFT_REBOOT = "reboot-soft"
HARD_REBOOT = "reboot-hard"
SOFT_DELETE = "delete-soft"
LEAVE_DEAD = "evacuate-dead"
"""What is done by itself with servers whose host is dead."""

_ON_DISK = (VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED)
"""What a server is whose disk can be copied."""

_WITH_VOLUMES = (
    VmState.ACTIVE,
    VmState.PAUSED,
    VmState.STOPPED,
    VmState.RESIZED,
    VmState.SOFT_DELETED,
    VmState.SHELVED,
    VmState.SHELVED_OFFLOADED,
)
"""What a server is that volumes come to and go from."""

RULES: dict[str, Rule] = {
    Action.STOP: Rule((VmState.ACTIVE, VmState.ERROR), TaskState.POWERING_OFF),
    Action.START: Rule((VmState.STOPPED,), TaskState.POWERING_ON),
    SOFT_REBOOT: Rule((VmState.ACTIVE,), TaskState.REBOOTING, action=Action.REBOOT),
    HARD_REBOOT: Rule(
        (*_ON_DISK, VmState.ERROR),
        TaskState.REBOOTING_HARD,
        during=(TaskState.REBOOTING, TaskState.REBOOTING_HARD),
        action=Action.REBOOT,
    ),
    Action.PAUSE: Rule((VmState.ACTIVE,), TaskState.PAUSING),
    Action.UNPAUSE: Rule((VmState.PAUSED,), TaskState.UNPAUSING),
    Action.SUSPEND: Rule((VmState.ACTIVE,), TaskState.SUSPENDING, bars_shares=True),
    Action.RESUME: Rule((VmState.SUSPENDED,), TaskState.RESUMING, bars_shares=True),
    Action.RESCUE: Rule((VmState.ACTIVE, VmState.STOPPED, VmState.ERROR), TaskState.RESCUING),
    Action.UNRESCUE: Rule((VmState.RESCUED,), TaskState.UNRESCUING),
    Action.REBUILD: Rule(
        (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR), TaskState.REBUILDING, bars_shares=True
    ),
    Action.CREATE_IMAGE: Rule(_ON_DISK, TaskState.IMAGE_SNAPSHOT, heeds_lock=False),
    Action.CREATE_BACKUP: Rule(_ON_DISK, TaskState.IMAGE_BACKUP, heeds_lock=False),
    Action.CHANGE_PASSWORD: Rule((VmState.ACTIVE,), TaskState.UPDATING_PASSWORD),
    Action.TRIGGER_CRASH_DUMP: Rule(
        (VmState.ACTIVE, VmState.PAUSED, VmState.RESCUED, VmState.RESIZED, VmState.ERROR),
        None,
        any_task=True,
    ),
    Action.ATTACH_VOLUME: Rule(_WITH_VOLUMES, None),
    Action.DETACH_VOLUME: Rule(_WITH_VOLUMES, None),
    Action.SWAP_VOLUME: Rule((VmState.ACTIVE, VmState.PAUSED, VmState.RESIZED), None),
    **{
        action: Rule(
            (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.SUSPENDED, VmState.RESIZED),
            None,
            any_task=True,
            heeds_lock=False,
            bars_shares=action == Action.SNAPSHOT_VOLUME,
        )
        for action in (Action.EXTEND_VOLUME, Action.SNAPSHOT_VOLUME, Action.MERGE_SNAPSHOT)
    },
    **{
        action: Rule((VmState.ACTIVE, VmState.STOPPED), TaskState.RESIZE_PREP, bars_shares=True)
        for action in (Action.RESIZE, Action.MIGRATE)
    },
    Action.CONFIRM_RESIZE: Rule((VmState.RESIZED,), None),
    Action.REVERT_RESIZE: Rule((VmState.RESIZED,), TaskState.RESIZE_REVERTING),
    Action.LIVE_MIGRATE: Rule(
        (VmState.ACTIVE, VmState.PAUSED), TaskState.MIGRATING, bars_shares=True
    ),
    Action.EVACUATE: Rule(
        (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR),
        TaskState.REBUILDING,
        # Whatever its dead host was to do; but what is being deleted is not brought back.
        during=frozenset(TaskState) - {TaskState.DELETING},
        heeds_lock=False,
        bars_shares=True,
    ),
    LEAVE_DEAD: Rule(
        (*_ON_DISK, VmState.RESCUED, VmState.ERROR),
        TaskState.REBUILDING,
        during=frozenset(TaskState) - {TaskState.DELETING},
        action=Action.EVACUATE,
        heeds_lock=False,
    ),
    Action.SHELVE: Rule(_ON_DISK, TaskState.SHELVING, bars_shares=True),
    Action.SHELVE_OFFLOAD: Rule((VmState.SHELVED,), TaskState.SHELVING_OFFLOADING),
    Action.UNSHELVE: Rule((VmState.SHELVED, VmState.SHELVED_OFFLOADED), TaskState.UNSHELVING),
    Action.ATTACH_SHARE: Rule((VmState.STOPPED,), None),
    Action.DETACH_SHARE: Rule((VmState.STOPPED, VmState.ERROR), None),
    Action.ATTACH_INTERFACE: Rule((VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED), None),
    Action.DETACH_INTERFACE: Rule((VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED), None),
    SOFT_DELETE: Rule(
        (*_ON_DISK, VmState.RESCUED, VmState.ERROR),
        TaskState.SOFT_DELETING,
        action=Action.DELETE,
    ),
    Action.RESTORE: Rule((VmState.SOFT_DELETED,), TaskState.RESTORING),
    Action.DELETE: Rule(tuple(VmState), TaskState.DELETING, any_task=True, never_launched=True),
}
"""The one table of legal transitions; anything not in it is refused with 409."""

BREAKS = frozenset(
    {
        TaskState.RESCUING,
        TaskState.UNRESCUING,
        TaskState.REBUILDING,
        TaskState.REBUILD_BLOCK_DEVICE_MAPPING,
        TaskState.REBUILD_SPAWNING,
    }
)
"""Tasks that change what a guest is made of: one that does not come to its end leaves the server in ERROR.
After any other, the server is what its guest is."""

COPIES = frozenset({TaskState.IMAGE_SNAPSHOT, TaskState.IMAGE_BACKUP, TaskState.IMAGE_UPLOADING})
"""Tasks that fill an image: one that does not come to its end leaves it without data."""

HOST_TASKS = frozenset(
    {
        TaskState.POWERING_OFF,
        TaskState.POWERING_ON,
        TaskState.REBOOTING,
        TaskState.REBOOTING_HARD,
        TaskState.PAUSING,
        TaskState.UNPAUSING,
        TaskState.SUSPENDING,
        TaskState.RESUMING,
        TaskState.UPDATING_PASSWORD,
        TaskState.SOFT_DELETING,
        TaskState.RESTORING,
        *COPIES,
        *BREAKS,
    }
)
"""Tasks that are one host's alone: when nothing is heard of one any more, it is over."""

FOLLOWS_POWER = frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED})
"""What a server is by its guest's power alone; the others stay what they are, whatever the guest does."""

_STATE_OF = {
    PowerState.RUNNING: VmState.ACTIVE,
    PowerState.PAUSED: VmState.PAUSED,
    PowerState.SUSPENDED: VmState.SUSPENDED,
}


def state_of(power: PowerState) -> VmState:
    """Return what a server is when its guest's power is this and nothing is under way."""
    return _STATE_OF.get(power, VmState.STOPPED)


def refusal(action: str, vm_state: VmState, task_state: TaskState | None) -> str | None:
    """Return why ``action`` is illegal now, as ``"vm_state paused"`` or ``"task_state spawning"``.

    ``action`` is a key of ``RULES``. ``None`` means that it is legal.
    """
    rule = RULES[action]
    if vm_state not in rule.vm_states:
        return f"vm_state {vm_state}"
    if task_state is not None and not rule.any_task and task_state not in rule.during:
        return f"task_state {task_state}"
    return None


def recorded_as(action: str) -> str:
    """Return the name under which an action, a key of ``RULES``, is recorded and shown."""
    rule = RULES.get(action)
    return (rule.action if rule is not None else "") or action
