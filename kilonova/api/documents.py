"""The documents by which clients find the API, its microversions and its routes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import falcon
import msgspec

from kilonova.api import openapi
from kilonova.api.microversions import MAXIMUM, MINIMUM, Version
from kilonova.api.routing import Route
from kilonova.api.versions import negotiate, shown

_UPDATED = "2013-07-23T11:33:21Z"
_TYPE = "application/vnd.openstack.compute+json;version=2.1"


def _version(host_url: str) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": shown(MAXIMUM),
        "min_version": shown(MINIMUM),
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{host_url}/v2.1/"}],
    }


def _legacy(host_url: str) -> dict[str, Any]:
    return {
        "id": "v2.0",
        "status": "SUPPORTED",
        "version": "",
        "min_version": "",
        "updated": "2011-01-21T11:33:21Z",
        "links": [{"rel": "self", "href": f"{host_url}/v2/"}],
    }


def choices(host_url: str, path: str) -> dict[str, Any]:
    """Return what a path outside the API is answered with (300)."""
    links = [{"rel": "self", "href": f"{host_url}/v2.1{path}"}]
    media = [{"base": "application/json", "type": _TYPE}]
    return {"choices": [{"id": "v2.1", "status": "CURRENT", "links": links, "media-types": media}]}


class Root:
    """``GET /``: every version."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer 200."""
        document = {"versions": [_legacy(request.prefix), _version(request.prefix)]}
        response.data = msgspec.json.encode(document)
        response.content_type = falcon.MEDIA_JSON


class Versioned:
    """``GET /v2.1`` and ``GET /v2``: this version."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer 200."""
        legacy = request.context.get("legacy")
        version = (_legacy if legacy else _version)(request.prefix)
        media = [{"base": "application/json", "type": _TYPE}]
        response.data = msgspec.json.encode({"version": version | {"media-types": media}})
        response.content_type = falcon.MEDIA_JSON


class Own:
    """``GET /kilonova/v1``: what is no part of the Compute API."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer 200."""
        links = [{"rel": "self", "href": f"{request.prefix}/kilonova/v1/"}]
        document = {"version": {"id": "v1", "status": "CURRENT", "links": links}}
        response.data = msgspec.json.encode(document)
        response.content_type = falcon.MEDIA_JSON


class OpenApi:
    """``GET /kilonova/v1/openapi.json``: every route, at the microversion ``version`` of the query."""

    def __init__(self, mounts: Mapping[str, Sequence[Route]]) -> None:
        self._encoded = lru_cache(maxsize=4)(self._encode)
        self._mounts = mounts

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer 200.

        Raises:
            Invalid, NotAcceptable: there is no such microversion.
        """
        version = negotiate(request.get_param("version") or "latest")
        response.data = self._encoded(version)
        response.content_type = falcon.MEDIA_JSON

    def _encode(self, version: Version) -> bytes:
        return msgspec.json.encode(openapi.describe(self._mounts, version))
