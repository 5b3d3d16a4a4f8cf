"""A directory of guests' files, with an image store behind HTTP."""

import json
import subprocess
import tempfile
from pathlib import Path

import testtools

from kilonova.compute.libvirt.disks import Disks
from kilonova.core.errors import KilonovaError
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from tests.functional.compute.image_store import ServedImages
from tests.instances import HOST, instance


class DisksCase(testtools.TestCase):
    """Disks in a directory, images behind HTTP."""

    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        self.images = ServedImages(self.directory)
        self.addCleanup(self.images.stop)
        self.root = self.directory / "instances"
        self.disks = Disks(self.root, self.images.client, HOST)

    def qcow2(self, *options: str, size: str = "1M") -> bytes:
        """Return an empty qcow2 image."""
        path = self.directory / "made.qcow2"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size]
        subprocess.run(command, check=True)
        return path.read_bytes()

    def info(self, path: Path) -> dict[str, object]:
        """Return what qemu-img says of a disk."""
        command = ["qemu-img", "info", "--output=json", str(path)]
        done = subprocess.run(command, check=True, capture_output=True)
        shown: dict[str, object] = json.loads(done.stdout)
        return shown

    def server(self, image: Image | None, **changed: object) -> Instance:
        """Return a server that starts from an image."""
        return instance(image=image, **changed)

    def refused(self, kind: type[KilonovaError], image: Image) -> KilonovaError:
        """Return why no disk is made of an image; nothing of the server may be there."""
        server = self.server(image)
        error = self.assertRaises(kind, self.disks.prepare, server)
        self.assertIs(kind, type(error))
        self.assertFalse(self.disks.has(server.uuid))
        self.assertNotIn(str(self.root), error.message)
        return error

    def cached(self) -> list[str]:
        """Return the images in the cache."""
        files = (path.name for path in (self.root / "_base").glob("*"))
        return sorted(name for name in files if not name.endswith(".lock"))
