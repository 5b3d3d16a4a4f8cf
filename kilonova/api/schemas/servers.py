"""What a request about servers may say, by microversion.

Source of the keys and the versions that brought or took them: Compute API reference, "Servers".
"""

from typing import Any

from kilonova.api.routing import Schemas
from kilonova.api.versions import Version

Schema = dict[str, Any]

_PRINTABLE = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE}
_DESCRIPTION: Schema = {
    "type": ["string", "null"],
    "maxLength": 255,
    "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$",
}
_UUID: Schema = {"type": "string", "format": "uuid", "minLength": 32, "maxLength": 36}
_BOOLEAN: Schema = {
    "enum": [
        True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t",
        False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f",
    ]
}  # fmt: skip
_COUNT: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1}
METADATA: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
_ADDRESS: dict[int, Schema] = {
    4: {"type": "string", "format": "ipv4"},
    6: {"type": "string", "format": "ipv6"},
}
_DISK_CONFIG: Schema = {"enum": ["AUTO", "MANUAL"]}
_TAG: Schema = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}
_LABEL = r"^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$"
_FQDN = r"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$"


def _object(properties: Schema, required: tuple[str, ...] = (), *, open_: bool = False) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": open_,
    }


_NETWORK: Schema = {
    "uuid": _UUID,
    "port": {"oneOf": [_UUID, {"type": "null"}]},
    "fixed_ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
}
_BLOCK_DEVICE: Schema = {
    "source_type": {"enum": ["volume", "image", "snapshot", "blank"]},
    "destination_type": {"enum": ["local", "volume"]},
    "uuid": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._-]*$"},
    "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
    "volume_size": {
        "type": ["integer", "string"],
        "pattern": "^[0-9]+$",
        "minimum": 1,
        "maximum": 2147483647,
    },
    "image_id": _UUID,
    "volume_id": _UUID,
    "snapshot_id": _UUID,
    "device_name": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[a-zA-Z0-9._/-]*$",
    },
    "disk_bus": {"type": "string"},
    "device_type": {"type": "string"},
    "guest_format": {"type": "string", "maxLength": 255},
    "delete_on_termination": _BOOLEAN,
    "no_device": {},
}
_HINTS: Schema = _object(
    {
        "group": _UUID,
        "different_host": {"oneOf": [_UUID, {"type": "array", "items": _UUID}]},
        "same_host": {"type": ["string", "array"], "items": _UUID},
        "query": {"type": ["string", "object"]},
        "build_near_host_ip": {"type": "string"},
        "cidr": {"type": "string", "pattern": r"^/[0-9a-f.:]+$"},
    },
    open_=True,
)


def _networks(network: Schema) -> Schema:
    return {"type": "array", "items": _object(network)}


def _create_properties(version: Version) -> tuple[Schema, tuple[str, ...]]:
    """Return the keys of ``server`` at a microversion, and those that are required."""
    tagged_network = (2, 32) <= version <= (2, 36) or version >= (2, 42)
    tagged_device = version == (2, 32) or version >= (2, 42)
    tag = {"tag": _TAG}
    network = _NETWORK | (tag if tagged_network else {})
    device = _BLOCK_DEVICE | (tag if tagged_device else {})
    device |= (
        {"volume_type": {"type": ["string", "null"], "maxLength": 255}}
        if version >= (2, 67)
        else {}
    )
    networks: Schema = _networks(network)
    if version >= (2, 37):
        networks = {"oneOf": [networks, {"enum": ["none", "auto"]}]}
    keys: Schema = {
        "name": NAME,
        "imageRef": {"oneOf": [_UUID, {"const": ""}]},
        "flavorRef": {"type": ["string", "integer"], "minLength": 1, "minimum": 0},
        "adminPass": {"type": "string"},
        "metadata": METADATA,
        "networks": networks,
        "OS-DCF:diskConfig": _DISK_CONFIG,
        "accessIPv4": _ADDRESS[4],
        "accessIPv6": _ADDRESS[6],
        "availability_zone": {"type": "string", "minLength": 1, "maxLength": 255},
        "block_device_mapping": {"type": "array", "items": {"type": "object"}},
        "block_device_mapping_v2": {"type": "array", "items": _object(device)},
        "config_drive": _BOOLEAN,
        "key_name": {"type": ["string", "null"], "maxLength": 255},
        "min_count": _COUNT,
        "max_count": _COUNT,
        "return_reservation_id": _BOOLEAN,
        "security_groups": {
            "type": "array",
            "items": _object({"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
        },
        "user_data": {"type": "string", "format": "base64", "maxLength": 65535},
    }
    for since, until, added in _CHANGES:
        if since <= version <= until:
            keys |= added
    required = ("name", "flavorRef", *(("networks",) if version >= (2, 37) else ()))
    return keys, required


_FOR_EVER: Version = (99, 0)
_PERSONALITY: Schema = {
    "type": "array",
    "items": _object(
        {"path": {"type": "string", "maxLength": 255}, "contents": {"type": "string"}}
    ),
}
_CHANGES: tuple[tuple[Version, Version, Schema], ...] = (
    ((2, 1), (2, 56), {"personality": _PERSONALITY}),
    ((2, 19), _FOR_EVER, {"description": _DESCRIPTION}),
    ((2, 52), _FOR_EVER, {"tags": {"type": "array", "items": _TAG, "maxItems": 50}}),
    (
        (2, 63),
        _FOR_EVER,
        {
            "trusted_image_certificates": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": 50,
                "uniqueItems": True,
                "items": {"type": "string", "minLength": 1},
            }
        },
    ),
    (
        (2, 74),
        _FOR_EVER,
        {
            "host": {"type": "string", "minLength": 1, "maxLength": 255},
            "hypervisor_hostname": {"type": "string", "minLength": 1, "maxLength": 255},
        },
    ),
    (
        (2, 90),
        (2, 93),
        {"hostname": {"type": "string", "minLength": 2, "maxLength": 63, "pattern": _LABEL}},
    ),
    (
        (2, 94),
        _FOR_EVER,
        {"hostname": {"type": "string", "minLength": 2, "maxLength": 255, "pattern": _FQDN}},
    ),
)
"""(from, to, keys): what ``server`` gained and lost."""


def _create(version: Version) -> Schema:
    keys, required = _create_properties(version)
    return _object(
        {
            "server": _object(keys, required),
            "os:scheduler_hints": _HINTS,
            "OS-SCH-HNT:scheduler_hints": _HINTS,
        },
        ("server",),
    )


CREATE = Schemas(
    {
        (2, minor): _create((2, minor))
        for minor in (1, 19, 32, 33, 37, 42, 52, 57, 63, 67, 74, 90, 94)
    }
)


def _update(version: Version) -> Schema:
    keys: Schema = {
        "name": NAME,
        "OS-DCF:diskConfig": _DISK_CONFIG,
        "accessIPv4": {"oneOf": [_ADDRESS[4], {"enum": ["", None]}]},
        "accessIPv6": {"oneOf": [_ADDRESS[6], {"enum": ["", None]}]},
    }
    if version >= (2, 19):
        keys["description"] = _DESCRIPTION
    if version >= (2, 90):
        pattern = _FQDN if version >= (2, 94) else _LABEL
        longest = 255 if version >= (2, 94) else 63
        keys["hostname"] = {
            "type": "string", "minLength": 2, "maxLength": longest, "pattern": pattern,
        }  # fmt: skip
    return _object({"server": _object(keys) | {"minProperties": 1}}, ("server",))


UPDATE = Schemas({(2, minor): _update((2, minor)) for minor in (1, 19, 90, 94)})

NO_ARGUMENTS = Schemas({(2, 1): {"type": "object"}})
REBOOT = Schemas(
    {
        (2, 1): _object(
            {
                "reboot": _object(
                    {"type": {"enum": ["HARD", "SOFT", "Hard", "Soft", "hard", "soft"]}}, ("type",)
                )
            },
            ("reboot",),
        )
    }
)
CONSOLE = Schemas(
    {
        (2, 1): _object(
            {
                "os-getConsoleOutput": {
                    "type": ["object", "null"],
                    "properties": {
                        "length": {
                            "type": ["integer", "string", "null"],
                            "minimum": -1,
                            "pattern": "^-?[0-9]+$",
                        }
                    },
                    "additionalProperties": False,
                }
            },
            ("os-getConsoleOutput",),
        )
    }
)
LOCK = Schemas(
    {
        (2, 1): {"type": "object"},
        (2, 73): _object(
            {
                "lock": {
                    "oneOf": [
                        {"type": "null"},
                        _object(
                            {"locked_reason": {"type": "string", "minLength": 1, "maxLength": 255}}
                        ),
                    ]
                }
            },
            ("lock",),
        ),
    }
)
METADATA_BODY = Schemas({(2, 1): _object({"metadata": METADATA}, ("metadata",))})
META_ITEM = Schemas(
    {(2, 1): _object({"meta": METADATA | {"minProperties": 1, "maxProperties": 1}}, ("meta",))}
)
