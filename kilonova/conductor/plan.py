"""What follows from a decision or from a failed build. Pure: values in, values out."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from kilonova.core.ids import CELL0
from kilonova.core.instance import ActionEvent, Fault, Instance, InstanceAction
from kilonova.core.report import BuildFailure
from kilonova.core.scheduling import Decision, Destination, NoHost
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db.build_requests import Pending
from kilonova.db.instances import Placed

SCHEDULED = "schedule_instances"


def place(pending: Pending, decision: Decision, began: datetime, now: datetime) -> Placed:
    """Return the instance as it goes into its cell, or into cell0 with the counted reasons."""
    if decision.destination is None:
        return refuse(pending, no_valid_host(decision.no_host, now), began)
    scheduled = ActionEvent(
        name=SCHEDULED, started_at=began, finished_at=now, result="Success", details=None
    )
    instance = at(pending.instance, decision.destination, pending.epoch, now)
    return Placed(
        instance=instance,
        action=_created(pending, scheduled, now),
        destinations=(decision.destination, *decision.alternates),
    )


def refuse(pending: Pending, fault: Fault, began: datetime) -> Placed:
    """Return the instance as it goes into cell0, in ERROR."""
    now = fault.created_at
    scheduled = ActionEvent(
        name=SCHEDULED, started_at=began, finished_at=now, result="Error", details=fault.message
    )
    failed = msgspec.structs.replace(
        pending.instance, vm_state=VmState.ERROR, task_state=None, updated_at=now
    )
    action = msgspec.structs.replace(_created(pending, scheduled, now), message="Error")
    return Placed(instance=failed, action=action, fault=fault)


def _created(pending: Pending, scheduled: ActionEvent, now: datetime) -> InstanceAction:
    instance = pending.instance
    return InstanceAction(
        action=Action.CREATE,
        instance_uuid=instance.uuid,
        request_id=pending.request_id,
        user_id=instance.user_id,
        project_id=instance.project_id,
        started_at=instance.created_at,
        updated_at=now,
        events=(scheduled,),
    )


def at(instance: Instance, chosen: Destination, epoch: int, now: datetime) -> Instance:
    """Return the instance on a host, under a build epoch."""
    return msgspec.structs.replace(
        instance,
        host=chosen.host,
        node=chosen.node,
        availability_zone=chosen.availability_zone,
        vm_state=VmState.BUILDING,
        task_state=TaskState.SCHEDULING,
        epoch=epoch,
        updated_at=now,
    )


def cell_of(decision: Decision) -> str:
    """Return the cell that a decided server goes into."""
    return decision.destination.cell_uuid if decision.destination else CELL0


def no_valid_host(why: NoHost | None, now: datetime) -> Fault:
    """Return the fault of a server that no host fits: the sentence for all, the misses for operators."""
    counted = why or NoHost(considered=0, reasons=())
    details = "\n".join(
        f"{reason.hosts} x {reason.refused_by}: {reason.sentence}"
        + (f" ({reason.nearest_miss})" if reason.nearest_miss else "")
        for reason in counted.reasons
    )
    sentence = f"No valid host was found. {counted.sentence()}."
    return Fault(code=500, message=sentence, details=details, created_at=now)


def gave_up(failure: BuildFailure, now: datetime) -> Fault:
    """Return the fault of a server that no host could build."""
    what = "No host is left to try" if failure.retry else "No other host is tried"
    return Fault(
        code=500,
        message=f"The server could not be built. {what}; the last one said: {failure.reason}",
        details=failure.details,
        created_at=now,
    )


_MOST_BUILDS = 10
"""Builds of one server after which one that was interrupted does not stay on its host once more: it may be
what ends the host's service each time."""


def next_hosts(
    destinations: Sequence[Destination], failure: BuildFailure, epoch: int
) -> tuple[Destination, ...]:
    """Return where a build that failed on the first of ``destinations`` may be tried, in order."""
    if not failure.retry:
        return ()
    here, others = tuple(destinations[:1]), tuple(destinations[1:])
    return others + here if failure.interrupted and epoch < _MOST_BUILDS else others


def died(now: datetime) -> Fault:
    """Return the fault of a server whose host died while it was being built."""
    return Fault(
        code=500,
        message="The host died while the server was being built, and no other host is left to try.",
        created_at=now,
    )


def is_late(pending: Pending, seconds: float, now: datetime) -> bool:
    """Whether a build request is older than a build may take; with 0 seconds none is."""
    return seconds > 0 and now - pending.instance.created_at > timedelta(seconds=seconds)


def timed_out(seconds: float, now: datetime) -> Fault:
    """Return the fault of a server that was not built in time."""
    return Fault(
        code=500,
        message=f"The server was not built within {seconds:g} seconds, so the build was given up.",
        created_at=now,
    )
