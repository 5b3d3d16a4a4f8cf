"""The Placement service as a WSGI application: how a request passes to its handler, and errors out."""

import logging
from datetime import UTC
from typing import Any

import falcon
import msgspec
from oslo_config import cfg

from kilonova.core.clock import utcnow
from kilonova.core.context import new_request_id
from kilonova.core.errors import (
    Forbidden,
    Invalid,
    KilonovaError,
    MethodNotAllowed,
    NotFound,
)
from kilonova.db.engine import Database
from kilonova.db.placement_rounds import ClaimRounds
from kilonova.http.identity import context_of
from kilonova.placement.policies import Policy
from kilonova.placement.routes import ROUTES, Route
from kilonova.placement.wire import (
    VERSION_HEADER,
    Answer,
    Asked,
    error_body,
    negotiate,
    shown,
)

LOG = logging.getLogger(__name__)

_NOT_FOUND = "The resource could not be found."


class _Resource:
    """Passes the requests of one path to their handlers, in the order in which clients expect refusals:
    the method, the microversion, the media types, and then policy."""

    def __init__(
        self,
        routes: dict[str, Route],
        database: Database,
        rounds: ClaimRounds,
        policy: Policy,
        conf: cfg.ConfigOpts,
    ) -> None:
        self._routes = routes
        self._allow = ", ".join(routes)
        self._database = database
        self._rounds = rounds
        self._policy = policy
        self._conf = conf
        # All of them, so that falcon adds no OPTIONS of its own.
        for method in falcon.HTTP_METHODS:
            setattr(self, f"on_{method.lower()}", self._handle)

    def _handle(self, request: falcon.Request, response: falcon.Response, **params: str) -> None:
        route = self._route(request, response)
        context = context_of(request.env, request.context.request_id)
        asked = Asked(request, self._database, self._rounds, context, self._conf)
        if route.reads:
            asked.require_json()
        elif request.method == "GET":
            asked.require_accept()
        project = asked.parameters.get("project_id", [context.project_id])[-1]
        if route.rule and not self._policy.allows(route.rule, project, context):
            raise Forbidden(f"{route.rule} is disallowed by policy")
        _write(asked, response, route.handler(asked, **params))

    def _route(self, request: falcon.Request, response: falcon.Response) -> Route:
        route = self._routes.get(request.method)
        if route is not None and request.context.version >= route.since:
            return route
        if route is not None and not route.hidden_as_method:
            raise NotFound(_NOT_FOUND)
        response.set_header("allow", self._allow)
        raise MethodNotAllowed(f"The method {request.method} is not allowed for this resource.")


def _write(asked: Asked, response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    for name, value in answer.headers.items():
        response.set_header(name, value)
    if answer.body is not None:
        response.content_type = falcon.MEDIA_JSON
        response.data = msgspec.json.encode(answer.body)
    if asked.version >= (1, 15) and (answer.modified or answer.body is not None):
        response.last_modified = (answer.modified or utcnow()).replace(tzinfo=UTC)
        response.set_header("cache-control", "no-cache")


class _Conversation:
    """Gives each request its id and version, and each answer their headers."""

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        request.context.request_id = new_request_id()
        request.context.version = negotiate(request.get_header(VERSION_HEADER))
        length = request.env.get("CONTENT_LENGTH")
        if not length:
            return
        if not length.isascii() or not length.isdecimal():
            raise Invalid("content-length header must be an integer")
        if int(length) > 0 and not request.content_type:
            raise Invalid("content-type header required when content-length > 0")

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        response.set_header("x-openstack-request-id", request.context.request_id)
        response.append_header("vary", VERSION_HEADER.lower())
        if "version" in request.context:
            version = f"placement {shown(request.context.version)}"
            response.set_header(VERSION_HEADER.lower(), version)


def _known(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, KilonovaError):
        raise error
    if error.status >= 500:
        LOG.warning("%s %s: %s", request.method, request.path, error)
    _fail(request, response, error)


def _fail(request: falcon.Request, response: falcon.Response, error: KilonovaError) -> None:
    response.status = error.status
    response.content_type, response.data = error_body(error, request)


def _http(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, falcon.HTTPError):
        raise error
    missing = error.status_code == 404
    translated = KilonovaError(_NOT_FOUND if missing else error.description or error.title or "")
    translated.status = error.status_code  # type: ignore[misc]
    for name, value in (error.headers or {}).items():  # type: ignore[union-attr]
        response.set_header(name, value)
    _fail(request, response, translated)


def _unknown(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("%s %s failed", request.method, request.path, exc_info=error)
    _fail(request, response, KilonovaError(f"Unexpected error: {type(error).__name__}"))


def create_app(database: Database, policy: Policy, conf: cfg.ConfigOpts) -> falcon.App:  # type: ignore[type-arg]
    """Return the application. Authentication stands before it (``kilonova.http.identity``)."""
    rounds = ClaimRounds(database)
    app = falcon.App(middleware=[_Conversation()])
    # What has no body has no type.
    app.resp_options.default_media_type = None  # type: ignore[assignment]
    app.add_error_handler(Exception, _unknown)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(KilonovaError, _known)
    for path, routes in ROUTES.items():
        app.add_route(path, _Resource(routes, database, rounds, policy, conf))
    return app


def is_public(path: str) -> bool:
    """Whether a path may be asked without a token."""
    return path in ("", "/")
