"""How anything is asked of a server that takes its host a while: one way for all actions.

The state is judged by one table and set by compare-and-set, together with the action's record and with what
else the action changes; then the host gets one order. What the host cannot be told is undone.

    def suspend(asked, server_id):
        order(asked, server_id, Suspend())          # raises, or the host knows
        return Answer(status=202)

``ordered(Suspend())`` is that handler.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from kilonova.api.find import find_server, missing
from kilonova.api.routing import Answer, Asked
from kilonova.core import states
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, NotFound, ServerLocked, Unavailable, WrongState
from kilonova.core.ids import CellUuid, HostName
from kilonova.core.instance import Instance, InstanceAction, Located
from kilonova.core.orders import AnyOrder, rule_of
from kilonova.db import instances, tasks
from kilonova.db.tasks import Beside, Change
from kilonova.rpc.messages import ActOnInstance, Message

_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override"
_TRIES = 5
HOST_SECONDS = 10.0
"""What a host gets to answer while a user waits."""

R = TypeVar("R", bound=msgspec.Struct)


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


def placed(located: Located, action: str) -> tuple[Instance, CellUuid]:
    """Return a server and its cell.

    Raises:
        WrongState: it has none yet, so ``action`` has to wait.
    """
    if located.cell_uuid is None:
        raise refused(located.instance, action, "task_state scheduling")
    return located.instance, located.cell_uuid


def host_of(located: Located, action: str) -> tuple[CellUuid, HostName]:
    """Return the cell and the host of a server.

    Raises:
        WrongState: it has none.
    """
    instance, cell = placed(located, action)
    if instance.host is None:
        raise refused(instance, action, f"vm_state {instance.vm_state} without a host")
    return cell, instance.host


def refused(instance: Instance, action: str, state: str) -> WrongState:
    """Return the error for an action that a state forbids; ``state`` as ``"vm_state paused"``."""
    shown = states.recorded_as(action)
    return WrongState(f"Cannot '{shown}' instance {instance.uuid} while it is in {state}")


def check_state(instance: Instance, rule: str) -> None:
    """Judge a server's state by a key of ``states.RULES``.

    Raises:
        WrongState: it does not allow the action.
        Conflict: the server has shares, and the action is none for those.
    """
    why = states.refusal(rule, instance.vm_state, instance.task_state)
    if why is not None:
        raise refused(instance, rule, why)
    if instance.launched_at is None and not states.RULES[rule].never_launched:
        shown = states.recorded_as(rule)
        raise WrongState(f"Cannot '{shown}' an instance which has never been active")
    if instance.shares and states.RULES[rule].bars_shares:
        raise Conflict("Feature not supported with instances that have shares.")


class Begun(msgspec.Struct, frozen=True):
    """A server whose action has begun: as it was, and as it is."""

    before: Instance
    now: Instance
    cell_uuid: CellUuid


def begin(
    asked: Asked,
    located: Located,
    rule: str,
    change: Change | None = None,
    beside: Beside | None = None,
) -> Begun:
    """Set the task state of an action by compare-and-set and record it.

    ``rule`` is a key of ``states.RULES``; ``change`` makes what else becomes different with it,
    ``beside`` writes what else belongs to it.

    Raises:
        WrongState: the server's state does not allow it.
        NotFound: the server is gone.
    """
    instance, cell = placed(located, rule)
    database = asked.services.cells.database(cell)
    for _ in range(_TRIES):
        check_state(instance, rule)
        record = record_of(asked, instance, states.recorded_as(rule))
        begun = tasks.begin(database, instance, rule, record, change, beside)
        if begun is not None:
            return Begun(instance, begun, cell)
        again = instances.get(database, instance.uuid)
        if again is None:
            raise missing(instance.uuid)
        instance = again
    raise Conflict(f"Instance {instance.uuid} changes too fast; try again.")


def tell(asked: Asked, begun: Begun, message: Message, host: HostName) -> None:
    """Tell a host what has begun; if it cannot be told, undo it.

    Raises:
        Unavailable: the cell's bus does not answer.
    """
    try:
        asked.services.cell_bus(begun.cell_uuid).cast(asked.context, message, host=host)
    except Unavailable:
        undo(asked, begun)
        raise


def undo(asked: Asked, begun: Begun) -> None:
    """Undo what has begun and what nobody was told of."""
    database = asked.services.cells.database(begun.cell_uuid)
    tasks.undo(database, begun.before, begun.now, asked.context.request_id, utcnow())


def find_free(asked: Asked, server_id: str, rule: str) -> Located:
    """Return a server on a host that no lock keeps from an action, which its state allows.

    Raises:
        NotFound: there is none that the asker may know of.
        ServerLocked: it is locked.
        WrongState: its state does not allow the action.
    """
    located = find_server(asked, server_id)
    if states.RULES[rule].heeds_lock:
        check_unlocked(asked, located.instance)
    instance, _ = placed(located, rule)
    check_state(instance, rule)
    host_of(located, rule)
    return located


def order(
    asked: Asked,
    server_id: str,
    wanted: AnyOrder,
    *,
    located: Located | None = None,
    change: Change | None = None,
    beside: Beside | None = None,
) -> Instance:
    """Begin an action and give its order to the server's host; return the server as it is then.

    ``located`` is what ``find_free`` found, where the order was made of that; ``change`` and ``beside`` are
    those of ``begin``.

    Raises:
        NotFound, ServerLocked, WrongState: as ``find_free``.
        Unavailable: the cell's bus does not answer; nothing has begun.
    """
    rule = rule_of(wanted)
    found = located or find_free(asked, server_id, rule)
    begun = begin(asked, found, rule, change, beside)
    # As it is now: until the task was set, it may have come to another host.
    _, host = host_of(Located(instance=begun.now, cell_uuid=begun.cell_uuid), rule)
    tell(asked, begun, ActOnInstance(instance=begun.now, order=wanted), host)
    return begun.now


def ask_host(asked: Asked, located: Located, action: str, message: Message, answer: type[R]) -> R:
    """Ask a server's host something that it can say at once, and return its answer.

    Raises:
        WrongState: the server has no host, or its host has no guest of it.
        Unavailable: the host does not answer.
        KilonovaError: what the host refuses.
    """
    cell, host = host_of(located, action)
    bus = asked.services.cell_bus(cell)
    try:
        return bus.call(asked.context, message, answer, host=host, timeout=HOST_SECONDS)
    except NotFound as error:
        raise WrongState(f"Instance {located.instance.uuid} is not ready.") from error


def ordered(wanted: AnyOrder) -> Callable[[Asked, str], Answer]:
    """Return the handler of an action that is one order, always the same."""

    def handle(asked: Asked, server_id: str) -> Answer:
        order(asked, server_id, wanted)
        return Answer(status=202)

    return handle
