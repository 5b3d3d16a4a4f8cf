"""Who asks: the one place that turns authentication headers into a ``RequestContext``.

Two WSGI middlewares set the same ``X-*`` headers: keystonemiddleware's, and ``NoAuth`` for a deployment
on loopback. Applications read only the headers, through ``context_of``.
"""

import json
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from oslo_config import cfg

from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import ProjectId, RequestId, UserId

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_IDENTITY_HEADERS = (
    "HTTP_X_USER_ID",
    "HTTP_X_PROJECT_ID",
    "HTTP_X_IDENTITY_STATUS",
    "HTTP_X_USER_NAME",
    "HTTP_X_PROJECT_NAME",
)


class NoAuth:
    """WSGI middleware: believes the token, which reads ``user[:project]``.

    The project defaults to ``X-Project-Id``, else to the user; a client that asks under
    ``OpenStack-System-Scope`` has none. Roles come from ``X-Roles``, else are ``admin`` (and what it
    implies) for user ``admin``, else ``default_roles``. Paths in ``public`` need no token.
    """

    def __init__(
        self, app: Wsgi, *, public: Callable[[str], bool], default_roles: tuple[str, ...] = ()
    ) -> None:
        self._app = app
        self._public = public
        self._default_roles = default_roles

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        named = environ.get("HTTP_X_PROJECT_ID")
        for header in _IDENTITY_HEADERS:
            environ.pop(header, None)
        user, _, project = environ.get("HTTP_X_AUTH_TOKEN", "").partition(":")
        if not user:
            if self._public(environ.get("PATH_INFO", "")):
                return self._app(environ, start_response)
            return unauthorized(start_response)
        roles = environ.get("HTTP_X_ROLES")
        if roles is None:
            roles = "admin,member,reader" if user == "admin" else ",".join(self._default_roles)
        environ["HTTP_X_USER_ID"] = user
        if not environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE"):
            environ["HTTP_X_PROJECT_ID"] = project or named or user
        environ["HTTP_X_ROLES"] = roles
        environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
        return self._app(environ, start_response)


def unauthorized(start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer 401 in the shape that keystonemiddleware's 401 has."""
    body = json.dumps(
        {"error": {"code": 401, "title": "Unauthorized", "message": "Authentication required"}}
    ).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("401 Unauthorized", headers)
    return [body]


def authenticated(
    app: Wsgi,
    conf: cfg.ConfigOpts,
    *,
    public: Callable[[str], bool],
    default_roles: tuple[str, ...] = (),
) -> Wsgi:
    """Return ``app`` behind the middleware that ``[api] auth_strategy`` names.

    ``public`` says for a path whether it may be asked without a token.
    """
    if conf.api.auth_strategy == "noauth2":
        return NoAuth(app, public=public, default_roles=default_roles)
    # Imported here: it costs half a second, and a noauth2 service never needs it.
    from keystonemiddleware import auth_token  # noqa: PLC0415

    guarded: Wsgi = auth_token.AuthProtocol(app, {"oslo_config_config": conf})

    def choose(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if public(environ.get("PATH_INFO", "")):
            return app(environ, start_response)
        return guarded(environ, start_response)

    return choose


def context_of(environ: dict[str, Any], request_id: RequestId) -> RequestContext:
    """Return the context of a request whose authentication headers are set."""

    def header(name: str) -> str:
        # keystonemiddleware sets a header to None when the token has no such thing.
        return environ.get(f"HTTP_{name}") or ""

    return RequestContext(
        request_id=request_id,
        global_request_id=header("X_OPENSTACK_REQUEST_ID"),
        user_id=UserId(header("X_USER_ID")),
        project_id=ProjectId(header("X_PROJECT_ID")),
        roles=tuple(r.strip().lower() for r in header("X_ROLES").split(",") if r.strip()),
        system_scope=header("OPENSTACK_SYSTEM_SCOPE"),
        trace=header("TRACEPARENT"),
    )


class OpenToAnybody(KilonovaError):
    """A service without authentication was told to listen beyond this machine."""

    code = "open_to_anybody"


def refuse_open_noauth(conf: cfg.ConfigOpts, bind_host: str, section: str) -> None:
    """Refuse to serve ``noauth2`` on an address that others reach, unless told so by name.

    Raises:
        OpenToAnybody: naming the options that decide it.
    """
    if conf.api.auth_strategy != "noauth2" or conf.allow_noauth_on_any_address:
        return
    if bind_host == "localhost":
        return
    try:
        loopback = ip_address(bind_host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise OpenToAnybody(
            f"[{section}] bind_host = {bind_host} is not a loopback address, and with [api] "
            "auth_strategy = noauth2 anybody who reaches it is whoever they say they are. Use "
            "auth_strategy = keystone, bind to 127.0.0.1, or set allow_noauth_on_any_address = true."
        )
