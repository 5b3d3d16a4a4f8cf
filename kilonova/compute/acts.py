"""What a host does for each order: one table, and beside it what takes more than a call of the driver's.

An act works on one server while it has the server's turn, and raises ``KilonovaError`` if it fails.
"""

import contextlib
from collections.abc import Callable

import msgspec

from kilonova.compute import image_acts, share_acts, volume_acts
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
from kilonova.core.share import ShareStage
from kilonova.core.states import TaskState, VmState
from kilonova.core.volume import VolumeStage

CLEAN_SECONDS = 60.0
"""What a guest gets to shut down by itself (as Nova's ``shutdown_timeout``)."""


class Act(msgspec.Struct, frozen=True):
    """How an order is done: the name of its event, the work, and what the server is when that is done.

    Work that alone knows what came of it returns that. An order without a task is done beside any other,
    unless it has ``due``, which says in the server's turn whether it is still to be done.
    """

    event: str
    work: Callable[[Job], Outcome | None]
    after: Outcome
    due: Callable[[Job], bool] | None = None


def _call(method: Callable[[Driver, InstanceUuid], None]) -> Callable[[Job], None]:
    """Return work that is one call of the driver's."""
    return lambda job: method(job.driver, job.instance.uuid)


def _shut_down(job: Job) -> None:
    """Let the guest shut down, unless it is to be deleted anyway."""
    job.driver.stop(job.instance.uuid, CLEAN_SECONDS, job.hurry)


def _stop(job: Job) -> None:
    _shut_down(job)
    job.shares.unmount(job.instance, job.request_id)


def _start(job: Job) -> None:
    with job.shares.mounted(job.instance, job.request_id) as instance:
        if job.instance.shares:
            job.driver.give_shares(instance)
        job.driver.start(instance.uuid)


def _soft_reboot(job: Job) -> None:
    _shut_down(job)
    job.driver.start(job.instance.uuid)


def _hard_reboot(job: Job) -> None:
    with job.connected() as instance:
        job.driver.reboot(instance)


def _rescue(job: Job) -> None:
    with job.connected() as instance:
        job.driver.rescue(instance, job.order.image)


def _unrescue(job: Job) -> None:
    with job.connected() as instance:
        job.driver.unrescue(instance)


def _rebuild(job: Job) -> Outcome:
    """Remove the guest and make it anew; its image is here before anything of it goes."""
    driver, instance = job.driver, job.instance
    driver.fetch_image(instance)
    driver.destroy(instance.uuid)
    job.say(TaskState.REBUILD_BLOCK_DEVICE_MAPPING)
    if job.order.onto_volume is not None:
        instance = job.volumes.rewrite(instance, job.order.onto_volume, job.request_id)
    instance = job.volumes.connect(instance, job.request_id, job.hurry)
    nics = job.wiring.bring(instance)
    driver.prepare_disks(instance)
    job.say(TaskState.REBUILD_SPAWNING)
    driver.spawn(instance)
    job.volumes.complete(instance)
    after = RUNS
    if instance.vm_state == VmState.STOPPED:
        _shut_down(job)
        after = IS_OFF
    return msgspec.structs.replace(after, launched_at=utcnow(), nics=nics)


def _soft_delete(job: Job) -> None:
    # One that has no guest is as good as one that is shut down.
    with contextlib.suppress(NotFound):
        _stop(job)


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
    orders.Stop: Act("compute_stop_instance", _stop, IS_OFF),
    orders.Start: Act("compute_start_instance", _start, RUNS),
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
    orders.AttachVolume: Act(
        "compute_attach_volume", volume_acts.attach, SAME, volume_acts.due(VolumeStage.ATTACHING)
    ),
    orders.DetachVolume: Act(
        "compute_detach_volume", volume_acts.detach, SAME, volume_acts.due(VolumeStage.DETACHING)
    ),
    orders.SwapVolume: Act(
        "compute_swap_volume", volume_acts.swap, SAME, volume_acts.due(VolumeStage.SWAPPING)
    ),
    orders.ExtendVolume: Act(
        "compute_extend_volume", volume_acts.extend, SAME, volume_acts.is_attached
    ),
    orders.SnapshotVolume: Act(
        "compute_volume_snapshot_create",
        volume_acts.snapshot,
        SAME,
        volume_acts.is_attached,
    ),
    orders.MergeSnapshot: Act(
        "compute_volume_snapshot_delete",
        volume_acts.merge,
        SAME,
        volume_acts.is_attached,
    ),
    orders.AttachShare: Act(
        "compute_allow_share", share_acts.attach, SAME, share_acts.due(ShareStage.ATTACHING)
    ),
    orders.DetachShare: Act(
        "compute_deny_share", share_acts.detach, SAME, share_acts.due(ShareStage.DETACHING)
    ),
    orders.AttachInterface: Act("compute_attach_interface", _attach_interface, SAME),
    orders.DetachInterface: Act("compute_detach_interface", _detach_interface, SAME),
    orders.SoftDelete: Act("compute_soft_delete_instance", _soft_delete, IS_KEPT),
    orders.Restore: Act("compute_restore_instance", _hard_reboot, RUNS),
}
"""Every order, and nothing else."""
