"""The images that guests of this host started from: each fetched once, checked, and never changed.

The directory may be shared by processes of one host, and by hosts on NFS: whoever downloads, uses or evicts
an image holds its lock. Images that no disk is an overlay on are evicted, the longest unused first, when
the cache would take more than a quarter of its file system, or leave less than a twentieth of it free.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from kilonova.compute.libvirt import image_files
from kilonova.core.errors import BuildAborted, BuildFailed, NotFound
from kilonova.core.image import Image
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 20
_PARTIAL = ".part"
_LOCK = ".lock"
_LARGEST_SHARE = 4
"""The cache takes at most one part in so many of its file system, as far as it can be emptied."""
_LEAST_FREE = 20
"""One part in so many of the file system stays free, as far as the cache can be emptied."""


class Base(msgspec.Struct, frozen=True):
    """An image in the cache; ``virtual_size`` is how many bytes the disk has that it is."""

    path: Path
    disk_format: str
    virtual_size: int


class ImageCache:
    """A directory of images below ``disks``, in whose other directories the overlays on them are."""

    def __init__(self, disks: Path, images: ImageStore) -> None:
        self._disks = disks
        self._directory = disks / "_base"
        self._images = images
        self._known: dict[Path, Base] = {}
        self._directory.mkdir(parents=True, exist_ok=True)
        self._remove_interrupted()

    @contextmanager
    def use(self, image: Image) -> Iterator[Base]:
        """Give an image, downloaded if it is not there yet, once however many builds want it.

        It stays at least until the end of the context, and as long as a disk is an overlay on it.

        Raises:
            BuildAborted: it is broken, or of a kind that is not run.
            BuildFailed: it arrived broken, or there is no room for it.
            ImageStoreUnavailable: it cannot be fetched now.
        """
        if image.disk_format not in image_files.FORMATS:
            raise BuildAborted(
                f"Image {image.image_id} has disk format {image.disk_format}; "
                f"{' and '.join(sorted(image_files.FORMATS))} can be run."
            )
        path = self._path(image)
        with contextlib.ExitStack() as held:
            try:
                base = self._hold(image, path, held)
            except OSError as error:
                raise BuildFailed(f"Image {image.image_id} cannot be kept on this host.") from error
            yield base

    def _path(self, image: Image) -> Path:
        return self._directory / f"{image.image_id}-{(image.hash_value or image.checksum)[:16]}"

    @contextmanager
    def adopt(self, image: Image) -> Iterator[Path]:
        """Give where to write an image that another host has; it is in the cache as the context ends.

        Raises:
            BuildAborted, BuildFailed: as ``use``.
            OSError: it cannot be written.
        """
        path = self._path(image)
        partial = path.with_suffix(_PARTIAL)
        with _locked(_lock_of(path), fcntl.LOCK_EX):
            self._make_room(image)
            try:
                yield partial
                self._keep(image, partial, path)
            finally:
                partial.unlink(missing_ok=True)

    def _keep(self, image: Image, partial: Path, path: Path) -> None:
        """Let what was written be an image of the cache, if it is that image."""
        _compare(image, partial)
        size = image_files.check(partial, image)
        partial.rename(path)
        self._known[path] = Base(path, image.disk_format, size)

    def _hold(self, image: Image, path: Path, held: contextlib.ExitStack) -> Base:
        """Return an image that is there and, as long as ``held`` lasts, stays."""
        while True:
            with contextlib.ExitStack() as attempt:
                attempt.enter_context(_locked(_lock_of(path), fcntl.LOCK_SH))
                if path.exists():
                    os.utime(path)
                    base = self._known.get(path)
                    if base is None:
                        size = image_files.check(path, image)
                        base = self._known[path] = Base(path, image.disk_format, size)
                    held.push(attempt.pop_all())
                    return base
            with _locked(_lock_of(path), fcntl.LOCK_EX):
                if not path.exists():
                    self._fetch(image, path)

    def _fetch(self, image: Image, path: Path) -> None:
        self._make_room(image)
        partial = path.with_suffix(_PARTIAL)
        try:
            self._download(image, partial)
            self._keep(image, partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _download(self, image: Image, path: Path) -> None:
        LOG.info("Downloading image %s", image.image_id)
        try:
            with path.open("wb") as file:
                self._images.download(image.image_id, _Bounded(file, image))
        except NotFound as error:
            raise BuildAborted(error.message) from error

    def _remove_interrupted(self) -> None:
        """Remove what a process was downloading when it was killed."""
        for partial in self._directory.glob(f"*{_PARTIAL}"):
            lock = _locked(_lock_of(partial), fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(BlockingIOError), lock:
                partial.unlink(missing_ok=True)

    def _make_room(self, image: Image) -> None:
        """Evict what nobody uses, as far as another image makes it necessary.

        Raises:
            BuildFailed: there is no room for it even then.
        """
        found = shutil.disk_usage(self._directory)
        kept = {path: path.stat() for path in self._directory.iterdir() if not path.suffix}
        taken = sum(stat.st_size for stat in kept.values()) + image.size
        free = found.free - image.size
        for path in sorted(kept, key=lambda one: kept[one].st_mtime):
            if taken <= found.total // _LARGEST_SHARE and free >= found.total // _LEAST_FREE:
                return
            if self._evict(path):
                taken -= kept[path].st_size
                free += kept[path].st_size
        if free < 0:
            raise BuildFailed(f"There is no room for image {image.image_id} on this host.")

    def _evict(self, path: Path) -> bool:
        """Remove an image that no disk is an overlay on, and nobody is about to make one on."""
        lock = _lock_of(path)
        try:
            with _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if path.name in self.in_use():
                    return False
                LOG.info("Image file %s is evicted: nobody uses it", path.name)
                path.unlink(missing_ok=True)
                self._known.pop(path, None)
                lock.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        return True

    def in_use(self) -> set[str]:
        """Return the names of the images here that disks are overlays on.

        Only files that QEMU made say so truly: what a raw disk begins with is its guest's word.

        Raises:
            OSError: a disk cannot be read, so that nobody knows.
        """
        found = set()
        for file in self._disks.glob("*/*.qcow2"):
            if file.parent != self._directory and file.is_file():
                with contextlib.suppress(FileNotFoundError):
                    found.add(Path(image_files.backing_of(file)).name)
        return found


class _Bounded:
    """A ``Sink`` that refuses to become larger than its image says that it is."""

    def __init__(self, file: BinaryIO, image: Image) -> None:
        self._file = file
        self._image = image
        self._written = 0

    def write(self, data: bytes, /) -> int:
        """Write, or raise ``BuildFailed``."""
        self._written += len(data)
        if self._image.size and self._written > self._image.size:
            raise BuildFailed(f"Image {self._image.image_id} arrived broken: it is too long.")
        return self._file.write(data)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(_LOCK)


def _compare(image: Image, path: Path) -> None:
    """Compare a file with an image's checksum.

    Raises:
        BuildFailed: they differ.
    """
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
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Hold a file lock, shared or not. A lock file that went away while it was waited for is made anew.

    Raises:
        BlockingIOError: somebody else holds it, and ``kind`` does not wait.
    """
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, kind)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                yield
                return
