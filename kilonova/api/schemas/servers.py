"""What a request about servers may say, by microversion.

Source of the keys and the versions that brought or took them: Compute API reference, "Servers".
"""

from typing import Any

from kilonova.api.parameters import (
    BOOLEAN,
    HOST,
    MOST,
    NAME,
    PRINTABLE,
    SHORT,
    TEXT,
    closed,
    items,
)
from kilonova.api.routing import Schemas
from kilonova.api.versions import MAXIMUM, MINIMUM, Version

Schema = dict[str, Any]

UUID: Schema = {
    "type": "string",
    "pattern": r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\Z",
    "description": "a UUID",
}
DESCRIPTION: Schema = {
    "type": ["string", "null"],
    "maxLength": 255,
    "pattern": PRINTABLE,
    "description": "printable characters",
}
_COUNT: Schema = {
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": r"^0*[1-9][0-9]{0,8}\Z",
    "description": "a whole number of at least 1",
}
METADATA: Schema = items("string")
IPV4: Schema = {"type": "string", "format": "ipv4"}
IPV6: Schema = {"type": "string", "format": "ipv6"}
DISK_CONFIG: Schema = {"enum": ["AUTO", "MANUAL"]}
TAG: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 60,
    "pattern": r"^[^,/]*\Z",
    "description": "at most 60 characters without a comma or a slash",
}
TAGS: Schema = {"type": "array", "items": TAG, "maxItems": 50}
LABEL: Schema = {
    "type": "string",
    "minLength": 2,
    "maxLength": 63,
    "pattern": r"^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\Z",
    "description": "letters, digits and hyphens, with no hyphen at either end",
}

_NETWORK: Schema = {
    "uuid": UUID,
    "port": {"oneOf": [UUID, {"type": "null"}]},
    "fixed_ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
}
_DEVICE: Schema = {
    "source_type": {"enum": ["volume", "image", "snapshot", "blank"]},
    "destination_type": {"enum": ["local", "volume"]},
    "uuid": SHORT | {"pattern": r"^[a-zA-Z0-9._-]*\Z"},
    "boot_index": {"type": ["integer", "string", "null"], "pattern": r"^-?[0-9]{1,9}\Z"},
    "volume_size": {
        "type": ["integer", "string"],
        "pattern": r"^[0-9]{1,10}\Z",
        "minimum": 1,
        "maximum": MOST,
    },
    "image_id": UUID,
    "virtual_name": {"type": "string", "maxLength": 255},
    "connection_info": TEXT,
    "volume_id": UUID,
    "snapshot_id": UUID,
    "device_name": SHORT | {"pattern": r"^[a-zA-Z0-9._/-]*\Z"},
    "disk_bus": TEXT,
    "device_type": TEXT,
    "guest_format": {"type": "string", "maxLength": 255},
    "delete_on_termination": BOOLEAN,
    "no_device": {},
}
_TAGGED = {"tag": TAG}
_VOLUME_TYPE: Schema = {"volume_type": {"type": ["string", "null"], "maxLength": 255}}


def _list_of(properties: Schema) -> Schema:
    return {"type": "array", "items": closed(properties)}


def _or_word(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"enum": ["none", "auto"]}]}


FILES: Schema = _list_of({"path": {"type": "string", "maxLength": 255}, "contents": TEXT})
USER_DATA: Schema = {"type": "string", "maxLength": 65535}
TRUSTED_CERTS: Schema = {
    "type": ["array", "null"],
    "minItems": 1,
    "maxItems": 50,
    "uniqueItems": True,
    "items": SHORT,
}

_KEYS: tuple[tuple[str, Version, Version, Schema], ...] = (
    ("name", MINIMUM, MAXIMUM, NAME),
    ("imageRef", MINIMUM, MAXIMUM, {"oneOf": [UUID, {"const": ""}]}),
    (
        "flavorRef",
        MINIMUM,
        MAXIMUM,
        {"type": ["string", "integer"], "minLength": 1, "maxLength": 2048, "minimum": 0},
    ),
    ("adminPass", MINIMUM, MAXIMUM, TEXT),
    ("metadata", MINIMUM, MAXIMUM, METADATA),
    ("OS-DCF:diskConfig", MINIMUM, MAXIMUM, DISK_CONFIG),
    ("accessIPv4", MINIMUM, MAXIMUM, IPV4),
    ("accessIPv6", MINIMUM, MAXIMUM, IPV6),
    ("availability_zone", MINIMUM, MAXIMUM, NAME),
    ("config_drive", MINIMUM, MAXIMUM, BOOLEAN),
    ("key_name", MINIMUM, MAXIMUM, NAME),
    ("min_count", MINIMUM, MAXIMUM, _COUNT),
    ("max_count", MINIMUM, MAXIMUM, _COUNT),
    ("return_reservation_id", MINIMUM, MAXIMUM, BOOLEAN),
    ("security_groups", MINIMUM, MAXIMUM, _list_of({"name": NAME})),
    ("user_data", MINIMUM, MAXIMUM, USER_DATA),
    ("networks", (2, 1), (2, 31), _list_of(_NETWORK | {"uuid": TEXT})),
    ("networks", (2, 32), (2, 36), _list_of(_NETWORK | {"uuid": TEXT} | _TAGGED)),
    ("networks", (2, 37), (2, 41), _or_word(_list_of(_NETWORK))),
    ("networks", (2, 42), MAXIMUM, _or_word(_list_of(_NETWORK | _TAGGED))),
    (
        "block_device_mapping",
        MINIMUM,
        MAXIMUM,
        {"type": "array", "items": {"type": "object"}},
    ),
    ("block_device_mapping_v2", (2, 1), (2, 31), _list_of(_DEVICE)),
    ("block_device_mapping_v2", (2, 32), (2, 32), _list_of(_DEVICE | _TAGGED)),
    ("block_device_mapping_v2", (2, 33), (2, 41), _list_of(_DEVICE)),
    ("block_device_mapping_v2", (2, 42), (2, 66), _list_of(_DEVICE | _TAGGED)),
    ("block_device_mapping_v2", (2, 67), MAXIMUM, _list_of(_DEVICE | _TAGGED | _VOLUME_TYPE)),
    ("personality", (2, 1), (2, 56), FILES),
    ("description", (2, 19), MAXIMUM, DESCRIPTION),
    ("tags", (2, 52), MAXIMUM, TAGS),
    ("trusted_image_certificates", (2, 63), MAXIMUM, TRUSTED_CERTS),
    ("host", (2, 74), MAXIMUM, HOST),
    ("hypervisor_hostname", (2, 74), MAXIMUM, HOST),
    ("hostname", (2, 90), (2, 93), LABEL),
    ("hostname", (2, 94), MAXIMUM, HOST),
)
"""(key of ``server``, from, to, schema), for ``POST /servers``."""

_NETWORKS_REQUIRED: Version = (2, 37)

_ONE_OR_MANY: Schema = {"oneOf": [UUID, {"type": "array", "items": UUID}]}
HINTS: Schema = closed(
    {
        "group": _ONE_OR_MANY,
        "different_host": _ONE_OR_MANY,
        "same_host": {"type": ["string", "array"], "items": UUID},
        "target_cell": NAME,
        "different_cell": {"type": ["string", "array"], "items": TEXT},
        "query": {"type": ["string", "object"]},
        "build_near_host_ip": {"oneOf": [IPV4, IPV6]},
        "cidr": {"type": "string", "pattern": r"^/[0-9a-f.:]+\Z"},
    },
    additionalProperties=True,
)


def _create(version: Version, *required: str) -> Schema:
    keys = {key: schema for key, since, until, schema in _KEYS if since <= version <= until}
    return closed(
        {
            "server": closed(keys, *required),
            "os:scheduler_hints": HINTS,
            "OS-SCH-HNT:scheduler_hints": HINTS,
        },
        "server",
    )


def _steps() -> set[Version]:
    """Return the versions at which a key comes, goes or changes."""
    came = {since for _, since, _, _ in _KEYS}
    went = {(until[0], until[1] + 1) for _, _, until, _ in _KEYS if until < MAXIMUM}
    return came | went | {_NETWORKS_REQUIRED}


def _required(version: Version) -> tuple[str, ...]:
    networks = ("networks",) if version >= _NETWORKS_REQUIRED else ()
    return "name", "flavorRef", *networks


CREATE = Schemas({version: _create(version, *_required(version)) for version in _steps()})
PLAN = Schemas({MINIMUM: _create(MAXIMUM, "flavorRef")})
"""The same without what has nothing to do with whether there is a host."""

_OF_ONE = frozenset(
    {
        "name",
        "hostname",
        "adminPass",
        "min_count",
        "max_count",
        "return_reservation_id",
        "host",
        "hypervisor_hostname",
    }
)
MANY: Schema = {
    key: schema
    for key, since, until, schema in _KEYS
    if since <= MAXIMUM <= until and key not in _OF_ONE
}
"""The keys of ``server`` that mean the same of each of many servers that are made one after another."""

_CHANGEABLE: tuple[tuple[Version, Schema], ...] = (
    (
        MINIMUM,
        {
            "name": NAME,
            "OS-DCF:diskConfig": DISK_CONFIG,
            "accessIPv4": IPV4,
            "accessIPv6": IPV6,
        },
    ),
    ((2, 19), {"description": DESCRIPTION}),
    ((2, 90), {"hostname": LABEL}),
    ((2, 94), {"hostname": HOST}),
    ((2, 104), {"pinned_availability_zone": {"anyOf": [NAME, {"type": "null"}]}}),
)
"""(from, keys of ``server``) for ``PUT /servers/{server_id}``."""


def _update(version: Version) -> Schema:
    keys: Schema = {}
    for since, more in _CHANGEABLE:
        if since <= version:
            keys |= more
    return closed({"server": closed(keys)}, "server")


UPDATE = Schemas({since: _update(since) for since, _ in _CHANGEABLE})

NO_BODY = Schemas({(2, 1): {"type": "null"}})
NO_ARGUMENTS = Schemas({(2, 1): {"type": "object"}})
_KINDS = ["HARD", "SOFT", "Hard", "Soft", "hard", "soft"]
REBOOT = Schemas({(2, 1): closed({"reboot": closed({"type": {"enum": _KINDS}}, "type")}, "reboot")})
_LENGTH: Schema = {
    "type": ["integer", "string", "null"],
    "minimum": -1,
    "pattern": r"^(-1|[0-9]{1,100})\Z",
    "description": "a number of lines, or -1 for all of them",
}
CONSOLE = Schemas(
    {
        (2, 1): closed(
            {"os-getConsoleOutput": closed({"length": _LENGTH})},
            "os-getConsoleOutput",
        )
    }
)
LOCK = Schemas(
    {
        (2, 1): {"type": "object"},
        (2, 73): closed(
            {"lock": closed({"locked_reason": SHORT}) | {"type": ["object", "null"]}}, "lock"
        ),
    }
)
METADATA_BODY = Schemas({(2, 1): closed({"metadata": METADATA}, "metadata")})
META_ITEM = Schemas(
    {(2, 1): closed({"meta": items("string", minProperties=1, maxProperties=1)}, "meta")}
)
TAGS_BODY = Schemas({(2, 26): closed({"tags": TAGS}, "tags")})
