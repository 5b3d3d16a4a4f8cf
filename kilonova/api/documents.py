"""The version documents, by which clients find the API and its microversions."""

from typing import Any

import falcon
import msgspec

from kilonova.api.versions import MAXIMUM, MINIMUM, shown

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
