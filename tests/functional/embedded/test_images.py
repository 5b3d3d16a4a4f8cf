"""The calls of the Image API that clients make, over HTTP, and what is kept in the directory."""

import hashlib
import io
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import falcon.testing
import testtools
from keystoneauth1 import adapter, session, token_endpoint

from kilonova.core.context import RequestContext
from kilonova.core.errors import Conflict, ImageStoreUnavailable, NotFound
from kilonova.core.ids import ImageId, ProjectId, RequestId
from kilonova.embedded import images
from kilonova.embedded.image_files import ImageFiles
from kilonova.http.identity import NoAuth
from kilonova.http.images import ImageStore
from kilonova.http.server import ThreadedServer

ADMIN, ANN, BOB = "admin:operators", "ann:project-a", "bob:project-b"
NOBODY = "aaaaaaaa-0000-4000-8000-000000000001"


def guarded(store: ImageFiles) -> NoAuth:
    """Return the application as a deployment serves it."""
    app = images.create_app(store)
    return NoAuth(app, public=images.is_public, default_roles=("member", "reader"))


class ImagesCase(testtools.TestCase):
    """A store in a directory of the test's own, and the application over it."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.store = ImageFiles(self.directory)
        self.client = falcon.testing.TestClient(guarded(self.store))

    def ask(
        self, status: int, method: str, path: str, body: Any = None, token: str = ANN
    ) -> falcon.testing.Result:
        """Ask, and expect a status."""
        headers = {"X-Auth-Token": token}
        result = self.client.simulate_request(method, path, json=body, headers=headers)
        if result.status_code != status:
            self.fail(f"{method} {path} answered {result.status_code}: {result.text}")
        return result

    def create(self, token: str = ANN, **fields: Any) -> dict[str, Any]:
        """Create an image and return it."""
        document = {"name": "guest", "disk_format": "raw", "container_format": "bare"} | fields
        made: dict[str, Any] = self.ask(201, "POST", "/v2/images", document, token).json
        return made

    def upload(self, image_id: str, data: bytes, status: int = 204, token: str = ANN) -> None:
        """Upload an image's data."""
        headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
        result = self.client.simulate_put(f"/v2/images/{image_id}/file", body=data, headers=headers)
        self.assertEqual(status, result.status_code, result.text)

    def names(self, query: str = "", token: str = ANN) -> list[str]:
        """Return the names of the images in a list."""
        listed = self.ask(200, "GET", f"/v2/images?{query}", token=token).json["images"]
        return [image["name"] for image in listed]


class ImagesTest(ImagesCase):
    """From creation to deletion."""

    def test_an_image_is_queued_without_data_and_active_with_it(self) -> None:
        made = self.create()
        self.assertEqual(
            ("queued", None, None, "project-a", "shared"),
            tuple(made[n] for n in ("status", "size", "checksum", "owner", "visibility")),
        )
        self.ask(204, "GET", made["file"])
        data = os.urandom(3 << 20)
        self.upload(made["id"], data)
        shown = self.ask(200, "GET", f"/v2/images/{made['id']}").json
        self.assertEqual(
            ("active", len(data), hashlib.md5(data).hexdigest(), "sha512"),  # noqa: S324
            tuple(shown[n] for n in ("status", "size", "checksum", "os_hash_algo")),
        )
        self.assertEqual(hashlib.sha512(data).hexdigest(), shown["os_hash_value"])
        downloaded = self.ask(200, "GET", made["file"])
        self.assertEqual(data, downloaded.content)
        self.assertEqual(shown["checksum"], downloaded.headers["Content-MD5"])

    def test_data_is_written_once(self) -> None:
        made = self.create()
        self.upload(made["id"], b"first")
        self.upload(made["id"], b"second", status=409)
        self.assertEqual(b"first", self.ask(200, "GET", made["file"]).content)

    def test_of_uploads_at_once_one_wins_and_the_checksum_is_its_own(self) -> None:
        made = self.create()
        data = [bytes([number]) * (1 << 20) for number in range(8)]
        begun = threading.Barrier(8)

        class Together(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell() == 0:
                    begun.wait(10)
                return super().read(size)

        def attempt(one: bytes) -> bool:
            try:
                self.store.upload(made["id"], Together(one))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            done = list(threads.map(attempt, data))
        self.assertEqual(1, sum(done))
        stored = self.ask(200, "GET", made["file"]).content
        self.assertEqual(data[done.index(True)], stored)
        self.assertEqual(
            hashlib.sha512(stored).hexdigest(), self.store.get(made["id"])["os_hash_value"]
        )

    def test_a_broken_upload_leaves_nothing_and_may_be_repeated(self) -> None:
        made = self.create()

        class Broken(io.BytesIO):
            def read(self, _size: int | None = -1) -> bytes:
                raise ConnectionResetError

        self.assertRaises(ConnectionResetError, self.store.upload, made["id"], Broken())
        self.assertEqual([f"{made['id']}.json"], [path.name for path in self.directory.iterdir()])
        self.upload(made["id"], b"again")

    def test_an_image_of_a_given_id_is_made_once(self) -> None:
        self.assertEqual(NOBODY, self.create(id=NOBODY)["id"])
        self.ask(409, "POST", "/v2/images", {"id": NOBODY})

    def test_a_deleted_image_is_gone_with_its_data(self) -> None:
        made = self.create()
        self.upload(made["id"], b"data")
        self.ask(204, "DELETE", f"/v2/images/{made['id']}")
        for method in ("GET", "DELETE"):
            self.ask(404, method, f"/v2/images/{made['id']}")
        self.ask(404, "GET", made["file"])
        self.assertEqual([], list(self.directory.iterdir()))

    def test_a_protected_image_is_kept(self) -> None:
        made = self.create(protected=True)
        self.ask(403, "DELETE", f"/v2/images/{made['id']}")
        self.assertEqual(["guest"], self.names())

    def test_what_is_stored_is_found_by_the_next_process(self) -> None:
        made = self.create()
        self.upload(made["id"], b"data")
        again = ImageFiles(self.directory)
        self.assertEqual(self.store.get(made["id"]), again.get(made["id"]))
        self.assertEqual(self.store.list(), again.list())

    def test_an_id_is_a_uuid_and_no_path_to_anywhere(self) -> None:
        (self.directory.parent / "secret.json").write_text("{}")
        self.addCleanup((self.directory.parent / "secret.json").unlink)
        for name in ("..%2Fsecret", "guest", "%2e%2e"):
            self.ask(404, "GET", f"/v2/images/{name}")
        self.assertRaises(NotFound, self.store.get, "../secret")

    def test_the_versions_need_no_token_and_everything_else_does(self) -> None:
        self.assertEqual(300, self.client.simulate_get("/").status_code)
        self.assertEqual(401, self.client.simulate_get("/v2/images").status_code)
        self.assertEqual("image", self.ask(200, "GET", "/v2/schemas/image").json["name"])


class ChangesTest(ImagesCase):
    """JSON patches."""

    def _patch(
        self, image: dict[str, Any], *steps: dict[str, Any], status: int = 200, token: str = ANN
    ) -> Any:
        result = self.ask(status, "PATCH", f"/v2/images/{image['id']}", list(steps), token)
        return result.json if status == 200 else result.text

    def test_fields_are_added_replaced_and_removed(self) -> None:
        made = self.create(hw_disk_bus="ide")
        changed = self._patch(
            made,
            {"op": "replace", "path": "/name", "value": "other"},
            {"op": "add", "path": "/os~1kind", "value": "linux"},
            {"op": "remove", "path": "/hw_disk_bus"},
        )
        self.assertEqual(("other", "linux"), (changed["name"], changed["os/kind"]))
        self.assertNotIn("hw_disk_bus", changed)
        self.assertEqual(changed, self.ask(200, "GET", f"/v2/images/{made['id']}").json)

    def test_what_the_store_says_of_an_image_is_not_changed_by_anybody(self) -> None:
        made = self.create()
        for name in ("status", "checksum", "owner", "id", "size", "os_hash_value"):
            said = self._patch(
                made, {"op": "replace", "path": f"/{name}", "value": "x"}, status=403, token=ADMIN
            )
            self.assertIn(name, said)
        self.ask(403, "POST", "/v2/images", {"name": "x", "checksum": "y"})

    def test_what_every_image_has_is_not_removed(self) -> None:
        made = self.create()
        for name in ("visibility", "name", "protected", "os_hidden", "tags", "min_ram"):
            said = self._patch(made, {"op": "remove", "path": f"/{name}"}, status=403)
            self.assertIn(name, said)
        self.assertEqual(["guest"], self.names())

    def test_a_patch_that_cannot_be_read_changes_nothing(self) -> None:
        made = self.create()
        for steps, said in (
            (({"op": "move", "path": "/name"},), "op"),
            (({"op": "replace", "path": "/visibility", "value": "secret"},), "visibility"),
            (({"op": "replace", "path": "/min_disk", "value": -1},), "min_disk"),
        ):
            first = {"op": "replace", "path": "/name", "value": "changed"}
            self.assertIn(said, self._patch(made, first, *steps, status=400))
        headers = {"X-Auth-Token": ANN}
        for body in ("{", "{}", '["x"]'):
            result = self.client.simulate_patch(made["self"], body=body, headers=headers)
            self.assertEqual(400, result.status_code)
        self.assertEqual(["guest"], self.names())

    def test_only_an_administrator_makes_an_image_public(self) -> None:
        made = self.create()
        publish = {"op": "replace", "path": "/visibility", "value": "public"}
        self._patch(made, publish, status=403)
        self.ask(403, "POST", "/v2/images", {"name": "x", "visibility": "public"})
        self.assertEqual("public", self._patch(made, publish, token=ADMIN)["visibility"])

    def test_a_creation_that_is_wrong_is_refused_with_the_field(self) -> None:
        for document, said in (
            ({"visibility": "secret"}, "visibility"),
            ({"min_ram": "much"}, "min_ram"),
            ({"min_disk": -1}, "min_disk"),
            ({"id": 7}, "id"),
            ({"id": "guest"}, "id"),
        ):
            self.assertIn(said, self.ask(400, "POST", "/v2/images", document).text)
        self.ask(400, "POST", "/v2/images", ["guest"])
        self.assertEqual([], self.names())


class SightTest(ImagesCase):
    """Whose images are seen and changed by whom."""

    def setUp(self) -> None:
        super().setUp()
        self.private = self.create(name="private", visibility="private")
        self.public = self.create(ADMIN, name="public", visibility="public")

    def test_an_image_is_seen_by_its_project_and_a_public_one_by_all(self) -> None:
        for token, names in (
            (ANN, ["private", "public"]),
            (BOB, ["public"]),
            (ADMIN, ["private", "public"]),
        ):
            self.assertEqual(names, sorted(self.names(token=token)))
        self.ask(404, "GET", f"/v2/images/{self.private['id']}", token=BOB)
        self.ask(404, "GET", self.private["file"], token=BOB)

    def test_an_image_is_changed_by_its_project_only(self) -> None:
        path = f"/v2/images/{self.public['id']}"
        rename = [{"op": "replace", "path": "/name", "value": "mine"}]
        self.ask(403, "PATCH", path, rename, BOB)
        self.ask(403, "DELETE", path, token=BOB)
        self.upload(self.public["id"], b"data", 403, BOB)
        self.ask(404, "DELETE", f"/v2/images/{self.private['id']}", token=BOB)
        self.assertEqual(["public"], self.names(token=BOB))

    def test_an_administrator_makes_an_image_anybodys(self) -> None:
        self.assertEqual("project-b", self.create(ADMIN, owner="project-b")["owner"])
        self.assertEqual("project-a", self.create(ANN, owner="project-b")["owner"])


class ListTest(ImagesCase):
    """Filters and pages."""

    def test_lists_are_filtered(self) -> None:
        a = self.create(name="a")
        b = self.create(name="b", disk_format="qcow2", visibility="private")
        self.create(name="hidden", os_hidden=True)
        self.upload(b["id"], b"data")
        for query, names in (
            ("", ["a", "b"]),
            ("name=a", ["a"]),
            ("name=in:a,b", ["a", "b"]),
            ('name=in:"b","c"', ["b"]),
            (f"id=in:{a['id']},{NOBODY}", ["a"]),
            ("status=active", ["b"]),
            ("visibility=private", ["b"]),
            ("visibility=all", ["a", "b"]),
            ("disk_format=qcow2", ["b"]),
            ("owner=project-b", []),
            ("os_hidden=true", ["hidden"]),
        ):
            self.assertEqual(names, sorted(self.names(query)), query)

    def test_pages_that_follow_each_other_hold_every_image_once_and_keep_the_filter(self) -> None:
        for number in range(5):
            self.create(name="wanted", number=str(number))
            self.create(name="other")
        seen: list[str] = []
        path: str | None = "/v2/images?name=wanted&limit=2"
        pages = 0
        while path:
            body = self.ask(200, "GET", path).json
            seen += [f"{image['name']} {image['number']}" for image in body["images"]]
            path = body.get("next")
            pages += 1
        self.assertEqual(3, pages)
        self.assertEqual([f"wanted {number}" for number in range(5)], sorted(seen))

    def test_a_page_has_a_usual_length_and_may_be_empty(self) -> None:
        for _ in range(27):
            self.create()
        self.assertEqual(25, len(self.names()))
        self.assertEqual([], self.names("limit=0"))

    def test_a_marker_or_limit_that_makes_no_sense_is_refused(self) -> None:
        self.ask(400, "GET", f"/v2/images?marker={NOBODY}")
        for limit in ("-1", "many"):
            self.ask(400, "GET", f"/v2/images?limit={limit}")

    def test_an_image_that_goes_while_it_is_listed_is_left_out(self) -> None:
        kept = self.create()
        (self.directory / f"{NOBODY}.json").symlink_to(self.directory / "nothing")
        self.assertEqual([kept["id"]], [image["id"] for image in self.store.list()])


class ClientTest(ImagesCase):
    """The services' own client, over a socket."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ThreadedServer(guarded(self.store), "127.0.0.1", 0)
        self.server.start()
        self.images = self._client(self.server.port)

    def _client(self, port: int) -> ImageStore:
        auth = token_endpoint.Token(f"http://127.0.0.1:{port}", ADMIN)
        return ImageStore(adapter.Adapter(session.Session(auth), service_type="image"))

    def _get(self, image_id: str, project: str = "project-a") -> Any:
        context = RequestContext(request_id=RequestId("r"), project_id=ProjectId(project))
        return self.images.get(context, ImageId(image_id))

    def test_an_image_and_its_data_come_as_they_were_stored(self) -> None:
        self.addCleanup(self.server.stop)
        made = self.create(min_ram=64, hw_architecture="x86_64")
        data = os.urandom(2 << 20)
        self.upload(made["id"], data)
        image = self._get(made["id"])
        self.assertEqual(
            ("guest", "active", len(data), 64, {"hw_architecture": "x86_64"}),
            (image.name, image.status, image.size, image.min_ram, image.properties),
        )
        into = io.BytesIO()
        self.images.download(image.image_id, into)
        self.assertEqual(data, into.getvalue())

    def test_an_image_that_is_not_there_or_not_the_askers_is_not_found(self) -> None:
        self.addCleanup(self.server.stop)
        private = self.create(visibility="private")
        self.assertEqual("guest", self._get(private["id"]).name)
        self.assertRaises(NotFound, self._get, private["id"], "project-b")
        self.assertRaises(NotFound, self._get, NOBODY)
        self.assertRaises(NotFound, self.images.download, ImageId(private["id"]), io.BytesIO())

    def test_a_store_that_is_away_is_unavailable(self) -> None:
        self.server.stop()
        self.assertRaises(ImageStoreUnavailable, self._get, NOBODY)
        self.assertRaises(
            ImageStoreUnavailable, self.images.download, ImageId(NOBODY), io.BytesIO()
        )
