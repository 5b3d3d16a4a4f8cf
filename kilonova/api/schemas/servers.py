"""What a request about servers may say, by microversion.

Source of the keys and the versions that brought or took them: Compute API reference, "Servers".
"""

from typing import Any

from kilonova.api.microversions import ALWAYS, MAXIMUM, Since, Span, Version
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
_OLD_DEVICE: Schema = {
    "virtual_name": {"type": "string", "maxLength": 255},
    "volume_id": UUID,
    "snapshot_id": UUID,
    "volume_size": {
        "type": ["integer", "string"],
        "pattern": r"^[0-9]{1,10}\Z",
        "minimum": 1,
        "maximum": MOST,
    },
    "device_name": SHORT | {"pattern": r"^[a-zA-Z0-9._/-]*\Z"},
    "delete_on_termination": BOOLEAN,
    "no_device": {},
    "connection_info": TEXT,
}
_DEVICE: Schema = _OLD_DEVICE | {
    "source_type": {"enum": ["volume", "image", "snapshot", "blank"]},
    "destination_type": {"enum": ["local", "volume"]},
    "uuid": SHORT | {"pattern": r"^[a-zA-Z0-9._-]*\Z"},
    "boot_index": {"type": ["integer", "string", "null"], "pattern": r"^-?[0-9]{1,9}\Z"},
    "image_id": UUID,
    "disk_bus": {"type": "string", "maxLength": 255},
    "device_type": {"type": "string", "maxLength": 255},
    "guest_format": {"type": "string", "maxLength": 255},
}
_TAGGED = {"tag": TAG}
_VOLUME_TYPE: Schema = {"volume_type": {"type": ["string", "null"], "maxLength": 255}}


def _list_of(properties: Schema) -> Schema:
    return {"type": "array", "items": closed(properties)}


def _or_word(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"enum": ["none", "auto"]}]}


FILES: Schema = {
    "type": "array",
    "items": closed({"path": TEXT, "contents": TEXT}, "path", "contents"),
}
USER_DATA: Schema = {"type": "string", "maxLength": 65535}
TRUSTED_CERTS: Schema = {
    "type": ["array", "null"],
    "minItems": 1,
    "maxItems": 50,
    "uniqueItems": True,
    "items": SHORT,
}

_KEYS: tuple[tuple[str, Span, Schema], ...] = (
    ("name", ALWAYS, NAME),
    ("imageRef", ALWAYS, {"oneOf": [UUID, {"const": ""}]}),
    (
        "flavorRef",
        ALWAYS,
        {"type": ["string", "integer"], "minLength": 1, "maxLength": 2048, "minimum": 0},
    ),
    ("adminPass", ALWAYS, TEXT),
    ("metadata", ALWAYS, METADATA),
    ("OS-DCF:diskConfig", ALWAYS, DISK_CONFIG),
    ("accessIPv4", ALWAYS, IPV4),
    ("accessIPv6", ALWAYS, IPV6),
    ("availability_zone", ALWAYS, NAME),
    ("config_drive", ALWAYS, BOOLEAN),
    ("key_name", ALWAYS, NAME),
    ("min_count", ALWAYS, _COUNT),
    ("max_count", ALWAYS, _COUNT),
    ("return_reservation_id", ALWAYS, BOOLEAN),
    ("security_groups", ALWAYS, _list_of({"name": NAME})),
    ("user_data", ALWAYS, USER_DATA),
    ("networks", ALWAYS, _list_of(_NETWORK | {"uuid": TEXT})),
    ("networks", Since.DEVICE_TAGS, _list_of(_NETWORK | {"uuid": TEXT} | _TAGGED)),
    ("networks", Since.NETWORKS_NAMED, _or_word(_list_of(_NETWORK))),
    ("networks", Since.DEVICE_TAGS_AGAIN, _or_word(_list_of(_NETWORK | _TAGGED))),
    ("block_device_mapping", ALWAYS, _list_of(_OLD_DEVICE)),
    ("block_device_mapping_v2", ALWAYS, _list_of(_DEVICE)),
    ("block_device_mapping_v2", Since.DEVICE_TAGS, _list_of(_DEVICE | _TAGGED)),
    ("block_device_mapping_v2", Since.BLOCK_DEVICE_TAGS_LOST, _list_of(_DEVICE)),
    ("block_device_mapping_v2", Since.DEVICE_TAGS_AGAIN, _list_of(_DEVICE | _TAGGED)),
    ("block_device_mapping_v2", Since.VOLUME_TYPE, _list_of(_DEVICE | _TAGGED | _VOLUME_TYPE)),
    ("personality", Since.NO_FILES.before, FILES),
    ("description", Since.DESCRIPTION, DESCRIPTION),
    ("tags", Since.CREATED_WITH_TAGS, TAGS),
    ("trusted_image_certificates", Since.TRUSTED_CERTIFICATES, TRUSTED_CERTS),
    ("host", Since.HOST_NAMED, HOST),
    ("hypervisor_hostname", Since.HOST_NAMED, HOST),
    ("hostname", Since.HOST_NAMES, LABEL),
    ("hostname", Since.HOST_NAMES_WITH_DOMAIN, HOST),
)
"""(key of ``server``, when, schema), for ``POST /servers``. The last that holds counts."""

_ONE_OR_MANY: Schema = {"oneOf": [UUID, {"type": "array", "items": UUID}]}
HINTS: Schema = closed(
    {
        "group": UUID,
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
    keys = {key: schema for key, when, schema in _KEYS if version in when}
    return closed(
        {
            "server": closed(keys, *required),
            "os:scheduler_hints": HINTS,
            "OS-SCH-HNT:scheduler_hints": HINTS,
        },
        "server",
    )


def _complete(version: Version) -> Schema:
    networks = ("networks",) if version in Since.NETWORKS_NAMED else ()
    return _create(version, "name", "flavorRef", *networks)


CREATE = Schemas.changing(_complete, (when for _, when, _ in _KEYS))
PLAN = Schemas({ALWAYS: _create(MAXIMUM, "flavorRef")})
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
    key: schema for key, when, schema in _KEYS if MAXIMUM in when and key not in _OF_ONE
}
"""The keys of ``server`` that mean the same of each of many servers that are made one after another."""

_CHANGEABLE: tuple[tuple[Span, Schema], ...] = (
    (
        ALWAYS,
        {
            "name": NAME,
            "OS-DCF:diskConfig": DISK_CONFIG,
            "accessIPv4": IPV4,
            "accessIPv6": IPV6,
        },
    ),
    (Since.DESCRIPTION, {"description": DESCRIPTION}),
    (Since.HOST_NAMES, {"hostname": LABEL}),
    (Since.HOST_NAMES_WITH_DOMAIN, {"hostname": HOST}),
    (Since.PINNED_ZONE_CHANGED, {"pinned_availability_zone": {"anyOf": [NAME, {"type": "null"}]}}),
)
"""(when, keys of ``server``) for ``PUT /servers/{server_id}``."""


def _update(version: Version) -> Schema:
    keys: Schema = {}
    for when, more in _CHANGEABLE:
        if version in when:
            keys |= more
    return closed({"server": closed(keys)}, "server")


UPDATE = Schemas.changing(_update, (when for when, _ in _CHANGEABLE))

NO_BODY = Schemas({ALWAYS: {"type": "null"}})
NO_ARGUMENTS = Schemas({ALWAYS: {"type": "object"}})
_KINDS = ["HARD", "SOFT", "Hard", "Soft", "hard", "soft"]
REBOOT = Schemas({ALWAYS: closed({"reboot": closed({"type": {"enum": _KINDS}}, "type")}, "reboot")})
_LENGTH: Schema = {
    "type": ["integer", "string", "null"],
    "minimum": -1,
    "pattern": r"^(-1|[0-9]{1,100})\Z",
    "description": "a number of lines, or -1 for all of them",
}
CONSOLE = Schemas(
    {
        ALWAYS: closed(
            {"os-getConsoleOutput": closed({"length": _LENGTH})},
            "os-getConsoleOutput",
        )
    }
)
LOCK = Schemas(
    {
        ALWAYS: {"type": "object"},
        Since.LOCK_REASON: closed(
            {"lock": closed({"locked_reason": SHORT}) | {"type": ["object", "null"]}}, "lock"
        ),
    }
)
METADATA_BODY = Schemas({ALWAYS: closed({"metadata": METADATA}, "metadata")})
META_ITEM = Schemas(
    {ALWAYS: closed({"meta": items("string", minProperties=1, maxProperties=1)}, "meta")}
)
TAGS_BODY = Schemas({Since.SERVER_TAGS: closed({"tags": TAGS}, "tags")})
