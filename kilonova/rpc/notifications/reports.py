"""What a host's report on a server is told as: from the server as it was, and what was asked of it.

A report may come twice, and so may what is told of it; but only where the cell took it twice.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from kilonova.core.context import RequestContext
from kilonova.core.instance import BUILD_EVENT, Instance, InstanceAction
from kilonova.core.migration import Moved, MoveReport, Stage
from kilonova.core.report import InstanceReport
from kilonova.core.states import Action, PowerState, TaskState, VmState
from kilonova.rpc.notifications import faults, instances
from kilonova.rpc.notifications.notification import (
    END,
    ERROR,
    INFO,
    START,
    Notification,
    Payload,
)

NAMES: dict[str, str] = {
    Action.STOP: "power_off",
    Action.START: "power_on",
    Action.REBOOT: "reboot",
    Action.PAUSE: "pause",
    Action.UNPAUSE: "unpause",
    Action.SUSPEND: "suspend",
    Action.RESUME: "resume",
    Action.RESCUE: "rescue",
    Action.UNRESCUE: "unrescue",
    Action.REBUILD: "rebuild",
    Action.CREATE_IMAGE: "snapshot",
    Action.CREATE_BACKUP: "snapshot",
    Action.TRIGGER_CRASH_DUMP: "trigger_crash_dump",
    Action.ATTACH_SHARE: "share_attach",
    Action.DETACH_SHARE: "share_detach",
    Action.ATTACH_INTERFACE: "interface_attach",
    Action.DETACH_INTERFACE: "interface_detach",
    Action.RESTORE: "restore",
}
"""What actions on servers are called in notifications. Of a changed password nobody is told."""

_COLD = {
    Stage.PREPARING: "resize_prep",
    Stage.SENDING: "resize",
    Stage.FINISHING: "resize_finish",
    Stage.CLEARING: "resize_confirm",
    Stage.RESTORING: "resize_revert",
}
_SHELVE = {Stage.SENDING: "shelve", Stage.CLEARING: "shelve_offload"}
MOVES: dict[str, dict[Stage, str]] = {
    Action.RESIZE: _COLD,
    Action.MIGRATE: _COLD,
    Action.CONFIRM_RESIZE: _COLD,
    Action.REVERT_RESIZE: _COLD,
    Action.LIVE_MIGRATE: {
        Stage.PREPARING: "live_migration_pre",
        Stage.FINISHING: "live_migration_post_dest",
        Stage.CLEARING: "live_migration_post",
        Stage.UNDOING: "live_migration_rollback_dest",
        Stage.RESTORING: "live_migration_rollback",
    },
    Action.EVACUATE: {Stage.FINISHING: "rebuild"},
    Action.SHELVE: _SHELVE,
    Action.SHELVE_OFFLOAD: _SHELVE,
    Action.UNSHELVE: {Stage.FINISHING: "unshelve"},
}
"""What the parts of moves are called, by the action that a server moves for; of others nobody is told."""

_ERROR_PHASE = "error"
_TOLD = ("vm_state", "task_state", "power_state", "launched_at", "root_device_name", "nics")

Make = Callable[[Instance, RequestContext, Payload | None], Payload]


def after(before: Instance, report: InstanceReport, now: datetime) -> Instance:
    """Return what a report makes of a server."""
    values: dict[str, Any] = {
        name: value for name in _TOLD if (value := getattr(report, name)) is not UNSET
    }
    if report.gone:
        values |= {
            "vm_state": VmState.DELETED,
            "task_state": None,
            "power_state": PowerState.NOSTATE,
            "terminated_at": now,
            "deleted": True,
        }
    return msgspec.structs.replace(before, updated_at=now, **values)


def notifications(
    publisher: str,
    report: InstanceReport,
    change: tuple[Instance, Instance],
    action: InstanceAction | None,
    now: datetime,
) -> Iterator[Notification]:
    """Yield what a publisher tells of a report that was taken, in order.

    ``change`` are the server as it was, and as it is.

    ``action`` is that of the report's request, None if it is no request's: then nobody asked for it.
    """
    asker = asker_of(report, action)
    before, server = change

    def told(what: str, of: Instance, make: Make, fault: Payload | None = None) -> Notification:
        return Notification(
            event_type=f"instance.{what}",
            publisher=publisher,
            payload=make(of, asker, fault),
            priority=ERROR if fault is not None else INFO,
        )

    first, last = _phases(before, report, action)
    for name, make, _ in first:
        yield told(f"{name}.{START}", before, make)
    if (before.vm_state, before.task_state) != (server.vm_state, server.task_state):
        yield told("update", server, lambda of, who, _: instances.of_update(before, of, who, now))
    for name, make, fault in last:
        yield told(f"{name}.{END if fault is None else _ERROR_PHASE}", server, make, fault)


def asker_of(report: InstanceReport, action: InstanceAction | None) -> RequestContext:
    """Return in whose name a report's request was."""
    if action is None:
        return RequestContext(request_id=report.request_id)
    return RequestContext(
        request_id=report.request_id, user_id=action.user_id, project_id=action.project_id
    )


_Phase = tuple[str, Make, Payload | None]


def _phases(
    before: Instance, report: InstanceReport, action: InstanceAction | None
) -> tuple[list[_Phase], list[_Phase]]:
    """Return what begins with a report, and what ends with it, and how."""
    create = ("create", instances.of_creation)
    if report.builder:
        return [(*create, None)], []
    if report.failure is not None:
        return [], [(*create, _fault_of(report) or faults.of_sentence(report.failure.reason))]
    if report.move is not None:
        return _part(report, report.move, action)
    if report.gone:
        # A guest is shut down as it is removed: that is one step here.
        steps: list[_Phase] = [(name, instances.of_action, None) for name in ("delete", "shutdown")]
        return steps, steps[::-1]
    if before.vm_state == VmState.BUILDING and report.vm_state == VmState.ACTIVE:
        return [], [(*create, None)]
    name = None if action is None else NAMES.get(action.action)
    if before.task_state == TaskState.SOFT_DELETING:
        name = "soft_delete"
    if action is None or name is None:
        return [], []
    done = (name, _maker(action.action, report))
    begins = report.over and not report.has_begun
    begins = begins or any(event.finished_at is None for event in report.events)
    return [(*done, None)] if begins else [], [(*done, _fault_of(report))] if report.over else []


def _part(
    report: InstanceReport, said: MoveReport, action: InstanceAction | None
) -> tuple[list[_Phase], list[_Phase]]:
    """Return what begins or ends of a move with a host's word of its part."""
    names = MOVES.get(action.action, {}) if action is not None else {}
    if said.stage not in names or said.moved is Moved.GOES_ON:
        return [], []
    make = instances.of_rebuild if names[said.stage] == "rebuild" else instances.of_action
    if said.moved is Moved.BEGUN:
        return [(names[said.stage], make, None)], []
    if said.moved is Moved.DONE:
        return [], [(names[said.stage], make, None)]
    fault = _fault_of(report) or faults.of_sentence(said.reason)
    return [], [(names[said.stage], make, fault)]


def _maker(action: str, report: InstanceReport) -> Make:
    """Return what makes the payload of an action."""
    if action == Action.REBUILD:
        return instances.of_rebuild
    if action == Action.RESCUE:
        return lambda of, who, fault: instances.of_rescue(of, who, fault, report.image_id)
    if action in (Action.ATTACH_SHARE, Action.DETACH_SHARE):
        return lambda of, who, fault: instances.of_share(of, who, fault, report.share_id)
    if action in (Action.CREATE_IMAGE, Action.CREATE_BACKUP):
        return lambda of, who, fault: instances.of_snapshot(of, who, fault, report.image_id)
    return instances.of_action


def _fault_of(report: InstanceReport) -> Payload | None:
    """Return what went wrong with an action or a build that has ended, or None."""
    if report.interrupted:
        return faults.of_sentence(report.interrupted)
    broken = [event for event in report.events if event.result == "Error"]
    # The event of the whole is told rather than that of a part.
    whole = [event for event in broken if event.name == BUILD_EVENT]
    return faults.of_event((whole or broken)[0]) if broken else None
