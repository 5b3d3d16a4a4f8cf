"""Images in a directory: each a JSON document with its data beside it, every change atomic."""

import hashlib
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kilonova.core.errors import Conflict, Forbidden, NotFound

_CHUNK = 1 << 20
Document = dict[str, Any]

BASE: Mapping[str, Any] = {
    "name": None, "visibility": "shared", "min_disk": 0, "min_ram": 0, "protected": False,
    "tags": [], "disk_format": None, "container_format": None, "os_hidden": False,
}  # fmt: skip
"""What every image has and whoever creates or changes it may set."""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ImageFiles:
    """The store. Documents are as the Image API shows them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)

    def list(self) -> list[Document]:
        """Return every image, newest first."""
        found = []
        for path in self._root.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes()))
            except FileNotFoundError:
                # Deleted since the directory was read.
                continue
        return sorted(found, key=lambda image: (image["created_at"], image["id"]), reverse=True)

    def get(self, image_id: str) -> Document:
        """Return one image.

        Raises:
            NotFound: there is none.
        """
        try:
            document: Document = msgspec.json.decode(self._document(image_id).read_bytes())
        except OSError as error:
            raise NotFound(f"No image found with ID {image_id}") from error
        return document

    def create(self, wanted: Mapping[str, Any], owner: str) -> Document:
        """Write an image without data.

        Raises:
            Conflict: its id is taken.
        """
        now = _now()
        image: Document = {**BASE, "id": str(uuid.uuid4()), **wanted}
        image |= {
            "owner": owner, "status": "queued", "size": None, "virtual_size": None, "checksum": None,
            "os_hash_algo": None, "os_hash_value": None, "created_at": now, "updated_at": now,
            "self": f"/v2/images/{image['id']}", "file": f"/v2/images/{image['id']}/file",
            "schema": "/v2/schemas/image",
        }  # fmt: skip
        with self._lock:
            if self._document(image["id"]).exists():
                raise Conflict(f"Image ID {image['id']} already exists!")
            self._write(image)
        return image

    def change(self, image_id: str, values: Mapping[str, Any], removed: frozenset[str]) -> Document:
        """Set and remove fields.

        Raises:
            NotFound: there is no such image.
        """
        with self._lock:
            image = {k: v for k, v in self.get(image_id).items() if k not in removed}
            image |= dict(values) | {"updated_at": _now()}
            self._write(image)
        return image

    def upload(self, image_id: str, data: BinaryIO) -> None:
        """Store an image's data; it is active when all of it is there.

        Raises:
            NotFound: there is no such image.
            Conflict: it has data already.
        """
        self._queued(image_id)
        partial = self._root / f"{image_id}.{uuid.uuid4().hex}.part"
        md5 = hashlib.md5(usedforsecurity=False)
        sha512 = hashlib.sha512()
        try:
            with partial.open("wb") as file:
                while chunk := data.read(_CHUNK):
                    file.write(chunk)
                    md5.update(chunk)
                    sha512.update(chunk)
                size = file.tell()
            with self._lock:
                # Again, because others may have uploaded or deleted it meanwhile.
                image = self._queued(image_id)
                partial.replace(self._data(image_id))
                stored = {
                    "status": "active", "size": size, "checksum": md5.hexdigest(),
                    "os_hash_algo": "sha512", "os_hash_value": sha512.hexdigest(),
                    "updated_at": _now(),
                }  # fmt: skip
                self._write(image | stored)
        finally:
            partial.unlink(missing_ok=True)

    def _queued(self, image_id: str) -> Document:
        image = self.get(image_id)
        if image["status"] != "queued":
            raise Conflict(f"Image {image_id} has data already")
        return image

    def data(self, image_id: str) -> Path | None:
        """Return the file of an image's data, or None while it has none."""
        path = self._data(image_id)
        return path if path.exists() else None

    def delete(self, image_id: str) -> None:
        """Remove an image.

        Raises:
            NotFound: there is none.
            Forbidden: it is protected.
        """
        with self._lock:
            if self.get(image_id)["protected"]:
                raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
            self._document(image_id).unlink()
            self._data(image_id).unlink(missing_ok=True)

    def _write(self, image: Document) -> None:
        path = self._document(image["id"])
        partial = path.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(image))
        partial.replace(path)

    def _document(self, image_id: str) -> Path:
        return self._root / f"{_checked(image_id)}.json"

    def _data(self, image_id: str) -> Path:
        return self._root / f"{_checked(image_id)}.data"


def _checked(image_id: str) -> str:
    """Return an image id that is a UUID, and so no path to anywhere."""
    try:
        return str(uuid.UUID(image_id))
    except ValueError as error:
        raise NotFound(f"No image found with ID {image_id}") from error
