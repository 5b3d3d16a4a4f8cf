"""What may be done with a server: the table of its actions, and those that are no more than that."""

from collections.abc import Mapping

import msgspec

from kilonova.api import notices
from kilonova.api.find import find_server, missing
from kilonova.api.microversions import Since
from kilonova.api.parameters import MOST
from kilonova.api.routing import Act, ActOn, Answer, Asked, Route
from kilonova.api.schemas import server_actions as actions_schemas
from kilonova.api.schemas import servers as schemas
from kilonova.api.servers import delete, moves, networks, passwords, remote_consoles, shelves
from kilonova.api.servers.images import create_backup, create_image
from kilonova.api.servers.rebuild import rebuild
from kilonova.api.servers.rescue import rescue
from kilonova.api.servers.tasks import ask_host, order, ordered, placed, record_of
from kilonova.core.clock import utcnow
from kilonova.core.instance import Located
from kilonova.core.orders import (
    HardReboot,
    Pause,
    Resume,
    SoftReboot,
    Start,
    Stop,
    Suspend,
    TriggerCrashDump,
    Unpause,
    Unrescue,
)
from kilonova.core.states import Action, VmState
from kilonova.db import actions, instances, tasks
from kilonova.rpc.messages import ConsoleOutput, GetConsoleOutput

_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override"


def reboot(asked: Asked, server_id: str) -> Answer:
    """``reboot``, SOFT or HARD."""
    hard = asked.body["reboot"]["type"].upper() == "HARD"
    order(asked, server_id, HardReboot() if hard else SoftReboot())
    return Answer(status=202)


def console_output(asked: Asked, server_id: str) -> Answer:
    """``os-getConsoleOutput``: asks the host and waits for its answer."""
    located = find_server(asked, server_id)
    length = asked.body["os-getConsoleOutput"].get("length")
    lines = None if length is None or int(length) < 0 else min(int(length), MOST)
    message = GetConsoleOutput(instance_uuid=located.instance.uuid, length=lines)
    text = ask_host(asked, located, "get_console_output", message, ConsoleOutput).text
    # As many lines as were asked for, and no empty one behind the last.
    return Answer({"output": text if lines is None else text.removesuffix("\n")})


def lock(asked: Asked, server_id: str) -> Answer:
    """``lock``; from 2.73 with a reason. An owner does not replace a lock that is there."""
    located = find_server(asked, server_id)
    if located.instance.locked_by is not None and not asked.is_admin:
        return Answer(status=202)
    # Below 2.73 the body is not checked, and says nothing.
    reason = (
        (asked.body["lock"] or {}).get("locked_reason")
        if asked.version in Since.LOCK_REASON
        else None
    )
    by = "admin" if asked.is_admin else "owner"
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
    notices.tell_server(asked, action, msgspec.structs.replace(instance, **values))
    return Answer(status=202)


def reset_state(asked: Asked, server_id: str) -> Answer:
    """``os-resetState``: says what a server is, whatever it was; what is under way is over."""
    instance, cell = placed(find_server(asked, server_id), Action.RESET_STATE)
    database = asked.services.cells.database(cell)
    state = VmState(asked.body["os-resetState"]["state"])
    record = record_of(asked, instance, Action.RESET_STATE)
    if not tasks.reset(database, instance.uuid, state, record):
        raise missing(instance.uuid)
    after = msgspec.structs.replace(instance, vm_state=state, task_state=None)
    notices.tell_update(asked, instance, after)
    return Answer(status=202)


_A = "os_compute_api"
_S = f"{_A}:servers"
ACTS = {
    "os-stop": Act(f"{_S}:stop", ordered(Stop()), schemas.NO_ARGUMENTS),
    "os-start": Act(f"{_S}:start", ordered(Start()), schemas.NO_ARGUMENTS),
    "reboot": Act(f"{_S}:reboot", reboot, schemas.REBOOT),
    "pause": Act(f"{_A}:os-pause-server:pause", ordered(Pause()), schemas.NO_ARGUMENTS),
    "unpause": Act(f"{_A}:os-pause-server:unpause", ordered(Unpause()), schemas.NO_ARGUMENTS),
    "suspend": Act(f"{_A}:os-suspend-server:suspend", ordered(Suspend()), schemas.NO_ARGUMENTS),
    "resume": Act(f"{_A}:os-suspend-server:resume", ordered(Resume()), schemas.NO_ARGUMENTS),
    "rescue": Act(f"{_A}:os-rescue", rescue, actions_schemas.RESCUE),
    "unrescue": Act(f"{_A}:os-unrescue", ordered(Unrescue()), schemas.NO_ARGUMENTS),
    "rebuild": Act(f"{_S}:rebuild", rebuild, actions_schemas.REBUILD),
    "createImage": Act(f"{_S}:create_image", create_image, actions_schemas.CREATE_IMAGE),
    "createBackup": Act(f"{_A}:os-create-backup", create_backup, actions_schemas.CREATE_BACKUP),
    "changePassword": Act(
        f"{_A}:os-admin-password", passwords.change, actions_schemas.CHANGE_PASSWORD
    ),
    "trigger_crash_dump": Act(
        f"{_S}:trigger_crash_dump",
        ordered(TriggerCrashDump()),
        schemas.NO_ARGUMENTS,
        when=Since.CRASH_DUMP,
    ),
    "os-resetState": Act(
        f"{_A}:os-admin-actions:reset_state", reset_state, actions_schemas.RESET_STATE
    ),
    "forceDelete": Act(f"{_A}:os-deferred-delete:force", delete.force_delete, schemas.NO_ARGUMENTS),
    "restore": Act(f"{_A}:os-deferred-delete:restore", delete.restore, schemas.NO_ARGUMENTS),
    **networks.ACTS,
    **remote_consoles.ACTS,
    "lock": Act(f"{_A}:os-lock-server:lock", lock, schemas.LOCK),
    "unlock": Act(f"{_A}:os-lock-server:unlock", unlock, schemas.NO_ARGUMENTS),
    "os-getConsoleOutput": Act(f"{_A}:os-console-output", console_output, schemas.CONSOLE),
    **moves.ACTS,
    **shelves.ACTS,
}

ROUTES = (Route("POST", "/servers/{server_id}/action", None, ActOn(ACTS)),)
