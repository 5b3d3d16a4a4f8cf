"""The Placement service as a WSGI application: one table of routes, and how a request passes through it."""

import logging
from typing import Any

import falcon
import msgspec
from oslo_policy import policy

from kilonova.core.context import new_request_id
from kilonova.core.errors import Forbidden, KilonovaError, NotFound
from kilonova.db.engine import Database
from kilonova.http.identity import context_of
from kilonova.placement import allocations, candidates, names, providers
from kilonova.placement.wire import (
    MAXIMUM,
    MINIMUM,
    VERSION_HEADER,
    Answer,
    Asked,
    Handler,
    Version,
    error_body,
    negotiate,
    shown,
)

LOG = logging.getLogger(__name__)

Route = tuple[Version, str, Handler]
_PROVIDER = "placement:resource_providers"

ROUTES: dict[str, dict[str, Route]] = {
    "/resource_classes": {
        "GET": ((1, 2), "placement:resource_classes:list", names.list_classes),
        "POST": ((1, 2), "placement:resource_classes:create", names.create_class),
    },
    "/resource_classes/{name}": {
        "GET": ((1, 2), "placement:resource_classes:show", names.show_class),
        "PUT": ((1, 7), "placement:resource_classes:update", names.put_class),
    },
    "/traits": {"GET": ((1, 6), "placement:traits:list", names.list_traits)},
    "/traits/{name}": {
        "GET": ((1, 6), "placement:traits:show", names.show_trait),
        "PUT": ((1, 6), "placement:traits:update", names.put_trait),
    },
    "/resource_providers": {
        "GET": ((1, 0), f"{_PROVIDER}:list", providers.list_providers),
        "POST": ((1, 0), f"{_PROVIDER}:create", providers.create),
    },
    "/resource_providers/{uuid}": {
        "GET": ((1, 0), f"{_PROVIDER}:show", providers.show),
        "PUT": ((1, 0), f"{_PROVIDER}:update", providers.update),
        "DELETE": ((1, 0), f"{_PROVIDER}:delete", providers.delete),
    },
    "/resource_providers/{uuid}/inventories": {
        "GET": ((1, 0), f"{_PROVIDER}:inventories:list", providers.list_inventories),
        "PUT": ((1, 0), f"{_PROVIDER}:inventories:update", providers.set_inventories),
    },
    "/resource_providers/{uuid}/inventories/{name}": {
        "GET": ((1, 0), f"{_PROVIDER}:inventories:show", providers.show_inventory),
    },
    "/resource_providers/{uuid}/traits": {
        "GET": ((1, 6), f"{_PROVIDER}:traits:list", providers.list_traits),
        "PUT": ((1, 6), f"{_PROVIDER}:traits:update", providers.set_traits),
    },
    "/resource_providers/{uuid}/aggregates": {
        "GET": ((1, 1), f"{_PROVIDER}:aggregates:list", providers.list_aggregates),
        "PUT": ((1, 1), f"{_PROVIDER}:aggregates:update", providers.set_aggregates),
    },
    "/resource_providers/{uuid}/usages": {
        "GET": ((1, 0), f"{_PROVIDER}:usages", providers.usages),
    },
    "/resource_providers/{uuid}/allocations": {
        "GET": ((1, 0), f"{_PROVIDER}:allocations:list", providers.list_allocations),
    },
    "/allocations": {"POST": ((1, 13), "placement:allocations:manage", allocations.change_many)},
    "/allocations/{consumer}": {
        "GET": ((1, 0), "placement:allocations:list", allocations.show),
        "PUT": ((1, 0), "placement:allocations:update", allocations.update),
        "DELETE": ((1, 0), "placement:allocations:delete", allocations.delete),
    },
    "/allocation_candidates": {
        "GET": ((1, 10), "placement:allocation_candidates:list", candidates.list_candidates),
    },
    "/usages": {"GET": ((1, 9), "placement:usages", allocations.usages)},
    "/kilonova/v1/claims": {"POST": ((1, 0), "kilonova:placement:claims", allocations.claim)},
}
"""Path -> method -> (the microversion it came with, its policy rule, its handler)."""


class _Resource:
    """Passes the requests of one path to their handlers."""

    def __init__(
        self, routes: dict[str, Route], database: Database, enforcer: policy.Enforcer
    ) -> None:
        self._routes = routes
        self._database = database
        self._enforcer = enforcer
        for method in routes:
            setattr(self, f"on_{method.lower()}", self._handle)

    def _handle(self, request: falcon.Request, response: falcon.Response, **params: str) -> None:
        since, rule, handler = self._routes[request.method]
        if request.context.version < since:
            raise NotFound("The resource could not be found.")
        context = context_of(request.env, request.context.request_id)
        asked = Asked(request, self._database, context)
        target = {"project_id": request.get_param("project_id") or context.project_id}
        credentials = {
            "user_id": context.user_id,
            "project_id": context.project_id,
            "roles": list(context.roles),
        }
        if not self._enforcer.enforce(rule, target, credentials):
            raise Forbidden(f"{rule} is disallowed by policy")
        _write(response, handler(asked, **params))


def _write(response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    for name, value in answer.headers.items():
        response.set_header(name, value)
    if answer.body is not None:
        response.content_type = falcon.MEDIA_JSON
        response.data = msgspec.json.encode(answer.body)
    elif answer.status == 204:
        response.content_type = None


class _Root:
    """The version document, which needs no token."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        version = {
            "id": "v1.0",
            "min_version": shown(MINIMUM),
            "max_version": shown(MAXIMUM),
            "status": "CURRENT",
            "links": [{"rel": "self", "href": ""}],
        }
        response.data = msgspec.json.encode({"versions": [version]})
        response.content_type = falcon.MEDIA_JSON


class _Conversation:
    """Gives each request its id and version, and each answer their headers."""

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        request.context.request_id = new_request_id()
        request.context.version = negotiate(request.get_header(VERSION_HEADER))

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        response.set_header("x-openstack-request-id", request.context.request_id)
        if "version" in request.context:
            response.set_header(
                VERSION_HEADER.lower(), f"placement {shown(request.context.version)}"
            )
            response.set_header("vary", VERSION_HEADER.lower())


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
    response.content_type = falcon.MEDIA_JSON
    response.data = error_body(error, request)


def _http(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, falcon.HTTPError):
        raise error
    translated = KilonovaError(error.description or error.title or "")
    translated.status = error.status_code  # type: ignore[misc]
    for name, value in (error.headers or {}).items():  # type: ignore[union-attr]
        response.set_header(name, value)
    _fail(request, response, translated)


def _unknown(
    request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("%s %s failed", request.method, request.path, exc_info=error)
    _fail(request, response, KilonovaError(f"Unexpected error: {type(error).__name__}"))


def create_app(database: Database, enforcer: policy.Enforcer) -> falcon.App:  # type: ignore[type-arg]
    """Return the application. Authentication stands before it (``kilonova.http.identity``)."""
    app = falcon.App(middleware=[_Conversation()])
    app.add_error_handler(Exception, _unknown)
    app.add_error_handler(falcon.HTTPError, _http)
    app.add_error_handler(KilonovaError, _known)
    app.add_route("/", _Root())
    for path, routes in ROUTES.items():
        app.add_route(path, _Resource(routes, database, enforcer))
    return app


def is_public(path: str) -> bool:
    """Whether a path may be asked without a token."""
    return path in ("", "/")
