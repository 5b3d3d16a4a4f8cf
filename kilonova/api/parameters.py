"""The JSON Schemas of single values that many requests share, and what such values mean.

Numbers and booleans may come as text: ``whole`` and ``is_true`` say what they are. Query parameters come
as lists of texts, since each may be repeated.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kilonova.api.microversions import Span, Version
from kilonova.api.routing import Schemas
from kilonova.core.errors import Invalid

Schema = dict[str, Any]

MOST = 2**31 - 1
"""The greatest number that a column holds."""

_TRUE = ("True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes")
_FALSE = ("False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no")

_PRINTABLE = (
    r"[^\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\ud800-\uf8ff\ufdd0-\ufdef\ufffe\uffff]"
)
PRINTABLE = rf"^{_PRINTABLE}*\Z"
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": rf"^(?!\s){_PRINTABLE}+(?<!\s)\Z",
    "title": "name",
    "description": "printable characters. Can not start or end with whitespace.",
}
ZONE_NAME: Schema = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 255,
    "pattern": rf"^(?!\s)((?!:){_PRINTABLE})+(?<!\s)\Z",
    "description": "printable characters without a colon that neither begin nor end with a space",
}

BOOLEAN: Schema = {"type": ["boolean", "string"], "enum": [True, *_TRUE, False, *_FALSE]}
TEXT: Schema = {"type": "string"}
SHORT: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
HOST: Schema = SHORT | {
    "pattern": r"^[a-zA-Z0-9-._]*\Z",
    "description": "letters, digits, dots, hyphens and underscores",
}
"""The name of a host, with or without its domain."""

NUMBER: Schema = {
    "type": ["integer", "string"],
    "pattern": r"^-?[0-9]{1,10}\Z",
    "description": "a whole number",
}
"""A whole number, or one as text; ``whole`` checks how great it is."""

_ITEM = "^[a-zA-Z0-9-_:. ]{1,255}\\Z"


def closed(properties: Schema, *required: str, **more: Any) -> Schema:
    """Return the schema of an object that has only these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def items(*types: str, **more: Any) -> Schema:
    """Return the schema of metadata whose values are of these JSON types."""
    value = {"type": list(types), "maxLength": 255}
    return closed({}, patternProperties={_ITEM: value}, **more)


def values(item: Schema, *, once: bool = False) -> Schema:
    """Return the schema of a query parameter, which may be repeated unless it counts ``once``."""
    return {"type": "array", "items": dict(item)} | ({"maxItems": 1} if once else {})


PAGE: Schema = {
    "limit": values({"pattern": r"^[0-9]+\Z", "description": "a whole number"}),
    "marker": values(TEXT),
}
"""The query parameters of a page."""


def queries(by_change: Mapping[Span, Schema], *, strict: Span) -> Schemas:
    """Return the schemas of a query: its parameters by change; others are ignored before ``strict``."""

    def known(version: Version) -> Schema:
        counting = [change for change in by_change if version in change]
        newest = max(counting, key=lambda change: change.since, default=None)
        parameters = {} if newest is None else by_change[newest]
        return closed(parameters) | {"additionalProperties": version not in strict}

    return Schemas.changing(known, (strict, *by_change))


def is_true(value: object) -> bool:
    """Return what a value of ``BOOLEAN`` means."""
    return value is True or value in _TRUE


def whole(value: Any, name: str, *, low: int = 0, high: int = MOST) -> int:
    """Return what a value of ``NUMBER`` means.

    Raises:
        Invalid: it is too small or too great; ``name`` is the field.
    """
    number = int(value)
    if number < low:
        raise Invalid(
            f"Invalid input for field/attribute {name}. Value: {value}. "
            f"{value} is less than the minimum of {low}"
        )
    if number > high:
        raise Invalid(
            f"Invalid input for field/attribute {name}. Value: {value}. "
            f"{value} is greater than the maximum of {high}"
        )
    return number


def number_of(text: str) -> int | None:
    """Return the number of a path or a marker, or None if the text is none that a column holds."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= MOST:
        return int(text)
    return None


def moment_of(text: str, name: str) -> datetime:
    """Return the moment (UTC, without zone) that a parameter says in ISO 8601.

    Raises:
        Invalid: it is none.
    """
    try:
        # A plus sign that was not quoted arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{name}: {text!r} is not a time in ISO 8601") from error
