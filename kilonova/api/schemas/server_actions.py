"""What the actions of servers, and requests below one, may say, by microversion.

Source of the keys and the versions that brought or took them: Compute API reference, "Servers - run an
action", "Server consoles" and "Create external events".
"""

from typing import Any

from kilonova.api.parameters import BOOLEAN, HOST, NAME, SHORT, TEXT, closed
from kilonova.api.routing import Schemas
from kilonova.api.schemas.servers import (
    DESCRIPTION,
    DISK_CONFIG,
    FILES,
    IPV4,
    IPV6,
    LABEL,
    METADATA,
    TRUSTED_CERTS,
    USER_DATA,
    UUID,
)
from kilonova.api.versions import MINIMUM, Version

Schema = dict[str, Any]

_PASSWORD: Schema = {"type": "string"}
_NULL: Schema = {"type": "null"}


def _one(name: str, argument: Schema) -> Schemas:
    """Return the schemas of an action that is the same at every microversion."""
    return Schemas({MINIMUM: closed({name: argument}, name)})


_REBUILD: tuple[tuple[Version, Schema], ...] = (
    (
        MINIMUM,
        {
            "imageRef": UUID,
            "adminPass": _PASSWORD,
            "name": NAME,
            "metadata": METADATA,
            "preserve_ephemeral": BOOLEAN,
            "OS-DCF:diskConfig": DISK_CONFIG,
            "accessIPv4": IPV4,
            "accessIPv6": IPV6,
        },
    ),
    ((2, 19), {"description": DESCRIPTION}),
    ((2, 54), {"key_name": {"anyOf": [NAME, _NULL]}}),
    ((2, 57), {"user_data": {"anyOf": [USER_DATA, _NULL]}}),
    ((2, 63), {"trusted_image_certificates": TRUSTED_CERTS}),
    ((2, 90), {"hostname": LABEL}),
    ((2, 94), {"hostname": HOST}),
)
"""(from, keys) of ``rebuild``; files are given only before there is ``user_data``."""


def _rebuild(version: Version) -> Schema:
    keys: Schema = {} if version >= (2, 57) else {"personality": FILES}
    for since, more in _REBUILD:
        if since <= version:
            keys |= more
    return closed({"rebuild": closed(keys, "imageRef")}, "rebuild")


REBUILD = Schemas({since: _rebuild(since) for since, _ in _REBUILD})

RESCUE = _one(
    "rescue",
    closed({"adminPass": _PASSWORD, "rescue_image_ref": UUID}) | {"type": ["object", "null"]},
)
CREATE_IMAGE = _one("createImage", closed({"name": NAME, "metadata": METADATA}, "name"))
_ROTATION: Schema = {
    "type": ["integer", "string"],
    "minimum": 0,
    "pattern": r"^[0-9]{1,9}\Z",
    "description": "a whole number of at least 0",
}
CREATE_BACKUP = _one(
    "createBackup",
    closed(
        {"name": NAME, "backup_type": TEXT, "rotation": _ROTATION, "metadata": METADATA},
        *("name", "backup_type", "rotation"),
    ),
)
CHANGE_PASSWORD = _one("changePassword", closed({"adminPass": _PASSWORD}, "adminPass"))
RESET_STATE = _one("os-resetState", closed({"state": {"enum": ["active", "error"]}}, "state"))
ADD_SECURITY_GROUP = _one("addSecurityGroup", closed({"name": NAME}, "name"))
REMOVE_SECURITY_GROUP = _one("removeSecurityGroup", closed({"name": NAME}, "name"))
VNC_CONSOLE = _one("os-getVNCConsole", closed({"type": {"enum": ["novnc", "xvpvnc"]}}, "type"))
SPICE_CONSOLE = _one("os-getSPICEConsole", closed({"type": {"enum": ["spice-html5"]}}, "type"))
SERIAL_CONSOLE = _one("os-getSerialConsole", closed({"type": {"enum": ["serial"]}}, "type"))


def _console(protocols: list[str], types: list[str]) -> Schema:
    wanted = closed({"protocol": {"enum": protocols}, "type": {"enum": types}}, "protocol", "type")
    return closed({"remote_console": wanted}, "remote_console")


_PROTOCOLS = ["vnc", "spice", "serial"]
_TYPES = ["novnc", "xvpvnc", "spice-html5", "serial"]
REMOTE_CONSOLE = Schemas(
    {
        (2, 6): _console(_PROTOCOLS, _TYPES),
        (2, 8): _console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks"]),
        (2, 99): _console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks", "spice-direct"]),
    }
)

_EVENTS: tuple[tuple[Version, str], ...] = (
    (MINIMUM, "network-changed"),
    (MINIMUM, "network-vif-plugged"),
    (MINIMUM, "network-vif-unplugged"),
    (MINIMUM, "network-vif-deleted"),
    ((2, 51), "volume-extended"),
    ((2, 76), "power-update"),
    ((2, 82), "accelerator-request-bound"),
    ((2, 93), "volume-reimaged"),
)
"""(from, name) of an external event."""


def _events(version: Version) -> Schema:
    names = [name for since, name in _EVENTS if since <= version]
    event = closed(
        {
            "name": {"enum": names},
            "server_uuid": UUID,
            "tag": SHORT,
            "status": {"enum": ["failed", "completed", "in-progress"]},
        },
        *("name", "server_uuid"),
    )
    events = {"type": "array", "minItems": 1, "items": event}
    return closed({"events": events}, "events")


EXTERNAL_EVENTS = Schemas({since: _events(since) for since, _ in _EVENTS})
