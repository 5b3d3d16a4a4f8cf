"""The images that guests of this host started from: each fetched once, checked, and never changed."""

import contextlib
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from kilonova.compute.libvirt.tool import ToolFailed, run
from kilonova.core.errors import BuildAborted, BuildFailed, NotFound
from kilonova.core.image import Image
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)

_FORMATS = frozenset({"raw", "qcow2"})
_CHUNK = 1 << 20
_PARTIAL = ".part"


class Base(msgspec.Struct, frozen=True):
    """An image in the cache; ``virtual_size`` is how many bytes the disk has that it is."""

    path: Path
    disk_format: str
    virtual_size: int


class ImageCache:
    """A directory of images, which processes of one host may share."""

    def __init__(self, directory: Path, images: ImageStore) -> None:
        self._directory = directory
        self._images = images
        self._known: dict[Path, Base] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self._remove_interrupted()

    def fetch(self, image: Image) -> Base:
        """Return an image, downloaded if it is not there yet, once however many builds want it.

        Raises:
            BuildAborted: it is broken, or of a kind that is not run.
            BuildFailed: it arrived broken, or there is no room for it.
            ImageStoreUnavailable: it cannot be fetched now.
        """
        if image.disk_format not in _FORMATS:
            raise BuildAborted(
                f"Image {image.image_id} has disk format {image.disk_format}; "
                f"{' and '.join(sorted(_FORMATS))} can be run."
            )
        path = self._directory / f"{image.image_id}-{(image.hash_value or image.checksum)[:16]}"
        known = self._known.get(path)
        if known is not None and path.exists():
            return known
        try:
            base = self._fetch(image, path)
        except OSError as error:
            raise BuildFailed(f"Image {image.image_id} cannot be kept on this host.") from error
        self._known[path] = base
        return base

    def _fetch(self, image: Image, path: Path) -> Base:
        with _locked(self._lock_of(path)):
            if not path.exists():
                partial = path.with_suffix(_PARTIAL)
                try:
                    self._download(image, partial)
                    inspect(partial, image)
                    partial.rename(path)
                finally:
                    partial.unlink(missing_ok=True)
        return Base(path, image.disk_format, inspect(path, image))

    def _remove_interrupted(self) -> None:
        """Remove what a process was downloading when it was killed."""
        for partial in self._directory.glob(f"*{_PARTIAL}"):
            with contextlib.suppress(BlockingIOError), _locked(self._lock_of(partial), wait=False):
                partial.unlink(missing_ok=True)

    def _lock_of(self, path: Path) -> Path:
        return path.with_suffix(".lock")

    def _download(self, image: Image, path: Path) -> None:
        LOG.info("Downloading image %s", image.image_id)
        try:
            with path.open("wb") as file:
                self._images.download(image.image_id, file)
        except NotFound as error:
            raise BuildAborted(error.message) from error
        expected = image.hash_value if image.hash_algo in hashlib.algorithms_available else ""
        algorithm = image.hash_algo if expected else "md5"
        expected = expected or image.checksum
        if expected and _digest(path, algorithm) != expected:
            raise BuildFailed(f"Image {image.image_id} arrived broken: its checksum differs.")


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a file lock: other processes of this host share the cache.

    Raises:
        BlockingIOError: somebody else holds it, and ``wait`` is not wanted.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def inspect(path: Path, image: Image) -> int:
    """Return the virtual size of an image file in bytes.

    Raises:
        BuildAborted: it is not what it says, or reaches outside itself.
    """
    info = _info(path, image, "-f", image.disk_format)
    if image.disk_format == "raw":
        found = _info(path, image)["format"]
        if found != "raw":
            raise BuildAborted(f"Image {image.image_id} says raw and is {found}.")
    data = info.get("format-specific", {}).get("data", {})
    if info.get("backing-filename") or data.get("data-file"):
        raise BuildAborted(f"Image {image.image_id} refers to another file.")
    return int(info["virtual-size"])


def _info(path: Path, image: Image, *options: str) -> Any:
    try:
        return json.loads(run("qemu-img", "info", "--output=json", *options, str(path)))
    except ToolFailed as error:
        raise BuildAborted(f"Image {image.image_id} is no {image.disk_format}.") from error
