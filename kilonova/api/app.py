"""The Compute API as a WSGI application: how every request passes through it.

Owns headers, microversions, bodies, policy and faults; the tables of routes are in the resources' modules,
and how one is added is said in ``routing.py``.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import falcon
import msgspec

from kilonova.api import documents, faults, resources, versions
from kilonova.api.microversions import MAXIMUM, Version
from kilonova.api.routing import BODY, QUERY, Answer, Asked, Route
from kilonova.api.services import Services
from kilonova.core.context import RequestContext, log_under, new_request_id
from kilonova.core.errors import (
    Invalid,
    KilonovaError,
    MalformedBody,
    NotFound,
    TooLarge,
    UnsupportedMediaType,
)
from kilonova.http.identity import context_of

LOG = logging.getLogger(__name__)

LARGEST_BODY = 114_688
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
_MOUNT = "/v2.1"
"""Where every route is mounted, whichever root and project a request names."""
_LEGACY = "v2"
_OWN = "kilonova/v1"
"""The root of what is no part of the Compute API: it has no microversions."""
_ROOTS = (_LEGACY, "v2.1", _OWN)


class _NoRoute(Exception):
    """There is no such path, or not with this method."""


def _split(path: str) -> tuple[str, str] | None:
    """Return the API's root and what of a path is below it, or None for a path outside the API.

    What needs a token and what is routed are decided by this one function, so they cannot disagree.
    """
    asked = f"{path.lstrip('/')}/"
    for root in _ROOTS:
        if asked.startswith(f"{root}/"):
            return root, asked[len(root) : -1].lstrip("/")
    return None


def _below(root: str, rest: str) -> str:
    """Return the path to be routed.

    Raises:
        _NoRoute: it ends with a slash, which names nothing below a root.
    """
    if rest.endswith("/"):
        raise _NoRoute
    return f"{root}/{rest}" if rest else root


class _Conversation:
    """Gives each request its id, its microversion and its path; gives each answer its headers."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        split = _split(request.path)
        if split is None:
            return
        root, rest = split
        context = request.context
        context.began = time.monotonic()
        context.request_id = new_request_id()
        log_under(RequestContext(request_id=context.request_id))
        context.shown_path = request.path
        context.legacy = root == _LEGACY
        if root == _OWN:
            context.version = MAXIMUM
            request.path = _below(f"/{_OWN}", rest)
            return
        text = "2.1" if context.legacy else versions.asked_for(request.get_header)
        try:
            context.version = versions.negotiate(text)
        except KilonovaError as error:
            if error.status == 406:
                context.echo = text
            raise
        if not context.legacy:
            context.echo = versions.shown(context.version)
        first, _, below = rest.partition("/")
        if below and first not in self._known:
            context.project_in_path = first
            rest = below
        request.path = _below(_MOUNT, rest)

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        context = request.context
        if "request_id" not in context:
            return
        response.set_header("x-openstack-request-id", context.request_id)
        response.set_header("x-compute-request-id", context.request_id)
        echo = context.get("echo")
        if echo:
            response.set_header(versions.HEADER, f"compute {echo}")
            response.set_header(versions.LEGACY_HEADER, echo)
            response.append_header("Vary", versions.HEADER)
            response.append_header("Vary", versions.LEGACY_HEADER)
        LOG.info(
            '"%s %s" status: %s len: %s microversion: %s time: %.4f',
            request.method,
            context.shown_path,
            response.status_code,
            len(response.data or b""),
            echo or "-",
            time.monotonic() - context.began,
        )


class _Resource:
    """Passes the requests of one path to their handlers."""

    def __init__(self, routes: Sequence[Route], services: Services) -> None:
        self._services = services
        self._routes: defaultdict[str, list[Route]] = defaultdict(list)
        for route in routes:
            self._routes[route.method].append(route)
        for method in _METHODS:
            setattr(self, f"on_{method.lower()}", self._handle)

    def _handle(self, request: falcon.Request, response: falcon.Response, **params: str) -> None:
        if request.method not in self._routes:
            raise _NoRoute
        version: Version = request.context.version
        for route in self._routes[request.method]:
            if version in route.when:
                break
        else:
            raise NotFound("The resource could not be found.")
        if any("\0" in name for name in params.values()):
            raise NotFound("The resource could not be found.")
        context = context_of(request.env, request.context.request_id)
        log_under(context)
        _check_project(request, context)
        asked = Asked(self._services, context, version, request.prefix)
        asked.lenient = request.context.legacy
        asked.token = request.get_header("X-Auth-Token") or ""
        if route.rule is not None:
            asked.authorize(route.rule)
        asked.query = _query(request, route, version)
        if request.method in ("POST", "PUT"):
            asked.body = _body(request)
            if route.body is not None:
                route.body.check(asked.body, version, BODY, lenient=asked.lenient)
        _write(response, route.handler(asked, **params))


def _check_project(request: falcon.Request, context: RequestContext) -> None:
    named = request.context.get("project_in_path")
    if named is not None and named != context.project_id:
        raise Invalid(
            f"Malformed request URL: URL's project_id '{named}' doesn't match Context's project_id "
            f"'{context.project_id}'"
        )


def _query(request: falcon.Request, route: Route, version: Version) -> dict[str, list[str]]:
    query = falcon.uri.parse_query_string(request.query_string, keep_blank=True, csv=False)
    listed = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    _refuse_nul(listed, QUERY)
    route.query.check(listed, version, QUERY)
    return listed


def _refuse_nul(value: object, where: str) -> None:
    """Refuse the one character that no text column of every database holds."""
    if isinstance(value, str) and "\0" in value:
        raise Invalid(f"Invalid input for {BODY} {where}. It holds a NUL character")
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nul(name, where)
            _refuse_nul(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(inner, where)


def _body(request: falcon.Request) -> Any:
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLarge(f"Request is too large: the limit is {LARGEST_BODY} bytes.")
    # A body without a length is chunked; only a server that marks its end can be read to it.
    chunked = request.content_length is None and request.env.get("wsgi.input_terminated")
    stream = request.stream if chunked else request.bounded_stream
    text = stream.read(LARGEST_BODY + 1)
    if len(text) > LARGEST_BODY:
        raise TooLarge(f"Request is too large: the limit is {LARGEST_BODY} bytes.")
    if not text:
        return None
    kind = (request.content_type or "application/json").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/plain"):
        raise UnsupportedMediaType(f"Unsupported Content-Type: {kind}")
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"Malformed request body: {error}") from error
    if b"\\u0000" in text:
        _refuse_nul(body, "body")
    return body


def _write(response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    for name, value in answer.headers.items():
        response.set_header(name, value)
    if answer.lines is not None:
        response.content_type = "application/x-ndjson"
        response.stream = answer.lines
    elif answer.body is None:
        response.content_type = None if answer.status == 204 else falcon.MEDIA_JSON
    else:
        response.content_type = falcon.MEDIA_JSON
        response.data = msgspec.json.encode(answer.body)


def _fail(response: falcon.Response, status: int, message: str) -> None:
    response.status = status
    response.content_type = faults.JSON_UTF8
    response.data = faults.fault_body(status, message)


def _expected(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, KilonovaError):
        raise error
    if error.status >= 500:
        LOG.warning("%s %s: %s", request.method, request.path, error)
    if error.status == 500:
        _fail(response, 500, faults.unexpected(error))
    else:
        _fail(response, error.status, error.message)


def _no_route(
    request: falcon.Request, response: falcon.Response, _error: Exception, _params: Any
) -> None:
    if "request_id" not in request.context:
        response.status = 300
        response.content_type = falcon.MEDIA_JSON
        response.data = msgspec.json.encode(documents.choices(request.prefix, request.path))
        return
    request.context.echo = None
    response.status = 404
    response.content_type = faults.JSON_UTF8
    response.data = faults.NO_ROUTE


def _http(
    request: falcon.Request, response: falcon.Response, error: Exception, params: Any
) -> None:
    if not isinstance(error, falcon.HTTPError):
        raise error
    if error.status_code in (404, 405):
        _no_route(request, response, error, params)
    else:
        _fail(response, error.status_code, error.description or error.title or "")


def _unexpected(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("%s %s failed", request.method, request.path, exc_info=error)
    _fail(response, 500, faults.unexpected(error))


def create_app(services: Services) -> falcon.App:  # type: ignore[type-arg]
    """Return the application. Authentication stands before it (``kilonova.http.identity``)."""
    mounts = {_MOUNT: resources.ROUTES, f"/{_OWN}": resources.OWN_ROUTES}
    by_path: defaultdict[str, list[Route]] = defaultdict(list)
    for mount, routes in (*mounts.items(), (_MOUNT, resources.OLD_ROUTES)):
        for route in routes:
            by_path[mount + route.path].append(route)
    served = (*resources.ROUTES, *resources.OLD_ROUTES)
    known = frozenset(route.path.split("/")[1] for route in served)
    app = falcon.App(middleware=[_Conversation(known)])
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(_NoRoute, _no_route)
    app.add_error_handler(KilonovaError, _expected)
    app.add_route("/", documents.Root())
    app.add_route(_MOUNT, documents.Versioned())
    app.add_route(f"/{_OWN}", documents.Own())
    app.add_route(f"/{_OWN}/openapi.json", documents.OpenApi(mounts))
    for path, same_path in by_path.items():
        app.add_route(path, _Resource(same_path, services))
    return app


def is_public(path: str) -> bool:
    """Whether a path may be asked without a token: the version documents, and paths outside the API."""
    split = _split(path)
    return split is None or not split[1]
