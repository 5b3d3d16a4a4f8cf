"""What follows from what a host says of its part of a move. Pure: values in, values out.

Each function takes the migration and the server as they stand and returns them as they are to be. Whoever
asks writes both by one compare-and-set, and tells the host that ``Migration.acting`` names.
"""

from datetime import datetime

import msgspec

from kilonova.core import migration as mig
from kilonova.core.instance import ActionEvent, Fault, Instance, Nic
from kilonova.core.migration import Berth, Kind, Migration, MoveReport, Stage
from kilonova.core.scheduling import Destination
from kilonova.core.states import FOLLOWS_POWER, PowerState, TaskState, VmState, state_of
from kilonova.db.moves import Next

replace = msgspec.structs.replace


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """How a host found the guest when it had done its part; with ``nics`` None these stay as they are.

    ``berth`` is what a destination has made ready.
    """

    power: PowerState = PowerState.NOSTATE
    nics: tuple[Nic, ...] | None = None
    berth: Berth | None = None


_COLD_EVENTS = ("conductor_migrate_server", "cold_migrate")
_EVENTS: dict[Kind, tuple[str, ...]] = {
    Kind.MIGRATION: _COLD_EVENTS,
    Kind.RESIZE: _COLD_EVENTS,
    Kind.LIVE: ("conductor_live_migrate_instance",),
    Kind.EVACUATION: ("rebuild_server",),
    Kind.UNSHELVE: ("schedule_instances",),
}
"""What the choice of a destination is called among the events of an action. The names are Nova's."""


def choice(
    migration: Migration, began: datetime, now: datetime, why_not: Fault | None = None
) -> tuple[ActionEvent, ...]:
    """Return the events of a choice of a destination, or of there being none."""
    result = "Error" if why_not else "Success"
    return tuple(
        ActionEvent(
            name=name,
            started_at=began,
            finished_at=now,
            result=result,
            details=why_not.message if why_not else None,
        )
        for name in _EVENTS.get(migration.kind, ())
    )


def begin(
    migration: Migration,
    instance: Instance,
    to: tuple[Destination, tuple[Destination, ...]],
    now: datetime,
) -> Next:
    """Return what follows when a destination is claimed; ``to`` has the alternates beside it.

    It is also what follows when another destination has to be tried.
    """
    chosen, alternates = to
    further = replace(
        migration,
        destination=chosen,
        alternates=alternates,
        attempt=migration.attempt + 1,
        berth=None,
    )
    if migration.builds:
        moved = _arriving(instance, further, now)
        return Next(migration=mig.at(further, Stage.FINISHING, now), instance=moved)
    return Next(
        migration=mig.at(further, Stage.PREPARING, now), instance=replace(instance, updated_at=now)
    )


def done(migration: Migration, instance: Instance, report: Arrived, now: datetime) -> Next:
    """Return what follows when the acting host has done its part."""
    match migration.stage:
        case Stage.PREPARING:
            return _prepared(replace(migration, berth=report.berth), instance, now)
        case Stage.SENDING:
            return _sent(migration, instance, now)
        case Stage.FINISHING:
            return _arrived(migration, instance, report, now)
        case Stage.CLEARING if migration.kind is Kind.SHELVE:
            return _offloaded(migration, instance, now)
        case Stage.UNDOING:
            back = leave_for_source(migration, instance, now)
            return Next(migration=mig.at(migration, Stage.RESTORING, now), instance=back)
        case Stage.RESTORING:
            return _restored(migration, instance, report, now)
        case _:
            return Next(migration=mig.ended(migration, now), over=True)


def _prepared(migration: Migration, instance: Instance, now: datetime) -> Next:
    if migration.wish == "abort":
        unwanted = replace(migration, outcome=mig.CANCELLED, reason="It was aborted.")
        return Next(migration=mig.at(unwanted, Stage.UNDOING, now))
    task = TaskState.MIGRATING if migration.is_live else TaskState.RESIZE_MIGRATING
    going = replace(instance, task_state=task, updated_at=now)
    return Next(migration=mig.at(migration, Stage.SENDING, now), instance=going)


def _sent(migration: Migration, instance: Instance, now: datetime) -> Next:
    if migration.kind is Kind.SHELVE:
        going = replace(instance, task_state=TaskState.SHELVING_OFFLOADING, updated_at=now)
        return Next(migration=mig.at(migration, Stage.CLEARING, now), instance=going)
    moved = _arriving(instance, migration, now)
    return Next(migration=mig.at(migration, Stage.FINISHING, now), instance=moved)


def _arriving(instance: Instance, migration: Migration, now: datetime) -> Instance:
    """Return a server whose guest is to be made at its destination, and nowhere else."""
    chosen = migration.chosen
    task = {
        Kind.LIVE: TaskState.MIGRATING,
        Kind.EVACUATION: TaskState.REBUILD_SPAWNING,
        Kind.UNSHELVE: TaskState.UNSHELVING,
    }
    return replace(
        instance,
        host=chosen.host,
        node=chosen.node,
        availability_zone=chosen.availability_zone,
        flavor=migration.new_flavor,
        epoch=instance.epoch + 1,
        begun_epoch=instance.epoch + 1,
        task_state=task.get(migration.kind, TaskState.RESIZE_FINISH),
        updated_at=now,
    )


def _arrived(migration: Migration, instance: Instance, report: Arrived, now: datetime) -> Next:
    settled = _plugged(_idle(instance, report.power, now), report)
    if migration.is_resize:
        resized = replace(settled, vm_state=VmState.RESIZED, launched_at=now)
        return Next(migration=mig.at(migration, Stage.FINISHED, now), instance=resized, over=True)
    if migration.builds:
        state = VmState.ACTIVE if report.power is PowerState.RUNNING else VmState.STOPPED
        settled = replace(settled, vm_state=state, launched_at=now, shelved_image=None)
    if migration.kind is Kind.UNSHELVE:
        return Next(migration=mig.ended(migration, now), instance=settled, over=True)
    cleared = mig.at(migration, Stage.CLEARING, now)
    return Next(migration=cleared, instance=settled, over=True)


def _plugged(instance: Instance, report: Arrived) -> Instance:
    return instance if report.nics is None else replace(instance, nics=report.nics)


def _offloaded(migration: Migration, instance: Instance, now: datetime) -> Next:
    """Return a server that is an image, and on no host."""
    shelved = replace(
        _hostless(_idle(instance, PowerState.NOSTATE, now)),
        vm_state=VmState.SHELVED_OFFLOADED,
        shelved_image=migration.image.image_id if migration.image else None,
    )
    return Next(migration=mig.ended(migration, now), instance=shelved, over=True)


def _hostless(instance: Instance) -> Instance:
    return replace(instance, host=None, node=None, availability_zone=None, epoch=instance.epoch + 1)


def _idle(instance: Instance, power: PowerState, now: datetime) -> Instance:
    return replace(
        instance,
        task_state=None,
        task_request=None,
        task_worker="",
        power_state=power,
        progress=0,
        updated_at=now,
    )


def failed(migration: Migration, instance: Instance, report: MoveReport, now: datetime) -> Next:
    """Return what follows when the acting host could not do its part, and no other host is to try."""
    outcome = mig.CANCELLED if report.moved is mig.Moved.CANCELLED else mig.FAILED
    broken = replace(
        heard(migration, report),
        outcome=migration.outcome or outcome,
        reason=migration.reason or report.reason,
        details=migration.details or report.details,
    )
    stage = failed_stage(broken)
    if stage is Stage.RESTORING:
        # The destination removed what it had made before it said so.
        back = leave_for_source(broken, instance, now)
        return Next(migration=mig.at(broken, stage, now), instance=back)
    if migration.builds and stage is Stage.ENDED:
        # If the source is down and comes back, the guest that it has is the one that counts.
        return _given_back(broken, leave_for_source(broken, instance, now), now)
    if stage in (Stage.ENDED, Stage.CLEARING):
        return _lost(broken, instance, now)
    return Next(migration=mig.at(broken, stage, now))


def heard(migration: Migration, report: MoveReport) -> Migration:
    """Return a move with what a host knows of its guest."""
    return replace(migration, unsent=False) if report.left else migration


def failed_stage(migration: Migration) -> Stage:
    """Return the stage that ``failed`` leads to: the same one, where something cannot be removed yet."""
    match migration.stage:
        case Stage.PREPARING:
            return Stage.RESTORING
        case Stage.SENDING if migration.kind is Kind.SHELVE:
            return Stage.RESTORING
        case Stage.FINISHING if migration.builds:
            return Stage.ENDED
        case Stage.FINISHING if migration.is_live and not migration.unsent:
            return Stage.CLEARING
        case Stage.SENDING | Stage.FINISHING:
            return Stage.UNDOING
        case Stage.RESTORING:
            return Stage.ENDED
        case stage:
            return stage


def may_go_elsewhere(migration: Migration) -> bool:
    """Whether an alternate may do what the destination could not."""
    if migration.builds:
        return migration.stage is Stage.FINISHING
    return migration.stage is Stage.PREPARING


def _lost(migration: Migration, instance: Instance, now: datetime) -> Next:
    """Return a server whose guest neither host can bring up."""
    error = replace(_idle(instance, PowerState.NOSTATE, now), vm_state=VmState.ERROR)
    at_source = migration.stage is Stage.RESTORING
    after = mig.ended(migration, now) if at_source else mig.at(migration, Stage.CLEARING, now)
    return Next(
        migration=after,
        instance=error,
        fault=fault_of(migration, now),
        over=True,
        failed=migration.reason,
    )


def leave_for_source(migration: Migration, instance: Instance, now: datetime) -> Instance:
    """Return a server that is its source's again.

    If it was its destination's, that is another epoch; guests of the source's own still count.
    """
    if instance.epoch == migration.epoch:
        return replace(instance, updated_at=now)
    if migration.kind is Kind.UNSHELVE:
        return replace(_hostless(instance), updated_at=now)
    return replace(
        instance,
        host=migration.source_host,
        node=migration.source_node,
        availability_zone=migration.source_zone,
        flavor=migration.old_flavor,
        epoch=instance.epoch + 1,
        begun_epoch=migration.guest_epoch,
        updated_at=now,
    )


def _restored(migration: Migration, instance: Instance, report: Arrived, now: datetime) -> Next:
    back = _plugged(replace(instance, power_state=report.power), report)
    return _given_back(migration, back, now)


def _given_back(migration: Migration, instance: Instance, now: datetime) -> Next:
    """Return the end of a move whose server is where it was, and what it was."""
    state = migration.vm_state
    if migration.kind is Kind.SHELVE:
        # Its memory is lost, if it was kept.
        runs = instance.power_state is PowerState.RUNNING
        state = VmState.ACTIVE if runs else VmState.STOPPED
    elif state in FOLLOWS_POWER and instance.power_state is not PowerState.NOSTATE:
        # Its guest may have ended by itself meanwhile.
        state = state_of(instance.power_state)
    back = replace(_idle(instance, instance.power_state, now), vm_state=state)
    was_wanted = migration.outcome == mig.REVERTED
    return Next(
        migration=mig.ended(migration, now),
        instance=back,
        fault=None if was_wanted else fault_of(migration, now),
        over=True,
        failed=None if was_wanted else migration.reason,
    )


def refused(migration: Migration, instance: Instance, why: Fault, now: datetime) -> Next:
    """Return the end of a move for which there is no destination: nothing was touched."""
    broken = replace(migration, outcome=mig.FAILED, reason=why.message, details=why.details)
    return _given_back(broken, replace(instance, updated_at=now), now)


def fault_of(migration: Migration, now: datetime) -> Fault:
    """Return why a move did not succeed, for its server's owner."""
    if migration.outcome == mig.CANCELLED:
        sentence = "The migration was cancelled."
    else:
        sentence = f"The server could not be moved: {migration.reason}"
    return Fault(code=500, message=sentence, details=migration.details, created_at=now)


def without_server(migration: Migration, left: str, now: datetime) -> Migration:
    """Return what is left to do of a move whose server is deleted.

    ``left`` is the host that has removed what it had. The other one still has to.
    """
    if migration.stage is Stage.ENDED:
        return migration
    outcome = mig.CONFIRMED if migration.stage is Stage.FINISHED else mig.FAILED
    broken = replace(migration, outcome=migration.outcome or outcome)
    if migration.destination is None or migration.stays or not migration.source_host:
        # Whoever had anything of it has removed it.
        return mig.ended(broken, now)
    if migration.stage in (Stage.CLEARING, Stage.ABANDONING):
        return migration
    stage = Stage.CLEARING if left == migration.destination.host else Stage.ABANDONING
    return mig.at(broken, stage, now)
