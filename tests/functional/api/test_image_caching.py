"""Images for the hosts of an aggregate, as the API takes them and as hosts hear of them."""

from kilonova.core.ids import HostName
from kilonova.rpc.messages import CacheImages
from tests.functional.api.api_case import ANN, ApiCase
from tests.functional.compute.image_store import ServedImages
from tests.functional.pipeline.wire import Wire

MISSING = "99999999-0000-4000-8000-000000000001"


class ImageCachingTest(ApiCase):
    """Hosts h1 and h2 in an aggregate, h3 beside it, and two images."""

    def options(self) -> str:
        self.images = ServedImages(self.directory)
        self.addCleanup(self.images.stop)
        return self.images.options

    def setUp(self) -> None:
        super().setUp()
        made = self.asked(200, "POST", "/os-aggregates", {"aggregate": {"name": "rack"}})
        self.path = f"/os-aggregates/{made['aggregate']['id']}"
        for number, host in enumerate(("h1", "h2", "h3"), 1):
            self.add_host(host, number)
        for host in ("h1", "h2"):
            self.asked(200, "POST", f"{self.path}/action", {"add_host": {"host": host}})
        self.first, self.second = (self.images.add(text) for text in (b"1" * 512, b"2" * 512))
        self.body = {"cache": [{"id": self.first.image_id}, {"id": self.second.image_id}]}
        self.wire = Wire(self)

    def told(self) -> set[tuple[HostName | None, tuple[str, ...]]]:
        """Return which hosts were told of which images."""
        return {
            (host, tuple(image.image_id for image in message.images))
            for _, message, host in self.wire.sent
            if isinstance(message, CacheImages)
        }

    def test_each_host_of_the_aggregate_is_told_of_all_images_at_once(self) -> None:
        self.assertEqual({}, self.asked(202, "POST", f"{self.path}/images", self.body))
        both = (self.first.image_id, self.second.image_id)
        self.assertEqual({("h1", both), ("h2", both)}, self.told())
        self.assertEqual(2, len(self.wire.sent))
        (message, *_) = (message for _, message, _ in self.wire.sent)
        assert isinstance(message, CacheImages)
        self.assertEqual(512, message.images[0].size)

    def test_what_cannot_be_cached_is_refused_and_nobody_is_told(self) -> None:
        path, one = f"{self.path}/images", {"id": self.first.image_id}
        for says, body in (
            ("twice", {"cache": [one, {"id": self.first.image_id.upper()}]}),
            ("could not be found", {"cache": [one, {"id": MISSING}]}),
            ("non-empty", {"cache": []}),
            ("cache", {}),
            ("'id' is a required property", {"cache": [{}]}),
            ("uuid", {"cache": [{"id": "x"}]}),
            ("more", {"cache": [one | {"more": 1}]}),
        ):
            self.refused(400, says, "POST", path, body)
        self.refused(404, "", "POST", "/os-aggregates/99/images", self.body)
        self.refused(400, "integer", "POST", "/os-aggregates/x/images", self.body)
        self.refused(403, "compute:aggregates:images", "POST", path, self.body, token=ANN)
        self.refused(404, "", "POST", path, self.body, version="2.80")
        self.assertEqual([], self.wire.sent)

    def test_hosts_that_cannot_be_told_fetch_when_they_must(self) -> None:
        self.wire.is_away = True
        self.asked(202, "POST", f"{self.path}/images", self.body)
        self.wire.is_away = False
        self.asked(202, "POST", f"{self.path}/images", self.body)
        self.assertEqual({"h1", "h2"}, {host for host, _ in self.told()})
