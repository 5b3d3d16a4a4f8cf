"""A guest's files: the image cache, the overlay on it, and the config drive."""

import base64
import fcntl
import hashlib
import json
import logging
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pycdlib

from kilonova.core.errors import BuildAborted, BuildFailed, NotFound
from kilonova.core.ids import InstanceUuid
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.http.images import ImageStore

LOG = logging.getLogger(__name__)

_FORMATS = frozenset({"raw", "qcow2"})
_TOOL_SECONDS = 600
_CHUNK = 1 << 20


class Disks:
    """Everything below ``[DEFAULT] instances_path``."""

    def __init__(self, root: Path, images: ImageStore) -> None:
        self._root = root
        self._images = images

    def directory(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's files are."""
        return self._root / uuid

    def console_log(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's serial console is written."""
        return self.directory(uuid) / "console.log"

    def disk(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's root disk is."""
        return self.directory(uuid) / "disk.qcow2"

    def config_drive(self, uuid: InstanceUuid) -> Path:
        """Return where a guest's config drive is."""
        return self.directory(uuid) / "config-drive.iso"

    def prepare(self, instance: Instance) -> None:
        """Make a guest's root disk and, if it asked for one, its config drive.

        Raises:
            BuildAborted: the image is broken, or of a kind that is not run.
            BuildFailed: a disk could not be made here.
        """
        if instance.image is None:
            raise BuildAborted("A server without image needs a volume, which is not supported.")
        base = self._cached(instance.image)
        self.directory(instance.uuid).mkdir(parents=True, exist_ok=True)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base)]
        command += ["-F", instance.image.disk_format, str(self.disk(instance.uuid))]
        if instance.flavor.root_gb:
            command.append(f"{instance.flavor.root_gb}G")
        _run(command)
        if instance.wishes.config_drive:
            self.config_drive(instance.uuid).write_bytes(config_drive(instance))

    def remove(self, uuid: InstanceUuid) -> None:
        """Remove a guest's files. What is not there is no error."""
        shutil.rmtree(self.directory(uuid), ignore_errors=True)

    def _cached(self, image: Image) -> Path:
        """Return the image's file in the cache, downloaded once however many builds want it."""
        if image.disk_format not in _FORMATS:
            raise BuildAborted(
                f"Image {image.image_id} has disk format {image.disk_format}; "
                f"{' and '.join(sorted(_FORMATS))} can be run."
            )
        cache = self._root / "_base"
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"{image.image_id}-{(image.hash_value or image.checksum)[:16]}"
        with _locked(cache / f"{image.image_id}.lock"):
            if not path.exists():
                partial = path.with_suffix(".part")
                try:
                    self._download(image, partial)
                    inspect(partial, image)
                    partial.rename(path)
                finally:
                    partial.unlink(missing_ok=True)
        return path

    def _download(self, image: Image, path: Path) -> None:
        LOG.info("Downloading image %s", image.image_id)
        try:
            with path.open("wb") as file:
                self._images.download(image.image_id, file)
        except NotFound as error:
            raise BuildAborted(error.message) from error
        except OSError as error:
            raise BuildFailed(f"Image {image.image_id} cannot be stored: {error}") from error
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
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock: other processes of this host share the cache."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def inspect(path: Path, image: Image) -> None:
    """Refuse an image file that is not what it says, or that reaches outside itself.

    Raises:
        BuildAborted: naming what is wrong.
    """
    options = ["--output=json", "-f", image.disk_format, str(path)]
    try:
        info = json.loads(_run(["qemu-img", "info", *options]))
    except BuildFailed as error:
        raise BuildAborted(f"Image {image.image_id} is no {image.disk_format}: {error}") from error
    if image.disk_format == "raw":
        probed = json.loads(_run(["qemu-img", "info", "--output=json", str(path)]))
        if probed["format"] != "raw":
            raise BuildAborted(f"Image {image.image_id} says raw and is {probed['format']}.")
    data = info.get("format-specific", {}).get("data", {})
    if info.get("backing-filename") or data.get("data-file"):
        raise BuildAborted(f"Image {image.image_id} refers to another file.")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"{command[0]}: {error}") from error
    if done.returncode:
        raise BuildFailed(f"{command[0]} {command[1]}: {done.stderr.strip()[:500]}")
    return done.stdout


def config_drive(instance: Instance) -> bytes:
    """Return the ISO 9660 image that a guest reads its metadata from (label config-2)."""
    wishes = instance.wishes
    metadata: dict[str, object] = {
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": instance.hostname,
        "project_id": instance.project_id,
        "launch_index": wishes.launch_index,
        "availability_zone": instance.availability_zone,
        "meta": instance.metadata,
    }
    if wishes.key_pair is not None:
        metadata["public_keys"] = {wishes.key_pair.name: wishes.key_pair.public_key}
    files = {"META_DATA.JSON": json.dumps(metadata).encode()}
    if wishes.user_data:
        files["USER_DATA"] = base64.b64decode(wishes.user_data)
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=4, rock_ridge="1.09", vol_ident="config-2")
    for path in ("/OPENSTACK", "/OPENSTACK/LATEST"):
        iso.add_directory(path, rr_name=path.rpartition("/")[2].lower())
    for name, data in files.items():
        path = f"/OPENSTACK/LATEST/{name};1"
        iso.add_fp(BytesIO(data), len(data), path, rr_name=name.lower())
    written = BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()
