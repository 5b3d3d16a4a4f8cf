"""The shape of Placement's HTTP: versions, requests, answers and errors. Knows no resource."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import falcon
import msgspec
from jsonschema import Draft202012Validator

from kilonova.core.context import RequestContext
from kilonova.core.errors import Invalid, KilonovaError, NotAcceptable
from kilonova.db.engine import Database

Version = tuple[int, int]
MINIMUM: Version = (1, 0)
MAXIMUM: Version = (1, 29)
"""The newest microversion whose every change holds for the routes that are served."""

VERSION_HEADER = "OpenStack-API-Version"
_VERSION = re.compile(r"^(\d+)\.(\d+)$")


def shown(version: Version) -> str:
    """Return a version as headers have it."""
    return f"{version[0]}.{version[1]}"


def negotiate(header: str | None) -> Version:
    """Return the version that a request asks for; without one, the oldest.

    Raises:
        Invalid: it is malformed.
        NotAcceptable: it is not served.
    """
    wanted = None
    for part in (header or "").split(","):
        service, _, value = part.strip().partition(" ")
        if service.lower() == "placement":
            wanted = value.strip()
    if wanted is None:
        return MINIMUM
    if wanted == "latest":
        return MAXIMUM
    match = _VERSION.match(wanted)
    if match is None:
        raise Invalid(f"invalid version string: {wanted}")
    version = int(match[1]), int(match[2])
    if not MINIMUM <= version <= MAXIMUM:
        raise NotAcceptable(f"Unacceptable version header: {wanted}")
    return version


class Asked:
    """One request: what a handler needs of it."""

    def __init__(
        self, request: falcon.Request, database: Database, context: RequestContext
    ) -> None:
        self.http = request
        self.database = database
        self.context = context
        self.version: Version = request.context.version

    def body(self, schema: Draft202012Validator) -> Any:
        """Return the JSON body.

        Raises:
            Invalid: it is not JSON, or not what the schema says; the sentence names the field.
        """
        try:
            value = msgspec.json.decode(self.http.bounded_stream.read())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"Malformed JSON: {error}") from error
        for wrong in schema.iter_errors(value):
            where = ".".join(str(step) for step in wrong.absolute_path) or "the body"
            raise Invalid(f"JSON does not validate: {where}: {wrong.message}")
        return value


class Answer:
    """What a handler answers."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: Any = None, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers or {}


Handler = Callable[..., Answer]

_CODES = {
    "generation_conflict": "placement.concurrent_update",
    "no_capacity": "placement.undefined_code",
}


def error_body(error: KilonovaError, request: falcon.Request) -> bytes:
    """Return the body of an error: clients read ``errors[0].detail``."""
    entry: dict[str, Any] = {
        "status": error.status,
        "title": HTTPStatus(error.status).phrase,
        "detail": error.message,
        "request_id": request.context.get("request_id", ""),
    }
    version: Version = request.context.get("version") or MINIMUM
    if version >= (1, 23):
        entry["code"] = _CODES.get(error.code, "placement.undefined_code")
    if error.status == 406:
        entry["max_version"] = shown(MAXIMUM)
        entry["min_version"] = shown(MINIMUM)
    return msgspec.json.encode({"errors": [entry]})
