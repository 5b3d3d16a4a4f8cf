"""What may be done with a server: its state is checked against one table, set, and the host is told."""

from collections.abc import Callable, Mapping

from kilonova.api.find import find_server, missing
from kilonova.api.parameters import MOST
from kilonova.api.routing import Act, ActOn, Answer, Asked, Route
from kilonova.api.schemas import servers as schemas
from kilonova.core import states
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, ServerLocked, Unavailable, WrongState
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.instance import Instance, InstanceAction, Located
from kilonova.core.states import Action
from kilonova.db import actions, instances
from kilonova.db.reports import finish_action
from kilonova.rpc.messages import (
    ConsoleOutput,
    GetConsoleOutput,
    Message,
    RebootInstance,
    StartInstance,
    StopInstance,
)

_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override"
_CONSOLE_TIMEOUT = 10.0
_TRIES = 5


def check_unlocked(asked: Asked, instance: Instance) -> None:
    """Refuse what a lock forbids.

    Raises:
        ServerLocked: it is locked, and the asker may not override that.
    """
    if instance.locked_by is not None and not asked.allows(_OVERRIDE, instance.project_id):
        raise ServerLocked(f"Instance {instance.uuid} is locked")


def record_of(asked: Asked, instance: Instance, action: str) -> InstanceAction:
    """Return the instance action of this request."""
    return InstanceAction(
        action=action,
        instance_uuid=instance.uuid,
        request_id=asked.context.request_id,
        user_id=asked.context.user_id,
        project_id=asked.context.project_id,
        started_at=utcnow(),
    )


_SHOWN = {states.SOFT_REBOOT: "reboot", states.HARD_REBOOT: "reboot"}


def placed(located: Located, action: str) -> tuple[Instance, CellUuid]:
    """Return a server and its cell.

    Raises:
        WrongState: it has none yet, so ``action`` has to wait.
    """
    if located.cell_uuid is None:
        raise WrongState(_refusal(located.instance, action, "task_state scheduling"))
    return located.instance, located.cell_uuid


def _refusal(instance: Instance, action: str, state: str) -> str:
    shown = _SHOWN.get(action, action)
    return f"Cannot '{shown}' instance {instance.uuid} while it is in {state}"


def begin(asked: Asked, located: Located, rule: str) -> Located:
    """Set the task state of an action by compare-and-set and record it; return the server as it was.

    ``rule`` is a key of ``states.RULES``.

    Raises:
        WrongState: the server's state does not allow it.
        NotFound: the server is gone.
    """
    instance, cell = placed(located, rule)
    database = asked.services.cells.database(cell)
    for _ in range(_TRIES):
        why = states.refusal(rule, instance.vm_state, instance.task_state)
        if why is not None:
            raise WrongState(_refusal(instance, rule, why))
        record = record_of(asked, instance, _SHOWN.get(rule, rule))
        if instances.begin_task(database, instance, rule, record):
            return Located(instance=instance, cell_uuid=cell)
        again = instances.get(database, instance.uuid)
        if again is None:
            raise missing(instance.uuid)
        instance = again
    raise Conflict(f"Instance {instance.uuid} changes too fast; try again.")


def _act(
    asked: Asked, server_id: str, rule: str, message_of: Callable[[Instance], Message]
) -> Answer:
    """Begin an action and tell the server's host; if it cannot be told, the action is undone.

    Raises:
        Unavailable: the cell's bus does not answer.
    """
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    cell, host = _host_of(located, rule)
    instance = begin(asked, located, rule).instance
    try:
        asked.services.cell_bus(cell).cast(asked.context, message_of(instance), host=host)
    except Unavailable:
        database = asked.services.cells.database(cell)
        instances.undo_task(database, instance, states.RULES[rule].task)
        finish_action(database, instance.uuid, asked.context.request_id, "Error", utcnow())
        raise
    return Answer(status=202)


def _host_of(located: Located, action: str) -> tuple[CellUuid, HostName]:
    instance, cell = placed(located, action)
    if instance.host is None:
        raise WrongState(_refusal(instance, action, f"vm_state {instance.vm_state} without a host"))
    return cell, instance.host


def stop(asked: Asked, server_id: str) -> Answer:
    """``os-stop``."""
    return _act(asked, server_id, Action.STOP, lambda i: StopInstance(instance=i))


def start(asked: Asked, server_id: str) -> Answer:
    """``os-start``."""
    return _act(asked, server_id, Action.START, lambda i: StartInstance(instance=i))


def reboot(asked: Asked, server_id: str) -> Answer:
    """``reboot``, SOFT or HARD."""
    hard = asked.body["reboot"]["type"].upper() == "HARD"
    rule = states.HARD_REBOOT if hard else states.SOFT_REBOOT
    return _act(asked, server_id, rule, lambda i: RebootInstance(instance=i, hard=hard))


def console_output(asked: Asked, server_id: str) -> Answer:
    """``os-getConsoleOutput``: asks the host and waits for its answer."""
    located = find_server(asked, server_id)
    cell, host = _host_of(located, "get_console_output")
    length = asked.body["os-getConsoleOutput"].get("length")
    lines = None if length is None or int(length) < 0 else min(int(length), MOST)
    message = GetConsoleOutput(instance_uuid=located.instance.uuid, length=lines)
    answer = asked.services.cell_bus(cell).call(
        asked.context, message, ConsoleOutput, host=host, timeout=_CONSOLE_TIMEOUT
    )
    return Answer({"output": answer.text})


def lock(asked: Asked, server_id: str) -> Answer:
    """``lock``; from 2.73 with a reason. An owner does not replace a lock that is there."""
    located = find_server(asked, server_id)
    if located.instance.locked_by is not None and not asked.context.is_admin:
        return Answer(status=202)
    # Below 2.73 the body is not checked, and says nothing.
    reason = (asked.body["lock"] or {}).get("locked_reason") if asked.version >= (2, 73) else None
    by = "admin" if asked.context.is_admin else "owner"
    return _set_lock(asked, located, Action.LOCK, {"locked_by": by, "locked_reason": reason})


def unlock(asked: Asked, server_id: str) -> Answer:
    """``unlock``; a lock of an administrator's only by one."""
    located = find_server(asked, server_id)
    if located.instance.locked_by == "admin":
        asked.authorize(_OVERRIDE, located.instance.project_id)
    nothing = {"locked_by": None, "locked_reason": None}
    return _set_lock(asked, located, Action.UNLOCK, nothing)


def _set_lock(
    asked: Asked, located: Located, action: str, values: Mapping[str, str | None]
) -> Answer:
    instance, cell = placed(located, action)
    database = asked.services.cells.database(cell)
    if not instances.update(database, instance.uuid, {**values, "updated_at": utcnow()}):
        raise missing(instance.uuid)
    actions.record(database, [record_of(asked, instance, action)])
    return Answer(status=202)


_S = "os_compute_api:servers"
_LOCK = "os_compute_api:os-lock-server"
ACTS = {
    "os-stop": Act(f"{_S}:stop", stop, schemas.NO_ARGUMENTS),
    "os-start": Act(f"{_S}:start", start, schemas.NO_ARGUMENTS),
    "reboot": Act(f"{_S}:reboot", reboot, schemas.REBOOT),
    "lock": Act(f"{_LOCK}:lock", lock, schemas.LOCK),
    "unlock": Act(f"{_LOCK}:unlock", unlock, schemas.NO_ARGUMENTS),
    "os-getConsoleOutput": Act("os_compute_api:os-console-output", console_output, schemas.CONSOLE),
}

ROUTES = (Route("POST", "/servers/{server_id}/action", None, ActOn(ACTS)),)
