"""The shape of Placement's HTTP: versions, requests, answers and errors. Knows no resource."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import falcon
import msgspec
from jsonschema import Draft202012Validator, ValidationError
from oslo_config import cfg

from kilonova.core.context import RequestContext
from kilonova.core.errors import (
    Invalid,
    KilonovaError,
    MalformedBody,
    NotAcceptable,
    TooLarge,
    UnsupportedMediaType,
)
from kilonova.db.engine import Database
from kilonova.db.placement_rounds import ClaimRounds

Version = tuple[int, int]
MINIMUM: Version = (1, 0)
MAXIMUM: Version = (1, 39)
"""The newest microversion; every change up to it holds."""

VERSION_HEADER = "OpenStack-API-Version"
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")
_UUID = re.compile(
    "[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\\1[0-9a-fA-F]{4}\\1[0-9a-fA-F]{4}\\1[0-9a-fA-F]{12}"
)
_JSON = "application/json"
_LONGEST_BODY = 64 << 20
"""Bytes. The allocations of 100,000 consumers fit."""
_MOST_PARAMETERS = 2000
_LONGEST_REASON = 600
"""Characters that an error quotes of what a client sent."""


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
    match = _VERSION.fullmatch(wanted)
    if match is None:
        raise Invalid(f"invalid version string: {wanted}")
    version = int(match[1]), int(match[2])
    if not MINIMUM <= version <= MAXIMUM:
        raise NotAcceptable(f"Unacceptable version header: {wanted}")
    return version


def validate(schema: Draft202012Validator, value: Any) -> None:
    """Refuse a value that is not what a schema says.

    Raises:
        MalformedBody: the sentence names the field.
    """
    for wrong in schema.iter_errors(value):
        raise MalformedBody(f"JSON does not validate: {_explained(wrong)}")


def _explained(wrong: ValidationError) -> str:
    """Return what is wrong, by which rule and in which field, bounded."""
    rule = "".join(f"[{step!r}]" for step in list(wrong.absolute_schema_path)[:-1])
    field = "".join(f"[{step!r}]" for step in wrong.absolute_path)
    return (
        f"{wrong.message[:_LONGEST_REASON]}\n\nFailed validating {wrong.validator!r} in "
        f"schema{rule[:_LONGEST_REASON]}\n\nOn instance{field[:_LONGEST_REASON]}"
    )


class Asked:
    """One request: what a handler needs of it."""

    def __init__(
        self,
        request: falcon.Request,
        database: Database,
        rounds: ClaimRounds,
        context: RequestContext,
        conf: cfg.ConfigOpts,
    ) -> None:
        self.http = request
        self.database = database
        self.rounds = rounds
        self.context = context
        self.conf = conf
        self.version: Version = request.context.version

    def body(self, schema: Draft202012Validator) -> Any:
        """Return the JSON body.

        Raises:
            Invalid: it is not JSON, or not what the schema says; the sentence names the field.
            TooLarge: nobody sends so much.
        """
        value = self._decoded()
        validate(schema, value)
        return value

    def raw(self) -> bytes:
        """Return the body as it came.

        Raises:
            TooLarge: nobody sends so much.
        """
        if (self.http.content_length or 0) > _LONGEST_BODY:
            raise TooLarge(f"The body has more than {_LONGEST_BODY} bytes.")
        return self.http.bounded_stream.read()

    def _decoded(self) -> Any:
        raw = self.raw()
        try:
            # No database stores NUL in a text, so no name may have one.
            if b"\\u0000" in raw:
                raise MalformedBody("Malformed JSON: a string has the character NUL")
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBody(f"Malformed JSON: {error}") from error

    @cached_property
    def parameters(self) -> dict[str, list[str]]:
        """What the query string says, by name; a name may be repeated.

        Raises:
            Invalid: it is no query string, or has more parameters than any client sends.
        """
        found: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(
                self.http.query_string,
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MOST_PARAMETERS,
            )
        except ValueError as error:
            raise Invalid(f"Invalid query string parameters: {error}") from error
        for name, value in pairs:
            if "\0" in value:
                raise Invalid(f"Invalid query string parameters: {name} has the character NUL")
            found.setdefault(name, []).append(value)
        return found

    def query(self, schema: Draft202012Validator) -> dict[str, str]:
        """Return the query's parameters, of those that are repeated the last.

        Raises:
            Invalid: they are not what the schema says; the sentence names the parameter.
        """
        values = {name: given[-1] for name, given in self.parameters.items()}
        for wrong in schema.iter_errors(values):
            raise Invalid(f"Invalid query string parameters: {_explained(wrong)}")
        return values

    def path(self, path: str) -> str:
        """Return a path of this service as links have it, under wherever it is mounted."""
        return self.http.root_path + path

    def location(self, path: str) -> dict[str, str]:
        """Return the header that says where a thing is."""
        return {"location": self.http.prefix + path}

    def require_json(self) -> None:
        """Refuse a body that does not say it is JSON.

        Raises:
            UnsupportedMediaType: it says something else.
        """
        sent = (self.http.content_type or "").partition(";")[0].strip().lower()
        if sent != _JSON:
            raise UnsupportedMediaType(
                f"The media type {sent or None} is not supported, use {_JSON}"
            )

    def require_accept(self) -> None:
        """Refuse a client that does not take JSON.

        Raises:
            NotAcceptable: it does not.
        """
        if not self.http.client_accepts(_JSON):
            raise NotAcceptable(f"Only {_JSON} is provided")


class Answer:
    """What a handler answers.

    ``modified`` (UTC without a zone) goes out as Last-Modified from 1.15 on; a body without one was made
    just now.
    """

    __slots__ = ("body", "headers", "modified", "status")

    def __init__(
        self,
        body: Any = None,
        status: int = 200,
        headers: dict[str, str] | None = None,
        modified: datetime | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers or {}
        self.modified = modified


Handler = Callable[..., Answer]


def latest(times: Sequence[datetime]) -> datetime | None:
    """Return the latest of some times, if there is any."""
    return max(times, default=None)


def is_uuid(text: object) -> bool:
    """Whether a text is a UUID, with its dashes or without."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


_CODES = {
    "generation_conflict": "placement.concurrent_update",
    "duplicate_name": "placement.duplicate_name",
    "inventory_in_use": "placement.inventory.inuse",
    "provider_in_use": "placement.resource_provider.inuse",
    "provider_has_children": "placement.resource_provider.cannot_delete_parent",
    "no_such_provider": "placement.resource_provider.not_found",
    "duplicate_parameter": "placement.query.duplicate_key",
    "bad_parameter": "placement.query.bad_value",
    "missing_parameter": "placement.query.missing_value",
}


def error_body(error: KilonovaError, request: falcon.Request) -> tuple[str, bytes]:
    """Return the media type and the body of an error, in a form that the client accepts.

    Clients read ``errors[0].detail`` and, from 1.23 on, ``errors[0].code``.
    """
    title = HTTPStatus(error.status).phrase
    if request.client_accepts(_JSON):
        return _JSON, msgspec.json.encode({"errors": [_entry(error, title, request)]})
    if request.client_accepts("text/html"):
        page = f"<html><head><title>{error.status} {title}</title></head><body>"
        page += f"<h1>{error.status} {title}</h1>{escape(error.message)}</body></html>"
        return "text/html; charset=UTF-8", page.encode()
    return "text/plain; charset=UTF-8", f"{error.status} {title}\n\n{error.message}\n".encode()


def _entry(error: KilonovaError, title: str, request: falcon.Request) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "status": error.status,
        "title": title,
        "detail": error.message,
        "request_id": request.context.get("request_id", ""),
    }
    version: Version | None = request.context.get("version")
    if version is not None and version >= (1, 23):
        entry["code"] = _CODES.get(error.code, "placement.undefined_code")
    if version is None and error.status == 406:
        entry["max_version"] = shown(MAXIMUM)
        entry["min_version"] = shown(MINIMUM)
    return entry
