"""What the actions of servers, and requests below one, may say, by microversion.

Source of the keys and the versions that brought or took them: Compute API reference, "Servers - run an
action", "Server consoles" and "Create external events".
"""

from typing import Any

from kilonova.api.microversions import ALWAYS, Since, Span, Version
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

Schema = dict[str, Any]

_PASSWORD: Schema = {"type": "string"}
_NULL: Schema = {"type": "null"}


def _one(name: str, argument: Schema) -> Schemas:
    """Return the schemas of an action that is the same at every microversion."""
    return Schemas({ALWAYS: closed({name: argument}, name)})


_REBUILD: tuple[tuple[Span, Schema], ...] = (
    (
        ALWAYS,
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
    (Since.NO_FILES.before, {"personality": FILES}),
    (Since.DESCRIPTION, {"description": DESCRIPTION}),
    (Since.REBUILD_KEY_PAIR, {"key_name": {"anyOf": [NAME, _NULL]}}),
    (Since.NO_FILES, {"user_data": {"anyOf": [USER_DATA, _NULL]}}),
    (Since.TRUSTED_CERTIFICATES, {"trusted_image_certificates": TRUSTED_CERTS}),
    (Since.HOST_NAMES, {"hostname": LABEL}),
    (Since.HOST_NAMES_WITH_DOMAIN, {"hostname": HOST}),
)
"""(when, keys) of ``rebuild``."""


def _rebuild(version: Version) -> Schema:
    keys: Schema = {}
    for when, more in _REBUILD:
        if version in when:
            keys |= more
    return closed({"rebuild": closed(keys, "imageRef")}, "rebuild")


REBUILD = Schemas.changing(_rebuild, (when for when, _ in _REBUILD))

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
        Since.REMOTE_CONSOLES: _console(_PROTOCOLS, _TYPES),
        Since.MKS_CONSOLES: _console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks"]),
        Since.SPICE_DIRECT: _console([*_PROTOCOLS, "mks"], [*_TYPES, "webmks", "spice-direct"]),
    }
)

_EVENTS: tuple[tuple[Span, str], ...] = (
    (ALWAYS, "network-changed"),
    (ALWAYS, "network-vif-plugged"),
    (ALWAYS, "network-vif-unplugged"),
    (ALWAYS, "network-vif-deleted"),
    (Since.VOLUME_EXTENDED, "volume-extended"),
    (Since.POWER_UPDATE, "power-update"),
    (Since.ACCELERATOR_BOUND, "accelerator-request-bound"),
    (Since.REBUILD_OF_VOLUMES, "volume-reimaged"),
)
"""(when, name) of an external event."""


def _events(version: Version) -> Schema:
    names = [name for when, name in _EVENTS if version in when]
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


EXTERNAL_EVENTS = Schemas.changing(_events, (when for when, _ in _EVENTS))
