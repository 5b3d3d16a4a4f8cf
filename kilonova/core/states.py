"""Which states a server has, what they look like outside, and which action is legal in which.

Source of the tables: Compute API reference, "Server statuses" and the action pages.
"""

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
    LOCK = "lock"
    UNLOCK = "unlock"


class Rule:
    """When an action is legal, and the task state that is set while it is under way."""

    __slots__ = ("any_task", "during", "task", "vm_states")

    def __init__(
        self,
        vm_states: frozenset[VmState],
        task: TaskState,
        *,
        during: frozenset[TaskState] = frozenset(),
        any_task: bool = False,
    ) -> None:
        self.vm_states = vm_states
        self.task = task
        self.during = during
        self.any_task = any_task


SOFT_REBOOT = "reboot-soft"
HARD_REBOOT = "reboot-hard"

RULES: dict[str, Rule] = {
    Action.STOP: Rule(frozenset({VmState.ACTIVE, VmState.ERROR}), TaskState.POWERING_OFF),
    Action.START: Rule(frozenset({VmState.STOPPED}), TaskState.POWERING_ON),
    SOFT_REBOOT: Rule(frozenset({VmState.ACTIVE}), TaskState.REBOOTING),
    HARD_REBOOT: Rule(
        frozenset(
            {VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR}
        ),
        TaskState.REBOOTING_HARD,
        during=frozenset({TaskState.REBOOTING, TaskState.REBOOTING_HARD}),
    ),
    Action.DELETE: Rule(frozenset(VmState), TaskState.DELETING, any_task=True),
}
"""The one table of legal transitions; anything not in it is refused with 409."""


def refusal(action: str, vm_state: VmState, task_state: TaskState | None) -> str | None:
    """Return why ``action`` is illegal now, as ``"vm_state paused"`` or ``"task_state spawning"``.

    ``None`` means that it is legal.
    """
    rule = RULES[action]
    if vm_state not in rule.vm_states:
        return f"vm_state {vm_state}"
    if task_state is not None and not rule.any_task and task_state not in rule.during:
        return f"task_state {task_state}"
    return None
