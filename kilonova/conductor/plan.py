"""What follows from a decision or from a failed build. Pure: values in, values out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from kilonova.core.decision_record import Decided, Stage
from kilonova.core.ids import CELL0, InstanceUuid, RequestId
from kilonova.core.instance import BUILD_EVENT, ActionEvent, Fault, Instance, InstanceAction
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.scheduling import Decision, Destination, NoHost
from kilonova.core.states import BREAKS, Action, TaskState, VmState
from kilonova.db.build_requests import Outcome, Pending
from kilonova.db.instances import Placed
from kilonova.rpc.messages import Destinations

ACCEPTED = "api_accept_request"
"""From when the API took the request on until a conductor took it up."""
SCHEDULED = "schedule_instances"
CLAIMED = "scheduler_claim_resources"
CLAIMED_NEXT = "conductor_claim_alternate"
SENT_AGAIN = "conductor_send_again"
SUCCESS, ERROR = "Success", "Error"
NOBODYS = RequestId("")
"""The request of what nobody asked for."""


def place(
    pending: Pending, decision: Decision, began: datetime, now: datetime, claim: Stage | None = None
) -> Placed:
    """Return the instance as it goes into its cell, or into cell0 with the counted reasons.

    ``claim`` is when the scheduler claimed, where it told.
    """
    if decision.destination is None:
        return refuse(pending, no_valid_host(decision.no_host, now), began)
    scheduled = ActionEvent(name=SCHEDULED, started_at=began, finished_at=now, result=SUCCESS)
    events = [scheduled]
    if claim is not None:
        claimed = ActionEvent(
            name=CLAIMED, started_at=claim.began_at, finished_at=claim.ended_at, result=SUCCESS
        )
        events.append(claimed)
    instance = at(pending.instance, decision.destination, pending.epoch, now)
    return Placed(
        instance=instance,
        action=_created(pending, events, now),
        destinations=(decision.destination, *decision.alternates),
    )


def refuse(pending: Pending, fault: Fault, began: datetime) -> Placed:
    """Return the instance as it goes into cell0, in ERROR."""
    now = fault.created_at
    scheduled = ActionEvent(
        name=SCHEDULED, started_at=began, finished_at=now, result=ERROR, details=fault.message
    )
    failed = msgspec.structs.replace(
        pending.instance, vm_state=VmState.ERROR, task_state=None, updated_at=now
    )
    action = msgspec.structs.replace(_created(pending, [scheduled], now), message=fault.message)
    return Placed(instance=failed, action=action, fault=fault)


def _created(pending: Pending, events: Sequence[ActionEvent], now: datetime) -> InstanceAction:
    """Return the action of a creation: its acceptance, and the events from the scheduling on."""
    instance = pending.instance
    accepted = ActionEvent(
        name=ACCEPTED,
        started_at=instance.created_at,
        finished_at=events[0].started_at,
        result=SUCCESS,
    )
    return InstanceAction(
        action=Action.CREATE,
        instance_uuid=instance.uuid,
        request_id=pending.request_id,
        user_id=instance.user_id,
        project_id=instance.project_id,
        started_at=instance.created_at,
        updated_at=now,
        events=(accepted, *events),
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


def outcome(
    pending: Mapping[InstanceUuid, Pending], answer: Destinations, now: datetime
) -> Outcome | None:
    """Return what is kept of a scheduling pass, or None if the scheduler told nothing of it."""
    if answer.record is None:
        return None
    servers = tuple(
        Decided(
            instance_uuid=decision.instance_uuid,
            request_id=pending[decision.instance_uuid].request_id,
            host=decision.destination.host if decision.destination else None,
        )
        for decision in answer.decisions
    )
    return Outcome(record=answer.record, servers=servers, decided_at=now)


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


def claimed(
    chosen: Destination, began: datetime, ended: datetime, refused: str | None
) -> ActionEvent:
    """Return the event of a claim on an alternate; ``refused`` is why it failed, or None."""
    return ActionEvent(
        name=CLAIMED_NEXT,
        started_at=began,
        finished_at=ended,
        result=SUCCESS if refused is None else ERROR,
        details=refused,
        host=chosen.host,
    )


def sent_again(chosen: Destination, now: datetime) -> ActionEvent:
    """Return the event of a build that its host never began and that is sent to it once more."""
    return ActionEvent(
        name=SENT_AGAIN, started_at=now, finished_at=now, result=SUCCESS, host=chosen.host
    )


def gave_up(failure: BuildFailure, events: Iterable[ActionEvent], now: datetime) -> Fault:
    """Return the fault of a server that no host could build: what hosts said, counted, for all; which host
    said what, for operators. ``events`` are those of the action; the failure is its last host's."""
    failed = sorted((e for e in events if e.result == ERROR), key=lambda event: event.started_at)
    builds = [event for event in failed if event.name == BUILD_EVENT]
    claims = [event for event in failed if event.name == CLAIMED_NEXT]
    said = Counter(event.details or "" for event in builds)
    told = [f"{count} said: {reason}" for reason, count in said.most_common()]
    if claims:
        told.append(f"{len(claims)} had no room left")
    tried = len(builds) + len(claims)
    if failure.retry and tried > 1:
        message = f"The server could not be built on any of {tried} hosts: {'; '.join(told)}"
    else:
        what = "No host is left to try" if failure.retry else "No other host is tried"
        message = f"The server could not be built. {what}; the last one said: {failure.reason}"
    # The last host told more of itself than its event holds.
    lines = [f"{event.host}: {event.details}" for event in (*builds[:-1], *claims)]
    return Fault(
        code=500,
        message=message,
        details="\n".join([failure.details, *lines]),
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


def gone(instance: Instance) -> InstanceReport:
    """Return what a host would report of a server that is deleted, where no host has anything of it."""
    return InstanceReport(
        instance_uuid=instance.uuid,
        epoch=instance.epoch,
        request_id=instance.task_request or NOBODYS,
        gone=True,
    )


def gave_up_task(instance: Instance, reason: str) -> InstanceReport:
    """Return what a host would report of a task that it cannot end, where it does not answer."""
    return InstanceReport(
        instance_uuid=instance.uuid,
        epoch=instance.epoch,
        request_id=instance.task_request or NOBODYS,
        worker=instance.task_worker or "nobody",
        over=True,
        interrupted=reason,
        vm_state=VmState.ERROR if instance.task_state in BREAKS else UNSET,
        task_state=None,
    )
