"""The calls of the Image API v2 that clients make, over a directory of images.

Source of the shapes: Image API v2 reference.
"""

import uuid
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode

import falcon
import msgspec

from kilonova.core.context import RequestContext, new_request_id
from kilonova.core.errors import Forbidden, Invalid, KilonovaError, NotFound
from kilonova.embedded.image_files import BASE, Document, ImageFiles
from kilonova.http.identity import context_of

_FIXED = frozenset(
    {"id", "owner", "status", "size", "virtual_size", "checksum", "created_at", "updated_at",
     "os_hash_algo", "os_hash_value", "self", "file", "schema", "direct_url", "locations"}
)  # fmt: skip
_NO_PROPERTY = frozenset(
    {"name", "id", "status", "visibility", "owner", "disk_format", "container_format", "os_hidden",
     "limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "tag", "size_min", "size_max",
     "protected", "created_at", "updated_at"}
)  # fmt: skip
"""Parameters of a list that are not properties of images; those that are not heeded among them."""
_LIMIT = 25
_VISIBILITIES = ("public", "community", "shared", "private")


def _context(request: falcon.Request) -> RequestContext:
    return context_of(request.env, new_request_id())


def _sees(context: RequestContext, image: Document) -> bool:
    open_ = image["visibility"] in ("public", "community")
    return context.is_admin or open_ or image["owner"] == context.project_id


def _find(store: ImageFiles, request: falcon.Request, image_id: str, *, change: bool) -> Document:
    context = _context(request)
    image = store.get(image_id)
    if not _sees(context, image):
        raise NotFound(f"No image found with ID {image_id}")
    if change and image["owner"] != context.project_id and not context.is_admin:
        raise Forbidden(f"Image {image_id} is another project's")
    return image


class _Versions:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        links = [{"rel": "self", "href": f"{request.prefix}/v2/"}]
        response.status = 300
        response.media = {
            "versions": [
                {"id": "v2.9", "status": "CURRENT", "links": links},
                {"id": "v2.0", "status": "SUPPORTED", "links": links},
            ]
        }


class _Images:
    def __init__(self, store: ImageFiles) -> None:
        self._store = store

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """List what the asker sees, filtered and paged."""
        context = _context(request)
        found = [image for image in self._store.list() if _sees(context, image)]
        found = [image for image in found if _wanted(request, image)]
        marker = request.get_param("marker")
        if marker is not None:
            ids = [image["id"] for image in found]
            if marker not in ids:
                raise Invalid(f"marker: there is no image {marker}")
            found = found[ids.index(marker) + 1 :]
        limit = request.get_param_as_int("limit", min_value=0)
        limit = _LIMIT if limit is None else limit
        body: dict[str, Any] = {
            "images": found[:limit],
            "first": "/v2/images",
            "schema": "/v2/schemas/images",
        }
        if len(found) > limit > 0:
            following = {**request.params, "limit": limit, "marker": found[limit - 1]["id"]}
            body["next"] = f"/v2/images?{urlencode(following, doseq=True)}"
        response.media = body

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Create an image without data."""
        wanted = request.media
        if not isinstance(wanted, dict):
            raise Invalid("The body is not an object")
        context = _context(request)
        _check(wanted, context)
        fixed = sorted(_FIXED & set(wanted) - {"id", "owner"})
        if fixed:
            raise Forbidden(f"Attribute '{fixed[0]}' is read-only.")
        named = wanted.pop("owner", None)
        owner = named if context.is_admin else None
        image = self._store.create(wanted, owner or context.project_id)
        response.status = 201
        response.set_header("Location", f"{request.prefix}/v2/images/{image['id']}")
        response.media = image


def _check(values: dict[str, Any], context: RequestContext) -> None:
    if values.get("visibility", "shared") not in _VISIBILITIES:
        raise Invalid(f"visibility: {values['visibility']!r} is none of {', '.join(_VISIBILITIES)}")
    for name in ("min_ram", "min_disk"):
        if not isinstance(values.get(name, 0), int) or values.get(name, 0) < 0:
            raise Invalid(f"{name}: {values[name]!r} is not a number that is 0 or more")
    if "id" in values and not _is_uuid(values["id"]):
        raise Invalid(f"id: {values['id']!r} is not a UUID")
    if values.get("visibility") == "public" and not context.is_admin:
        raise Forbidden("Only administrators publicize images")


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _wanted(request: falcon.Request, image: Document) -> bool:
    if image["os_hidden"] != (request.get_param("os_hidden", default="false").lower() == "true"):
        return False
    for name in ("name", "id", "status", "visibility", "owner", "disk_format", "container_format"):
        wanted = request.get_param(name)
        if wanted is None or (name == "visibility" and wanted == "all"):
            continue
        if wanted.startswith("in:"):
            if image[name] not in [part.strip('"') for part in wanted[3:].split(",")]:
                return False
        elif image[name] != wanted:
            return False
    # Whatever else is asked for is a property.
    asked = {name: str(value) for name, value in request.params.items() if name not in _NO_PROPERTY}
    return all(str(image.get(name)) == value for name, value in asked.items())


class _Image:
    def __init__(self, store: ImageFiles) -> None:
        self._store = store

    def on_get(self, request: falcon.Request, response: falcon.Response, image_id: str) -> None:
        response.media = _find(self._store, request, image_id, change=False)

    def on_delete(self, request: falcon.Request, response: falcon.Response, image_id: str) -> None:
        _find(self._store, request, image_id, change=True)
        self._store.delete(image_id)
        response.status = 204

    def on_patch(self, request: falcon.Request, response: falcon.Response, image_id: str) -> None:
        """Apply add, replace and remove of a JSON patch."""
        _find(self._store, request, image_id, change=True)
        try:
            patch = msgspec.json.decode(request.bounded_stream.read(), type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise Invalid(f"The body is no JSON patch: {error}") from error
        values: dict[str, Any] = {}
        removed = set()
        for step in patch:
            name = str(step.get("path", "")).lstrip("/").replace("~1", "/").replace("~0", "~")
            if name in _FIXED or not name:
                raise Forbidden(f"Attribute '{name}' is read-only.")
            if step.get("op") == "remove":
                if name in BASE:
                    raise Forbidden(f"Attribute '{name}' cannot be removed.")
                removed.add(name)
            elif step.get("op") in ("add", "replace"):
                values[name] = step.get("value")
            else:
                raise Invalid(f"op: {step.get('op')!r} is none of add, replace, remove")
        _check(values, _context(request))
        response.media = self._store.change(image_id, values, frozenset(removed))


class _File:
    def __init__(self, store: ImageFiles) -> None:
        self._store = store

    def on_put(self, request: falcon.Request, response: falcon.Response, image_id: str) -> None:
        _find(self._store, request, image_id, change=True)
        self._store.upload(image_id, cast(BinaryIO, request.bounded_stream))
        response.status = 204

    def on_get(self, request: falcon.Request, response: falcon.Response, image_id: str) -> None:
        image = _find(self._store, request, image_id, change=False)
        path = self._store.data(image_id)
        if path is None:
            response.status = 204
            return
        response.content_type = "application/octet-stream"
        response.set_header("Content-MD5", image["checksum"])
        response.set_stream(path.open("rb"), path.stat().st_size)


class _Schema:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.media = {
            "name": "image",
            "properties": {},
            "additionalProperties": {"type": "string"},
        }


def _error(
    _request: falcon.Request, response: falcon.Response, error: Exception, _params: Any
) -> None:
    if not isinstance(error, KilonovaError):
        raise error
    response.status = error.status
    response.content_type = "text/html; charset=UTF-8"
    response.text = f"<html><body><h1>{error.status}</h1>{error.message}</body></html>"


def create_app(store: ImageFiles) -> Any:
    """Return the application. Authentication stands before it (``kilonova.http.identity``)."""
    app = falcon.App()
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(KilonovaError, _error)
    app.add_route("/", _Versions())
    app.add_route("/v2/images", _Images(store))
    app.add_route("/v2/images/{image_id}", _Image(store))
    app.add_route("/v2/images/{image_id}/file", _File(store))
    app.add_route("/v2/schemas/image", _Schema())
    return app


def is_public(path: str) -> bool:
    """Whether a path may be asked without a token."""
    return path in ("", "/")
