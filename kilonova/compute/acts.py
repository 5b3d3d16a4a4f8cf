"""What a host does for each order: one table, and beside it what takes more than a call of the driver's.

An act works on one server while it has the server's turn, and raises ``KilonovaError`` if it fails.
"""

import contextlib
from collections.abc import Callable

import msgspec

from kilonova.compute import image_acts
from kilonova.compute.driver import Driver
from kilonova.compute.jobs import (
    IS_KEPT,
    IS_OFF,
    IS_RESCUED,
    IS_SAVED,
    RUNS,
    SAME,
    STANDS_STILL,
    Job,
    Outcome,
)
from kilonova.compute.sealed import sealed
from kilonova.core import orders
from kilonova.core.clock import utcnow
from kilonova.core.errors import NotFound
from kilonova.core.ids import InstanceUuid
from kilonova.core.orders import Order
from kilonova.core.states import TaskState, VmState

CLEAN_SECONDS = 60.0
"""What a guest gets to shut down by itself (as Nova's ``shutdown_timeout``)."""


class Act(msgspec.Struct, frozen=True):
    """How an order is done: the name of its event, the work, and what the server is when that is done.

    Work that alone knows what came of it returns that. An act that ``is_alone`` waits for the server's turn
    though it is no task.
    """

    event: str
    work: Callable[[Job], Outcome | None]
    after: Outcome
    is_alone: bool = False


def _call(method: Callable[[Driver, InstanceUuid], None]) -> Callable[[Job], None]:
    """Return work that is one call of the driver's."""
    return lambda job: method(job.driver, job.instance.uuid)


def _shut_down(job: Job) -> None:
    """Let the guest shut down, unless it is to be deleted anyway."""
    job.driver.stop(job.instance.uuid, CLEAN_SECONDS, job.hurry)


def _soft_reboot(job: Job) -> None:
    _shut_down(job)
    job.driver.start(job.instance.uuid)


def _hard_reboot(job: Job) -> None:
    job.driver.reboot(job.instance)


def _rescue(job: Job) -> None:
    job.driver.rescue(job.instance, job.order.image)


def _unrescue(job: Job) -> None:
    job.driver.unrescue(job.instance)


def _rebuild(job: Job) -> Outcome:
    """Remove the guest and make it anew; its image is here before anything of it goes."""
    driver, instance = job.driver, job.instance
    driver.fetch_image(instance)
    driver.destroy(instance.uuid)
    job.say(TaskState.REBUILD_BLOCK_DEVICE_MAPPING)
    nics = job.wiring.bring(instance)
    driver.prepare_disks(instance)
    job.say(TaskState.REBUILD_SPAWNING)
    driver.spawn(instance)
    after = RUNS
    if instance.vm_state == VmState.STOPPED:
        _shut_down(job)
        after = IS_OFF
    return msgspec.structs.replace(after, launched_at=utcnow(), nics=nics)


def _soft_delete(job: Job) -> None:
    # One that has no guest is as good as one that is shut down.
    with contextlib.suppress(NotFound):
        _shut_down(job)


def _change_password(job: Job) -> Outcome:
    password = job.order.password
    job.driver.set_password(job.instance, password)
    secret = sealed(password, job.instance.wishes.key_pair)
    return SAME if secret is None else Outcome(password=secret)


def _attach_interface(job: Job) -> Outcome:
    order = job.order
    return Outcome(nics=job.wiring.attach(job.instance, order.port_id, order.tag))


def _detach_interface(job: Job) -> Outcome:
    return Outcome(nics=job.wiring.detach(job.instance, job.order.port_id))


ACTS: dict[type[Order], Act] = {
    orders.Stop: Act("compute_stop_instance", _shut_down, IS_OFF),
    orders.Start: Act("compute_start_instance", _call(lambda d, uuid: d.start(uuid)), RUNS),
    orders.SoftReboot: Act("compute_reboot_instance", _soft_reboot, RUNS),
    orders.HardReboot: Act("compute_reboot_instance", _hard_reboot, RUNS),
    orders.Pause: Act("compute_pause_instance", _call(lambda d, uuid: d.pause(uuid)), STANDS_STILL),
    orders.Unpause: Act("compute_unpause_instance", _call(lambda d, uuid: d.unpause(uuid)), RUNS),
    orders.Suspend: Act(
        "compute_suspend_instance", _call(lambda d, uuid: d.suspend(uuid)), IS_SAVED
    ),
    orders.Resume: Act("compute_resume_instance", _call(lambda d, uuid: d.resume(uuid)), RUNS),
    orders.Rescue: Act("compute_rescue_instance", _rescue, IS_RESCUED),
    orders.Unrescue: Act("compute_unrescue_instance", _unrescue, RUNS),
    orders.Rebuild: Act("compute_rebuild_instance", _rebuild, RUNS),
    orders.Snapshot: Act("compute_snapshot_instance", image_acts.snapshot, SAME),
    orders.Backup: Act("compute_backup_instance", image_acts.backup, SAME),
    orders.ChangePassword: Act("compute_set_admin_password", _change_password, SAME),
    orders.TriggerCrashDump: Act(
        "compute_trigger_crash_dump", _call(lambda d, uuid: d.crash_dump(uuid)), SAME
    ),
    orders.AttachInterface: Act("compute_attach_interface", _attach_interface, SAME, is_alone=True),
    orders.DetachInterface: Act("compute_detach_interface", _detach_interface, SAME, is_alone=True),
    orders.SoftDelete: Act("compute_soft_delete_instance", _soft_delete, IS_KEPT),
    orders.Restore: Act("compute_restore_instance", _hard_reboot, RUNS),
}
"""Every order, and nothing else."""
