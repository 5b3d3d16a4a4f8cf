"""The image store as services see it: a client of the Image API v2, Glance's or the embedded one."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlencode

import msgspec
import requests
from cachetools import TTLCache
from keystoneauth1 import adapter, exceptions
from oslo_config import cfg

from kilonova.core.context import RequestContext
from kilonova.core.errors import ImageStoreUnavailable, Invalid, NotFound
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.http import peers

_TIMEOUT = 30.0
_CHUNK = 1 << 20
_WITHOUT_DATA = ("queued", "saving")
"""The statuses of images that are not filled yet."""
_FRESH = 5.0
"""Seconds for which what is known of an active image is taken as true; its data never changes."""
_MOST_SEEN = 1000
_IMAGES = "/v2/images"
_PATCHES = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
_BYTES = {"Content-Type": "application/octet-stream"}
_KNOWN = frozenset(
    {
        "id", "name", "status", "size", "virtual_size", "min_ram", "min_disk", "disk_format",
        "container_format", "checksum", "os_hash_algo", "os_hash_value", "owner", "visibility",
        "created_at", "updated_at", "protected", "tags", "self", "file", "schema", "locations",
        "direct_url", "stores", "os_hidden",
    }
)  # fmt: skip


def load(conf: cfg.ConfigOpts) -> "ImageStore":
    """Return a client from ``[glance]``, whose options are keystoneauth1's."""
    return ImageStore(peers.found_by(conf, "glance", "image"))


class Sink(Protocol):
    """What an image's data is written into."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


class ImageStore:
    """An image store, asked with the service's own credentials."""

    def __init__(self, http: adapter.Adapter) -> None:
        self._http = http
        self._seen: TTLCache[ImageId, Image] = TTLCache(_MOST_SEEN, _FRESH)
        self._lock = threading.Lock()

    def get(self, context: RequestContext, image_id: ImageId) -> Image:
        """Return an image that the asker may use.

        Raises:
            NotFound: there is none, or it is another project's.
            ImageStoreUnavailable: no answer.
        """
        image = self._remembered(image_id)
        private = image.visibility not in ("public", "community", "shared")
        if private and image.owner != context.project_id and not context.is_admin:
            raise NotFound(f"Image {image_id} could not be found.")
        return image

    def _remembered(self, image_id: ImageId) -> Image:
        """Return an image as it was at most ``_FRESH`` seconds ago: many servers are made of few images."""
        with self._lock:
            image = self._seen.get(image_id)
        if image is None:
            answer = self._ask(f"{_IMAGES}/{image_id}")
            if answer.status_code in (400, 404):
                raise NotFound(f"Image {image_id} could not be found.")
            image = image_of(answer.json())
            if image.status == "active":
                with self._lock:
                    self._seen[image_id] = image
        return image

    def download(self, image_id: ImageId, into: Sink) -> None:
        """Write an image's data into a file.

        Raises:
            NotFound: there is no such image, or it has no data.
            ImageStoreUnavailable: no answer, or it broke off.
            OSError: the file cannot be written. What else ``into`` raises ends the download, too.
        """
        answer = self._ask(f"{_IMAGES}/{image_id}/file", stream=True)
        if answer.status_code in (204, 400, 404):
            raise NotFound(f"Image {image_id} has no data.")
        for chunk in _chunks(answer, image_id):
            into.write(chunk)

    def create(self, document: Mapping[str, Any]) -> ImageId:
        """Make an image without data and return its id. ``document`` is as the Image API has it.

        Raises:
            Invalid: the store refuses what it says.
            ImageStoreUnavailable: no answer.
        """
        answer = self._ask(_IMAGES, "POST", json=dict(document))
        if answer.status_code != 201:
            raise Invalid(f"The image store refused the image: it answered {answer.status_code}.")
        return ImageId(answer.json()["id"])

    def upload(self, image_id: ImageId, data: BinaryIO, disk_format: str) -> None:
        """Give an image its data, and say of what format they are.

        Raises:
            NotFound: there is no such image.
            ImageStoreUnavailable: no answer, or it was refused.
        """
        path = f"{_IMAGES}/{image_id}"
        formats = {"disk_format": disk_format, "container_format": "bare"}
        patch = [{"op": "replace", "path": f"/{k}", "value": v} for k, v in formats.items()]
        for answer in (
            self._ask(path, "PATCH", data=msgspec.json.encode(patch), headers=_PATCHES),
            self._ask(f"{path}/file", "PUT", data=data, headers=_BYTES),
        ):
            if answer.status_code in (404, 410):
                raise NotFound(f"Image {image_id} could not be found.")
            if answer.status_code >= 400:
                raise ImageStoreUnavailable(
                    f"The image store refused data: it answered {answer.status_code}."
                )

    def delete(self, image_id: ImageId) -> None:
        """Remove an image. One that is not there is no error.

        Raises:
            ImageStoreUnavailable: no answer, or it was refused.
        """
        answer = self._ask(f"{_IMAGES}/{image_id}", "DELETE")
        if answer.status_code >= 400 and answer.status_code not in (404, 410):
            raise ImageStoreUnavailable(f"The image store answered {answer.status_code}.")

    def list_ids(self, properties: Mapping[str, str]) -> list[ImageId]:
        """Return the ids of the images with these properties, the newest first.

        Raises:
            ImageStoreUnavailable: no answer.
        """
        found: list[ImageId] = []
        path = f"{_IMAGES}?{urlencode({**properties, 'sort': 'created_at:desc', 'limit': 100})}"
        while path:
            answer = self._ask(path)
            if answer.status_code != 200:
                raise ImageStoreUnavailable(f"The image store answered {answer.status_code}.")
            page = answer.json()
            found += [ImageId(image["id"]) for image in page["images"]]
            path = page.get("next", "")
        return found

    def remove_unfilled(self, instance_uuid: str) -> None:
        """Remove the images that a server was being copied into when that broke off.

        Raises:
            ImageStoreUnavailable: no answer, or it was refused.
        """
        for status in _WITHOUT_DATA:
            for image_id in self.list_ids({"instance_uuid": instance_uuid, "status": status}):
                self.delete(image_id)

    def url(self, image_id: ImageId) -> str:
        """Return where an image can be asked for.

        Raises:
            ImageStoreUnavailable: nobody knows.
        """
        try:
            endpoint = self._http.get_endpoint()
        except exceptions.ClientException as error:
            raise ImageStoreUnavailable("The image store does not answer.") from error
        return f"{(endpoint or '').rstrip('/')}{_IMAGES}/{image_id}"

    def _ask(self, path: str, method: str = "GET", *, stream: bool = False, **body: Any) -> Any:
        try:
            answer = self._http.request(
                path,
                method,
                raise_exc=False,
                stream=stream,
                timeout=_TIMEOUT,
                # What was sent in part must not be sent again.
                connect_retries=0 if "data" in body else 1,
                **body,
            )
        except exceptions.ClientException as error:
            raise ImageStoreUnavailable("The image store does not answer.") from error
        if answer.status_code >= 500 or answer.status_code in (401, 403):
            raise ImageStoreUnavailable(f"The image store answered {answer.status_code}.")
        return answer


def _chunks(answer: Any, image_id: ImageId) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise ImageStoreUnavailable(f"Downloading {image_id} broke off.") from error


def image_of(document: Mapping[str, Any]) -> Image:
    """Return the image in an Image API v2 document. What it does not define is a property."""
    properties = {
        name: str(value)
        for name, value in document.items()
        if name not in _KNOWN and value is not None
    }
    return Image(
        image_id=ImageId(document["id"]),
        name=document.get("name") or "",
        status=document.get("status") or "",
        size=document.get("size") or 0,
        virtual_size=document.get("virtual_size") or 0,
        min_ram=document.get("min_ram") or 0,
        min_disk=document.get("min_disk") or 0,
        disk_format=document.get("disk_format") or "",
        container_format=document.get("container_format") or "",
        checksum=document.get("checksum") or "",
        hash_algo=document.get("os_hash_algo") or "",
        hash_value=document.get("os_hash_value") or "",
        owner=document.get("owner") or "",
        visibility=document.get("visibility") or "",
        properties=properties,
    )
