"""The image cache keeps what is used, and lets go of the rest when room is short."""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import testtools

from kilonova.compute.libvirt import image_cache
from kilonova.compute.libvirt.disks import Disks
from kilonova.core.errors import BuildFailed
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from tests.functional.compute.image_store import ServedImages
from tests.instances import HOST, instance

_MIB = 1 << 20


class Usage:
    """What ``shutil.disk_usage`` says of a file system of ``total`` bytes that holds only the cache."""

    def __init__(self, total: int) -> None:
        self.total = total

    def __call__(self, directory: Path) -> Any:
        self.free = self.total - sum(path.stat().st_size for path in Path(directory).iterdir())
        return self


class ImageCacheTest(testtools.TestCase):
    """A cache on a file system that seems small."""

    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.images = ServedImages(Path(scratch.name))
        self.addCleanup(self.images.stop)
        self.root = Path(scratch.name) / "instances"
        self.disks = Disks(self.root, self.images.client, HOST)
        self.clock = 1_000_000

    def image(self, mebibytes: int = 1) -> Image:
        """Return an image of a size."""
        return self.images.add(os.urandom(mebibytes * _MIB))

    def build(self, image: Image) -> Instance:
        """Make a server's disks, later than those before."""
        server = instance(image=image)
        self.disks.prepare(server)
        self.clock += 100
        for path in (self.root / "_base").iterdir():
            if path.name.startswith(image.image_id):
                os.utime(path, (self.clock, self.clock))
        return server

    def cached(self, *images: Image) -> list[bool]:
        """Return which images are in the cache."""
        names = {path.name[:36] for path in (self.root / "_base").iterdir() if not path.suffix}
        return [image.image_id in names for image in images]

    @contextmanager
    def of_size(self, mebibytes: int) -> Iterator[None]:
        """Let the file system have so much room."""
        with mock.patch.object(image_cache.shutil, "disk_usage", Usage(mebibytes * _MIB)):
            yield

    def test_the_longest_unused_goes_first_and_only_as_far_as_it_must(self) -> None:
        first, second, third, fourth = (self.image() for _ in range(4))
        servers = [self.build(image) for image in (first, second, third)]
        for server in servers:
            self.disks.remove(server.uuid)
        # A quarter of it is three images.
        with self.of_size(12):
            self.build(fourth)
        self.assertEqual([False, True, True, True], self.cached(first, second, third, fourth))

    def test_what_was_used_again_counts_as_new(self) -> None:
        first, second, third = (self.image() for _ in range(3))
        for image in (first, second, first):
            self.disks.remove(self.build(image).uuid)
        with self.of_size(8):
            self.build(third)
        self.assertEqual([True, False, True], self.cached(first, second, third))

    def test_what_a_disk_is_an_overlay_on_stays_however_full_it_is(self) -> None:
        used, unused, third = (self.image() for _ in range(3))
        self.build(used)
        self.disks.remove(self.build(unused).uuid)
        with self.of_size(4):
            self.build(third)
        self.assertEqual([True, False, True], self.cached(used, unused, third))

    def test_an_image_without_room_is_a_reason_to_try_elsewhere_and_leaves_nothing(self) -> None:
        used, large = self.image(2), self.image(3)
        self.build(used)
        server = instance(image=large)
        with self.of_size(4):
            error = self.assertRaises(BuildFailed, self.disks.prepare, server)
        self.assertIn("no room", error.message)
        self.assertFalse(self.disks.has(server.uuid))
        self.assertEqual([True, False], self.cached(used, large))
        self.assertEqual(1, self.images.downloads, "it was not even asked for")

    def test_an_evicted_image_is_fetched_again(self) -> None:
        first, second = self.image(), self.image()
        self.disks.remove(self.build(first).uuid)
        with self.of_size(4):
            self.disks.remove(self.build(second).uuid)
            self.assertEqual([False, True], self.cached(first, second))
            server = self.build(first)
        self.assertEqual(3, self.images.downloads)
        self.assertTrue(self.disks.disk(server.uuid).exists())

    def test_an_image_that_somebody_is_about_to_use_is_not_evicted(self) -> None:
        first, second = self.image(), self.image()
        self.disks.remove(self.build(first).uuid)
        # Another host's cache, in effect: only the file lock is shared.
        other = image_cache.ImageCache(self.root, self.images.client)
        with other.use(first), self.of_size(4):
            self.build(second)
            self.assertEqual([True, True], self.cached(first, second))

    def test_processes_that_want_an_image_at_once_download_it_once(self) -> None:
        image = self.image(4)
        self.images.hold()
        servers = [instance(image=image) for _ in range(3)]
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=self.disks.prepare, args=(one,)) for one in servers]
        for process in processes:
            process.start()
        threading.Timer(0.5, self.images.flow).start()
        for process in processes:
            process.join(30)
        self.assertEqual([0, 0, 0], [process.exitcode for process in processes])
        self.assertEqual(1, self.images.downloads)
        self.assertEqual([True] * 3, [self.disks.disk(one.uuid).exists() for one in servers])
