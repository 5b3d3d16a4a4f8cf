"""The calls of Keystone v3 that clients make, on loopback. A token reads ``user:project``, as in noauth2.

Source of the shapes: Identity API v3 reference, "Authentication and token management".
"""

import hmac
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import falcon
import msgspec

_NAMESPACE = uuid.UUID("c1f8e6a4-95d7-5d0f-8a37-6f2f3f0a9f11")
_ROLES = {"admin": ("admin", "member", "reader"), "demo": ("member", "reader")}
_REGION = "RegionOne"
_LIFETIME = timedelta(hours=24)


class Accounts(msgspec.Struct, kw_only=True):
    """Users and their passwords. Each user has a project of the same name."""

    passwords: dict[str, str]

    @classmethod
    def at(cls, path: Path) -> "Accounts":
        """Read them from a file that only its owner may read; make it with fresh passwords first."""
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=cls)
        made = cls(passwords={name: secrets.token_urlsafe(12) for name in _ROLES})
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(made))
        return made


def project_id(name: str) -> str:
    """Return the id of a user's project: the same on every machine."""
    return uuid.uuid5(_NAMESPACE, f"project/{name}").hex


def _moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _version(url: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{url}/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


class _Root:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.status = 300
        response.media = {"versions": {"values": [_version(request.prefix)]}}


class _V3:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"version": _version(request.prefix)}


def _unauthorized() -> falcon.HTTPUnauthorized:
    return falcon.HTTPUnauthorized(
        title="Unauthorized", description="The request you have made requires authentication."
    )


def _check_scope(scope: Any, user: str) -> None:
    """Refuse a project that is not the user's own; without a project it is that one."""
    if isinstance(scope, Mapping) and "project" in scope:
        project = scope["project"]
        if project.get("name", user) != user or project.get("id", project_id(user)) != project_id(
            user
        ):
            raise _unauthorized()


class _Tokens:
    def __init__(self, accounts: Accounts, endpoints: Mapping[str, str]) -> None:
        self._accounts = accounts
        self._endpoints = endpoints

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Issue a token for a password or a token."""
        try:
            auth = request.media["auth"]
            identity = auth["identity"]
            user = self._user(identity)
            _check_scope(auth.get("scope"), user)
        except (LookupError, TypeError, AttributeError) as error:
            raise falcon.HTTPBadRequest(description=f"auth.identity: {error} is missing") from error
        response.status = 201
        response.set_header("X-Subject-Token", f"{user}:{project_id(user)}")
        response.media = {"token": self._token(user, identity["methods"])}

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Show the token in X-Subject-Token."""
        user = (request.get_header("X-Subject-Token") or "").partition(":")[0]
        if user not in self._accounts.passwords:
            raise falcon.HTTPNotFound
        response.media = {"token": self._token(user, ["token"])}

    def _user(self, identity: Mapping[str, Any]) -> str:
        method = identity["methods"][0]
        if method == "token":
            user: str = identity["token"]["id"].partition(":")[0]
            if user in self._accounts.passwords:
                return user
        elif method == "password":
            asked = identity["password"]["user"]
            user = asked.get("name") or asked["id"]
            known = self._accounts.passwords.get(user, "")
            if known and hmac.compare_digest(known.encode(), str(asked["password"]).encode()):
                return user
        raise _unauthorized()

    def _token(self, user: str, methods: list[str]) -> dict[str, Any]:
        now = datetime.now(UTC)
        domain = {"id": "default", "name": "Default"}
        return {
            "methods": methods,
            "user": {"id": user, "name": user, "domain": domain, "password_expires_at": None},
            "project": {"id": project_id(user), "name": user, "domain": domain},
            "is_domain": False,
            "roles": [{"id": role, "name": role} for role in _ROLES[user]],
            "audit_ids": [secrets.token_urlsafe(16)],
            "issued_at": _moment(now),
            "expires_at": _moment(now + _LIFETIME),
            "catalog": [self._service(kind, url) for kind, url in self._endpoints.items()],
        }

    def _service(self, kind: str, url: str) -> dict[str, Any]:
        endpoints = [
            {
                "id": uuid.uuid5(_NAMESPACE, f"{kind}/{interface}").hex,
                "interface": interface,
                "region": _REGION,
                "region_id": _REGION,
                "url": url,
            }
            for interface in ("public", "internal", "admin")
        ]
        name = {"compute": "kilonova"}.get(kind, kind)
        identifier = uuid.uuid5(_NAMESPACE, kind).hex
        return {"id": identifier, "type": kind, "name": name, "endpoints": endpoints}


class _Projects:
    """``GET /v3/projects`` and ``/v3/auth/projects``, and one of them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def _view(self, name: str) -> dict[str, Any]:
        return {
            "id": project_id(name),
            "name": name,
            "domain_id": "default",
            "parent_id": "default",
            "enabled": True,
            "is_domain": False,
            "description": "",
            "tags": [],
            "links": {},
        }

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        wanted = request.get_param("name")
        names = [name for name in self._accounts.passwords if wanted in (None, name)]
        response.media = {"projects": [self._view(name) for name in names], "links": {}}

    def on_get_one(self, _request: falcon.Request, response: falcon.Response, wanted: str) -> None:
        for name in self._accounts.passwords:
            if project_id(name) == wanted:
                response.media = {"project": self._view(name)}
                return
        raise falcon.HTTPNotFound


def _error(
    _request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, falcon.HTTPError):
        raise error
    response.status = error.status_code
    response.media = {
        "error": {
            "code": error.status_code,
            "title": error.title,
            "message": error.description or error.title,
        }
    }


def create_app(accounts: Accounts, endpoints: Mapping[str, str]) -> Any:
    """Return the application. ``endpoints`` maps service types to URLs, for the catalog."""
    app = falcon.App()
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(falcon.HTTPError, _error)
    projects = _Projects(accounts)
    app.add_route("/", _Root())
    app.add_route("/v3", _V3())
    app.add_route("/v3/auth/tokens", _Tokens(accounts, endpoints))
    app.add_route("/v3/projects", projects)
    app.add_route("/v3/auth/projects", projects)
    app.add_route("/v3/projects/{wanted}", projects, suffix="one")
    return app
