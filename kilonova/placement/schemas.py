"""The JSON Schemas of every body and query string, by the microversion from which each holds."""

from typing import Any, TypeVar

from jsonschema import Draft202012Validator, FormatChecker

from kilonova.placement.wire import Version, is_uuid

Schema = dict[str, Any]

GREATEST = 2147483647
"""The largest amount, and the largest generation."""
_GREATEST_RATIO = 3.40282e38

_FORMATS = FormatChecker(formats=())
_FORMATS.checks("uuid")(is_uuid)

T = TypeVar("T")


def since(version: Version, steps: dict[Version, T]) -> T:
    """Return what holds at a version: the newest step that is not after it."""
    return steps[max(step for step in steps if step <= version)]


def _compiled(schema: Schema) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=_FORMATS)


def _object(properties: dict[str, Schema], *required: str, **more: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    } | more


def _mapping(pattern: str, value: Schema, **more: Any) -> Schema:
    return {
        "type": "object",
        "patternProperties": {pattern: value},
        "additionalProperties": False,
    } | more


_UUID: Schema = {"type": "string", "format": "uuid"}
_UUID_KEY = "^[0-9a-fA-F-]{36}\\Z"
_CLASS_KEY = "^[A-Z0-9_]+\\Z"
_CUSTOM = "^CUSTOM_[A-Z0-9_]+\\Z"
_TEXT: Schema = {"type": "string"}
_OWNER: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": GREATEST}
_AMOUNT: Schema = {"type": "integer", "minimum": 1, "maximum": GREATEST}
_GENERATION: Schema = {"type": "integer", "minimum": -GREATEST, "maximum": GREATEST}

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_PARENT: Schema = {"anyOf": [_UUID, {"type": "null"}]}

PROVIDER_CREATE = {
    (1, 0): _compiled(_object({"name": _NAME, "uuid": _UUID}, "name")),
    (1, 14): _compiled(
        _object({"name": _NAME, "uuid": _UUID, "parent_provider_uuid": _PARENT}, "name")
    ),
}
PROVIDER_UPDATE = {
    (1, 0): _compiled(_object({"name": _NAME}, "name")),
    (1, 14): _compiled(_object({"name": _NAME, "parent_provider_uuid": _PARENT}, "name")),
}
_LIST: dict[str, Schema] = {"name": _TEXT, "uuid": _UUID}
PROVIDER_QUERY = {
    (1, 0): _compiled(_object(_LIST)),
    (1, 3): _compiled(_object(_LIST | {"member_of": _TEXT})),
    (1, 4): _compiled(_object(_LIST | {"member_of": _TEXT, "resources": _TEXT})),
    (1, 14): _compiled(_object(_LIST | {"member_of": _TEXT, "resources": _TEXT, "in_tree": _UUID})),
    (1, 18): _compiled(
        _object(
            _LIST | {"member_of": _TEXT, "resources": _TEXT, "in_tree": _UUID, "required": _TEXT}
        )
    ),
}

_INVENTORY: dict[str, Schema] = {
    "resource_provider_generation": _GENERATION,
    "total": _AMOUNT,
    "reserved": _COUNT,
    "min_unit": _AMOUNT,
    "max_unit": _AMOUNT,
    "step_size": _AMOUNT,
    "allocation_ratio": {"type": "number", "minimum": 0, "maximum": _GREATEST_RATIO},
}
_INVENTORIES = _object(
    {
        "resource_provider_generation": _GENERATION,
        "inventories": _mapping(_CLASS_KEY, _object(_INVENTORY, "total")),
    },
    "resource_provider_generation",
    "inventories",
)
INVENTORIES = _compiled(_INVENTORIES)
INVENTORY_UPDATE = _compiled(_object(_INVENTORY, "total", "resource_provider_generation"))
INVENTORY_CREATE = _compiled(
    _object(
        _INVENTORY | {"resource_class": {"type": "string", "pattern": _CLASS_KEY}},
        "total",
        "resource_class",
    )
)

RESOURCE_CLASS = _compiled(
    _object({"name": {"type": "string", "pattern": _CUSTOM, "maxLength": 255}}, "name")
)
TRAIT_NAME = _compiled({"type": "string", "pattern": _CUSTOM, "maxLength": 255})
TRAITS_QUERY = _compiled(_object({"name": _TEXT, "associated": _TEXT}))
PROVIDER_TRAITS = _compiled(
    _object(
        {
            "resource_provider_generation": _GENERATION,
            "traits": {"type": "array", "items": _OWNER},
        },
        "traits",
        "resource_provider_generation",
    )
)
_AGGREGATES: Schema = {"type": "array", "items": _UUID, "uniqueItems": True}
AGGREGATES = {
    (1, 1): _compiled(_AGGREGATES),
    (1, 19): _compiled(
        _object(
            {"resource_provider_generation": _GENERATION, "aggregates": _AGGREGATES},
            "aggregates",
            "resource_provider_generation",
        )
    ),
}

_RESOURCES = _mapping(_CLASS_KEY, _AMOUNT, minProperties=1)
_LISTED: Schema = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        {"resource_provider": _object({"uuid": _UUID}, "uuid"), "resources": _RESOURCES},
        "resource_provider",
        "resources",
    ),
}
_BY_PROVIDER = _mapping(
    _UUID_KEY, _object({"generation": {"type": "integer"}, "resources": _RESOURCES}, "resources")
)
_OWNERS = {"project_id": _OWNER, "user_id": _OWNER}
_WITH_GENERATION = _OWNERS | {
    "allocations": _BY_PROVIDER,
    "consumer_generation": {"anyOf": [_GENERATION, {"type": "null"}]},
}
_MAPPINGS: Schema = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {
        "^[a-zA-Z0-9_-]{1,64}\\Z": {"type": "array", "minItems": 1, "items": _UUID}
    },
}
_TYPE: Schema = {
    "type": "string",
    "pattern": "^[A-Z0-9_]+$",
    # Python's dollar also stands before a last newline.
    "not": {"pattern": "\n"},
    "minLength": 1,
    "maxLength": 255,
}


def _all_but_mappings(properties: dict[str, Schema]) -> Schema:
    return _object(properties, *(name for name in properties if name != "mappings"))


_ALLOCATIONS: dict[Version, Schema] = {
    (1, 0): _all_but_mappings({"allocations": _LISTED}),
    (1, 8): _all_but_mappings(_OWNERS | {"allocations": _LISTED}),
    (1, 12): _all_but_mappings(_OWNERS | {"allocations": _BY_PROVIDER | {"minProperties": 1}}),
    (1, 28): _all_but_mappings(_WITH_GENERATION),
    (1, 34): _all_but_mappings(_WITH_GENERATION | {"mappings": _MAPPINGS}),
    (1, 38): _all_but_mappings(_WITH_GENERATION | {"mappings": _MAPPINGS, "consumer_type": _TYPE}),
}
_MANY: dict[Version, Schema] = {
    (1, 13): _mapping(_UUID_KEY, _all_but_mappings(_OWNERS | {"allocations": _BY_PROVIDER})),
    (1, 28): _mapping(_UUID_KEY, _ALLOCATIONS[(1, 28)]),
    (1, 34): _mapping(_UUID_KEY, _ALLOCATIONS[(1, 34)]),
    (1, 38): _mapping(_UUID_KEY, _ALLOCATIONS[(1, 38)]),
}
ALLOCATIONS = {step: _compiled(schema) for step, schema in _ALLOCATIONS.items()}
MANY_ALLOCATIONS = {
    step: _compiled(schema | {"minProperties": 1}) for step, schema in _MANY.items()
}
RESHAPER = {
    step: _compiled(
        _object(
            {
                "inventories": _mapping(_UUID_KEY, _INVENTORIES, minProperties=1),
                "allocations": _MANY[(1, 28) if step == (1, 30) else step],
            },
            "inventories",
            "allocations",
        )
    )
    for step in ((1, 30), (1, 34), (1, 38))
}

_USAGES: dict[str, Schema] = {"project_id": _OWNER, "user_id": _OWNER}
USAGES = {
    (1, 9): _compiled(_object(_USAGES, "project_id")),
    (1, 38): _compiled(
        _object(
            _USAGES
            | {
                "consumer_type": {
                    "type": "string",
                    "pattern": "^([A-Z0-9_]+|all|unknown)\\Z",
                    "maxLength": 255,
                }
            },
            "project_id",
        )
    ),
}
