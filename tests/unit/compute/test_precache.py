"""Images that are fetched before anybody needs them: one after the other, and none holds up the next."""

import queue
import threading
from typing import Any, cast

import testtools

from kilonova.compute.driver import Driver
from kilonova.compute.precache import Precache
from kilonova.core.context import service_context
from kilonova.core.errors import BuildAborted
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.rpc.messages import CacheImages
from tests.instances import HOST


class Store:
    """The part of a driver that caches images: takes down which, when it may go on."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.go_on = threading.Event()

    def cache_image(self, image: Image) -> None:
        """Note it; some images are broken."""
        self.asked.put(image.image_id)
        self.go_on.wait(60)
        if image.image_id == "broken":
            raise BuildAborted("The image is broken.")
        if image.image_id == "odd":
            raise ValueError("odd")


class PrecacheTest(testtools.TestCase):
    """A host that is told of images."""

    def setUp(self) -> None:
        super().setUp()
        self.store = Store()
        self.precache = Precache(HOST, cast(Driver, cast(Any, self.store)))
        self.addCleanup(self.precache.stop)
        self.addCleanup(self.store.go_on.set)

    def add(self, *names: str) -> None:
        """Tell it of images."""
        images = tuple(Image(image_id=ImageId(name)) for name in names)
        self.precache.add(service_context(), CacheImages(images=images))

    def test_they_come_in_order_and_one_that_fails_holds_up_none(self) -> None:
        self.store.go_on.set()
        self.add("first", "broken", "odd", "second")
        self.add("third")
        asked = [self.store.asked.get(timeout=60) for _ in range(5)]
        self.assertEqual(["first", "broken", "odd", "second", "third"], asked)

    def test_they_come_one_at_a_time(self) -> None:
        self.add("first", "second")
        self.assertEqual("first", self.store.asked.get(timeout=60))
        self.assertRaises(queue.Empty, self.store.asked.get, timeout=0.1)
        self.store.go_on.set()
        self.assertEqual("second", self.store.asked.get(timeout=60))

    def test_nothing_more_is_fetched_once_the_host_ends(self) -> None:
        self.add("first", "second")
        self.store.asked.get(timeout=60)
        self.precache.stop()
        self.store.go_on.set()
        self.assertRaises(queue.Empty, self.store.asked.get, timeout=0.1)
