"""What every answer of the Compute API must look like, checked on each that a test receives.

``ANSWERS`` says by hand, route by route, what a success is; it shares nothing with the code that it
checks. Source: Compute API reference and its history of microversions.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from kilonova.api.resources import ROUTES
from tests.functional.api.answers import accounts, hosts, moves, networks, servers, volumes
from tests.functional.api.answers.shapes import Version
from tests.functional.api.answers.told import Told

ANSWERS: dict[str, Told] = (
    servers.ANSWERS
    | moves.ANSWERS
    | networks.ANSWERS
    | hosts.ANSWERS
    | accounts.ANSWERS
    | volumes.ANSWERS
)

_FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_MAKES = {"POST /servers": "/servers/", "POST /servers/{server_id}/action rebuild": "/servers/"}
"""What says where to find what it made, and of which form that is."""
_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = "OpenStack-API-Version"
_OLD_VERSION = "X-OpenStack-Nova-API-Version"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{\w+}", "[^/]+", path))


_PATHS = sorted(
    {(route.method, route.path) for route in ROUTES}, key=lambda pair: (pair[1].count("{"), pair)
)
_PATTERNS = [(method, _pattern(path), path) for method, path in _PATHS]


class Asked:
    """What a test asked: ``path`` is below the versioned root and may have a query."""

    def __init__(self, method: str, path: str, body: Any, version: Version) -> None:
        self.method = method
        self.path = path.partition("?")[0].rstrip("/")
        self.body = body
        self.version = version

    @property
    def route(self) -> str:
        """The key of ``ANSWERS``; empty for a path that is none."""
        for method, pattern, path in _PATTERNS:
            if method == self.method and pattern.fullmatch(self.path):
                action = f" {next(iter(self.body))}" if path.endswith("/action") else ""
                return f"{method} {path}{action}"
        return ""


class Answered:
    """What came back. Names of headers are in any letter case."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.content = content


def wrong_with(asked: Asked, answered: Answered) -> str | None:
    """Return what is wrong with an answer, or None. Answers without a token are another's."""
    if answered.status == 401:
        return None
    if answered.status >= 400:
        return wrong_fault(answered)
    told = ANSWERS.get(asked.route)
    if told is None:
        return f"nobody has said what {asked.method} {asked.path} is told"
    statuses = told.statuses_at(asked.version)
    if answered.status not in statuses:
        return f"status {answered.status} instead of {statuses}"
    return _wrong_headers(asked, answered) or _wrong_body(told, asked, answered)


def _wrong_body(told: Told, asked: Asked, answered: Answered) -> str | None:
    if not told.has_body_at(asked.version):
        return f"a body: {answered.content!r}" if answered.content else None
    if told.or_nothing and not answered.content:
        return None
    kind = answered.headers.get("content-type")
    if kind != "application/json":
        return f"Content-Type {kind}"
    return told.wrong_with(json.loads(answered.content), asked.version)


def _wrong_headers(asked: Asked, answered: Answered) -> str | None:
    headers, shown = answered.headers, ".".join(map(str, asked.version))
    wanted = {_VERSION.lower(): f"compute {shown}", _OLD_VERSION.lower(): shown}
    wrong = {name for name, value in wanted.items() if headers.get(name) != value}
    ids = {headers.get(f"x-{name}-request-id", "") for name in ("openstack", "compute")}
    if len(ids) != 1 or not _REQUEST_ID.fullmatch(ids.pop()):
        wrong.add("request id")
    vary = headers.get("vary", "")
    if _VERSION not in vary or _OLD_VERSION not in vary:
        wrong.add("Vary")
    if asked.route in _MAKES and _MAKES[asked.route] not in headers.get("location", "/servers/"):
        wrong.add("Location")
    return f"headers {sorted(wrong)}: {headers}" if wrong else None


def wrong_fault(answered: Answered) -> str | None:
    """Return what is wrong with the form of a fault, or None."""
    if answered.headers.get("content-type") != "application/json; charset=UTF-8":
        return f"Content-Type {answered.headers.get('content-type')}"
    body = json.loads(answered.content)
    if answered.status == 404 and body.keys() == {"message", "code", "title"}:
        return None
    name = _FAULTS.get(answered.status, "computeFault")
    late = {"retryAfter"} if answered.status in (413, 429) else set()
    if body.keys() != {name} or body[name].keys() != {"code", "message"} | late:
        return f"a fault of another shape: {body}"
    if body[name]["code"] != answered.status or not body[name]["message"]:
        return f"a fault that says something else: {body}"
    return None
