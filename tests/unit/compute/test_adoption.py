"""What a host that starts does about what it finds: decided for each server and guest by itself."""

import msgspec
import testtools

from kilonova.compute.adoption import Step, step_for, step_for_stranger
from kilonova.compute.driver import Guest
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.rpc.messages import HostInstances
from tests.instances import instance

RUNNING, OFF, FILES = PowerState.RUNNING, PowerState.SHUTDOWN, PowerState.NOSTATE
_GUESTS = (None, Guest(RUNNING, 2), Guest(OFF, 2), Guest(FILES, 0))


def step(
    task: TaskState | None, guest: Guest | None, *, epoch: int = 2, vm: VmState = VmState.ACTIVE
) -> Step:
    """Return what is done about a server in a task, built under epoch 2."""
    return step_for(instance(task_state=task, vm_state=vm, epoch=epoch, begun_epoch=epoch), guest)


class ServersTest(testtools.TestCase):
    """Servers that the host should have."""

    def test_a_delete_goes_on_whatever_is_there(self) -> None:
        for guest in (None, Guest(RUNNING, 2), Guest(RUNNING, 1), Guest(OFF, 0)):
            self.assertEqual(Step.DELETE, step(TaskState.DELETING, guest))

    def test_a_build_that_was_not_begun_is_awaited(self) -> None:
        for guest in (None, Guest(RUNNING, 1), Guest(FILES, 0)):
            self.assertEqual(Step.AWAIT_BUILD, step(TaskState.SCHEDULING, guest))

    def test_a_build_whose_guest_runs_was_done(self) -> None:
        self.assertEqual(Step.FINISH_BUILD, step(TaskState.SPAWNING, Guest(RUNNING, 2)))

    def test_a_build_without_a_running_guest_of_its_own_was_interrupted(self) -> None:
        for guest in (
            None,
            Guest(FILES, 0),
            Guest(OFF, 2),
            Guest(RUNNING, 1),
            Guest(RUNNING, 0),
            Guest(RUNNING, 3),
        ):
            self.assertEqual(Step.END_BUILD, step(TaskState.SPAWNING, guest), guest)

    def test_each_task_of_a_build_is_a_build(self) -> None:
        for task in (TaskState.NETWORKING, TaskState.BLOCK_DEVICE_MAPPING, TaskState.SPAWNING):
            self.assertEqual(Step.END_BUILD, step(task, None))

    def test_a_server_at_rest_is_compared_with_its_guest(self) -> None:
        for guest in _GUESTS:
            self.assertEqual(Step.COMPARE, step(None, guest))

    def test_a_task_that_nobody_began_is_awaited_and_one_that_somebody_did_is_over(self) -> None:
        for task in (TaskState.POWERING_OFF, TaskState.REBUILDING, TaskState.IMAGE_UPLOADING):
            waits = instance(task_state=task, epoch=2, task_request="req-1")
            begun = msgspec.structs.replace(waits, task_worker="w")
            for guest in _GUESTS:
                self.assertEqual(Step.AWAIT_TASK, step_for(waits, guest))
                self.assertEqual(Step.END_TASK, step_for(begun, guest))

    def test_an_earlier_builds_guest_is_never_a_later_builds_server(self) -> None:
        for power in PowerState:
            for vm in VmState:
                self.assertEqual(Step.REPLACE, step(None, Guest(power, 1), vm=vm))

    def test_a_server_that_came_back_from_a_move_still_has_the_guest_that_it_left(self) -> None:
        back = instance(epoch=4, begun_epoch=2, task_state=None)
        for epoch, expected in ((1, Step.REPLACE), (2, Step.COMPARE), (4, Step.COMPARE)):
            self.assertEqual(expected, step_for(back, Guest(RUNNING, epoch)))

    def test_a_guest_whose_epoch_is_not_known_is_kept(self) -> None:
        self.assertEqual(Step.COMPARE, step(None, Guest(RUNNING, 0)))

    def test_a_cell_that_forgot_an_epoch_does_not_cost_the_guest(self) -> None:
        self.assertEqual(Step.COMPARE, step(None, Guest(RUNNING, 3)))


class StrangersTest(testtools.TestCase):
    """Guests whose servers are not among the host's."""

    def test_a_guest_that_the_cell_disowns_is_removed(self) -> None:
        uuid = instance().uuid
        told = HostInstances(instances=(), disowned=(uuid,))
        self.assertEqual(Step.REMOVE, step_for_stranger(uuid, told))

    def test_a_guest_that_may_be_its_servers_again_stands_still(self) -> None:
        uuid = instance().uuid
        told = HostInstances(instances=(), disowned=(uuid,), kept=(uuid,))
        self.assertEqual(Step.STAND_STILL, step_for_stranger(uuid, told))

    def test_a_guest_that_nobody_knows_is_left_alone(self) -> None:
        told = HostInstances(instances=(), disowned=(instance().uuid,))
        self.assertEqual(Step.LEAVE, step_for_stranger(instance().uuid, told))
