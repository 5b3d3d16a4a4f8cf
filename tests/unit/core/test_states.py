"""Which action is legal in which state, and what a state looks like outside.

Source of the tables: Compute API reference, "Server statuses" and the action pages.
"""

import itertools

import testtools

from kilonova.core import states
from kilonova.core.states import (
    HARD_REBOOT,
    LEAVE_DEAD,
    RULES,
    SOFT_DELETE,
    SOFT_REBOOT,
    Action,
    PowerState,
    TaskState,
    VmState,
    refusal,
    states_of_status,
    status,
)

EVERY = frozenset(VmState)
IDLE: frozenset[TaskState | None] = frozenset({None})
ANY_TASK: frozenset[TaskState | None] = frozenset({None, *TaskState})

ON_DISK = frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED})

WITH_VOLUMES = frozenset(
    {
        VmState.ACTIVE,
        VmState.PAUSED,
        VmState.STOPPED,
        VmState.RESIZED,
        VmState.SOFT_DELETED,
        VmState.SHELVED,
        VmState.SHELVED_OFFLOADED,
    }
)
LEGAL: dict[str, tuple[frozenset[VmState], frozenset[TaskState | None]]] = {
    Action.STOP: (frozenset({VmState.ACTIVE, VmState.ERROR}), IDLE),
    Action.START: (frozenset({VmState.STOPPED}), IDLE),
    SOFT_REBOOT: (frozenset({VmState.ACTIVE}), IDLE),
    HARD_REBOOT: (
        frozenset(
            {VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR}
        ),
        IDLE | {TaskState.REBOOTING, TaskState.REBOOTING_HARD},
    ),
    Action.PAUSE: (frozenset({VmState.ACTIVE}), IDLE),
    Action.UNPAUSE: (frozenset({VmState.PAUSED}), IDLE),
    Action.SUSPEND: (frozenset({VmState.ACTIVE}), IDLE),
    Action.RESUME: (frozenset({VmState.SUSPENDED}), IDLE),
    Action.RESCUE: (frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}), IDLE),
    Action.UNRESCUE: (frozenset({VmState.RESCUED}), IDLE),
    Action.REBUILD: (frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}), IDLE),
    Action.CREATE_IMAGE: (ON_DISK, IDLE),
    Action.CREATE_BACKUP: (ON_DISK, IDLE),
    Action.CHANGE_PASSWORD: (frozenset({VmState.ACTIVE}), IDLE),
    Action.TRIGGER_CRASH_DUMP: (
        frozenset(
            {VmState.ACTIVE, VmState.PAUSED, VmState.RESCUED, VmState.RESIZED, VmState.ERROR}
        ),
        ANY_TASK,
    ),
    Action.ATTACH_VOLUME: (WITH_VOLUMES, IDLE),
    Action.DETACH_VOLUME: (WITH_VOLUMES, IDLE),
    Action.SWAP_VOLUME: (frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.RESIZED}), IDLE),
    Action.EXTEND_VOLUME: (
        frozenset(
            {VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.SUSPENDED, VmState.RESIZED}
        ),
        ANY_TASK,
    ),
    Action.SNAPSHOT_VOLUME: (
        frozenset(
            {VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.SUSPENDED, VmState.RESIZED}
        ),
        ANY_TASK,
    ),
    Action.MERGE_SNAPSHOT: (
        frozenset(
            {VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED, VmState.SUSPENDED, VmState.RESIZED}
        ),
        ANY_TASK,
    ),
    Action.RESIZE: (frozenset({VmState.ACTIVE, VmState.STOPPED}), IDLE),
    Action.ATTACH_INTERFACE: (
        frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED}),
        IDLE,
    ),
    Action.DETACH_INTERFACE: (
        frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED}),
        IDLE,
    ),
    Action.ATTACH_SHARE: (frozenset({VmState.STOPPED}), IDLE),
    Action.DETACH_SHARE: (frozenset({VmState.STOPPED, VmState.ERROR}), IDLE),
    Action.MIGRATE: (frozenset({VmState.ACTIVE, VmState.STOPPED}), IDLE),
    Action.CONFIRM_RESIZE: (frozenset({VmState.RESIZED}), IDLE),
    Action.REVERT_RESIZE: (frozenset({VmState.RESIZED}), IDLE),
    Action.LIVE_MIGRATE: (frozenset({VmState.ACTIVE, VmState.PAUSED}), IDLE),
    Action.EVACUATE: (
        frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
        ANY_TASK - {TaskState.DELETING},
    ),
    LEAVE_DEAD: (
        ON_DISK | {VmState.RESCUED, VmState.ERROR},
        ANY_TASK - {TaskState.DELETING},
    ),
    Action.SHELVE: (ON_DISK, IDLE),
    Action.SHELVE_OFFLOAD: (frozenset({VmState.SHELVED}), IDLE),
    Action.UNSHELVE: (frozenset({VmState.SHELVED, VmState.SHELVED_OFFLOADED}), IDLE),
    SOFT_DELETE: (ON_DISK | {VmState.RESCUED, VmState.ERROR}, IDLE),
    Action.RESTORE: (frozenset({VmState.SOFT_DELETED}), IDLE),
    Action.DELETE: (EVERY, ANY_TASK),
}
"""Action -> the states in which, and the tasks during which, it is legal."""

SHOWN = {
    "building": "BUILD",
    "active": "ACTIVE",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "stopped": "SHUTOFF",
    "rescued": "RESCUE",
    "resized": "VERIFY_RESIZE",
    "soft-delete": "SOFT_DELETED",
    "deleted": "DELETED",
    "error": "ERROR",
    "shelved": "SHELVED",
    "shelved_offloaded": "SHELVED_OFFLOADED",
}
SHOWN_DURING = {
    ("active", "rebooting"): "REBOOT",
    ("active", "rebooting_hard"): "HARD_REBOOT",
    ("active", "updating_password"): "PASSWORD",
    **{
        (state, task): "REBUILD"
        for state in ("active", "stopped", "error")
        for task in ("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning")
    },
    **{
        (state, f"resize_{task}"): "RESIZE"
        for state in ("active", "stopped")
        for task in ("prep", "migrating", "migrated", "finish")
    },
    ("resized", "resize_reverting"): "REVERT_RESIZE",
    ("active", "migrating"): "MIGRATING",
    ("paused", "migrating"): "MIGRATING",
}


class TransitionsTest(testtools.TestCase):
    """Every action in every state."""

    def test_every_rule_is_judged_here(self) -> None:
        self.assertEqual(set(LEGAL), set(RULES))

    def test_an_action_is_legal_in_its_states_and_tasks_and_in_no_other(self) -> None:
        for action, vm_state, task in itertools.product(LEGAL, VmState, (None, *TaskState)):
            vm_states, tasks = LEGAL[action]
            if vm_state not in vm_states:
                expected: str | None = f"vm_state {vm_state.value}"
            elif task not in tasks:
                expected = f"task_state {task.value}" if task else ""
            else:
                expected = None
            self.assertEqual(expected, refusal(action, vm_state, task), (action, vm_state, task))

    def test_what_shares_do_not_bear_is_refused_to_servers_that_have_some(self) -> None:
        barred = {action for action, rule in RULES.items() if rule.bars_shares}
        self.assertEqual(
            {
                *("evacuate", "live-migration", "migrate", "rebuild", "resize", "resume", "shelve"),
                *("suspend", "volume_snapshot_create"),
            },
            barred,
        )

    def test_a_refusal_names_the_state_before_the_task(self) -> None:
        self.assertEqual("vm_state paused", refusal("stop", VmState.PAUSED, TaskState.DELETING))
        self.assertEqual(
            "task_state powering-off", refusal("stop", VmState.ACTIVE, TaskState.POWERING_OFF)
        )

    def test_each_action_is_shown_by_a_task_of_its_own(self) -> None:
        self.assertEqual(
            {
                "stop": "powering-off",
                "start": "powering-on",
                "reboot-soft": "rebooting",
                "reboot-hard": "rebooting_hard",
                "delete": "deleting",
                "delete-soft": "soft-deleting",
                "restore": "restoring",
                "pause": "pausing",
                "unpause": "unpausing",
                "suspend": "suspending",
                "resume": "resuming",
                "rescue": "rescuing",
                "unrescue": "unrescuing",
                "rebuild": "rebuilding",
                "createImage": "image_snapshot",
                "createBackup": "image_backup",
                "changePassword": "updating_password",
                "trigger_crash_dump": "None",
                "attach_volume": "None",
                "detach_volume": "None",
                "swap_volume": "None",
                "extend_volume": "None",
                "volume_snapshot_create": "None",
                "volume_snapshot_delete": "None",
                "attach_share": "None",
                "detach_share": "None",
                "attach_interface": "None",
                "detach_interface": "None",
                "resize": "resize_prep",
                "migrate": "resize_prep",
                "confirmResize": "None",
                "revertResize": "resize_reverting",
                "live-migration": "migrating",
                "evacuate": "rebuilding",
                "evacuate-dead": "rebuilding",
                "shelve": "shelving",
                "shelveOffload": "shelving_offloading",
                "unshelve": "unshelving",
            },
            {str(action): str(rule.task) for action, rule in RULES.items()},
        )


class StatusTest(testtools.TestCase):
    """What the API shows."""

    def test_every_state_is_shown_by_its_status_whatever_the_task(self) -> None:
        self.assertEqual(set(SHOWN), {state.value for state in VmState})
        for vm_state, task in itertools.product(VmState, (None, *TaskState)):
            usual = SHOWN[vm_state.value]
            expected = SHOWN_DURING.get((vm_state.value, task.value), usual) if task else usual
            self.assertEqual(expected, status(vm_state, task), (vm_state, task))

    def test_a_status_names_its_states_in_any_letter_case(self) -> None:
        self.assertEqual(((VmState.STOPPED, None),), states_of_status("shutoff"))
        self.assertEqual(((VmState.STOPPED, None),), states_of_status("SHUTOFF"))
        self.assertEqual(
            ((VmState.ACTIVE, TaskState.REBOOTING_HARD),), states_of_status("Hard_Reboot")
        )
        self.assertEqual((), states_of_status("NOSUCH"))

    def test_every_status_that_is_shown_is_found_again(self) -> None:
        for vm_state, task in itertools.product(VmState, (None, *TaskState)):
            pairs = states_of_status(status(vm_state, task))
            self.assertTrue({(vm_state, task), (vm_state, None)} & set(pairs), (vm_state, task))

    def test_power_states_have_the_numbers_that_the_api_shows(self) -> None:
        self.assertEqual(
            {
                "NOSTATE": 0,
                "RUNNING": 1,
                "PAUSED": 3,
                "SHUTDOWN": 4,
                "CRASHED": 6,
                "SUSPENDED": 7,
            },
            {state.name: state.value for state in PowerState},
        )

    def test_no_status_while_a_task_runs_is_one_of_a_state(self) -> None:
        self.assertEqual(
            set(), set(states.STATUS_WHILE.values()) & {status(vm, None) for vm in VmState}
        )
