"""The metadata service: answers each guest what it is told. Both trees are served: OpenStack's and EC2's.

A pure application; who listens where, and how it is known which guest asks, is whose it is to say.
"""

from collections.abc import Callable
from typing import Any

import falcon

from kilonova.http.identity import Wsgi
from kilonova.http.metadata import ec2, openstack
from kilonova.http.metadata.openstack import Told

ADDRESS = "169.254.169.254"
PORT = 80

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


def create_app(told_of: Callable[[falcon.Request], Told | None]) -> Wsgi:
    """Return the application; ``told_of`` gives what is told to who sent a request, None for nobody.

    It may raise ``falcon.HTTPError``.
    """

    def answer(req: falcon.Request, resp: falcon.Response, **_: Any) -> None:
        if req.method not in ("GET", "HEAD"):
            raise falcon.HTTPMethodNotAllowed(["GET", "HEAD"])
        told = told_of(req)
        found = None if told is None else find(told, req.path)
        if found is None:
            raise falcon.HTTPNotFound
        resp.content_type = _JSON if req.path.endswith(".json") else _TEXT
        resp.data = found

    app = falcon.App()
    app.add_sink(answer)
    return app


def find(told: Told, path: str) -> bytes | None:
    """Return what is at a path: a document, a value, or the names below; None if there is nothing."""
    first, *rest = [part for part in path.split("/") if part] or [""]
    if not first:
        return _list((*ec2.VERSIONS,))
    if first == "openstack":
        return _openstack(told, rest)
    if first in ec2.VERSIONS:
        return ec2.find(ec2.tree(told), "/".join(rest))
    return None


def _openstack(told: Told, rest: list[str]) -> bytes | None:
    match rest:
        case []:
            return _list(openstack.VERSIONS)
        case ["content", name]:
            return openstack.contents(told).get(name)
        case [version] if version in openstack.VERSIONS:
            return _list(tuple(openstack.documents(told, version)))
        case [version, name] if version in openstack.VERSIONS:
            document = openstack.documents(told, version).get(name)
            return None if document is None else document()
    return None


def _list(names: tuple[str, ...]) -> bytes:
    return "\n".join(names).encode()
