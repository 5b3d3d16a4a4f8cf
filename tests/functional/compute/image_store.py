"""The embedded image store, served on loopback, which can be slow and can be away."""

import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from kilonova.core import settings
from kilonova.core.image import Image
from kilonova.embedded import images
from kilonova.embedded.image_files import ImageFiles
from kilonova.http.identity import NoAuth
from kilonova.http.images import ImageStore, image_of, load
from kilonova.http.server import ThreadedServer

_FILE = """\
[glance]
auth_type = admin_token
endpoint = http://127.0.0.1:{port}
token = admin
"""


class ServedImages:
    """An image store in a directory. ``options`` is what a service's configuration says to reach it."""

    def __init__(self, directory: Path) -> None:
        self._files = ImageFiles(directory / "images")
        app = images.create_app(self._files)
        self._app = NoAuth(app, public=images.is_public, default_roles=("member",))
        self._server = ThreadedServer(self._gate, "127.0.0.1", 0)
        self._server.start()
        self._up = True
        self._port = self._server.port
        self.options = _FILE.format(port=self._port)
        file = directory / "glance.conf"
        file.write_text(self.options)
        self.client: ImageStore = load(
            settings.read_config(["--config-file", str(file)], prog="kilonova")
        )
        self._flows = threading.Event()
        self._flows.set()
        self.downloads = 0

    def add(self, data: bytes, disk_format: str = "raw") -> Image:
        """Store an image and return it."""
        wanted = {"disk_format": disk_format, "container_format": "bare", "visibility": "public"}
        document = self._files.create(wanted, "admin")
        self._files.upload(document["id"], BytesIO(data))
        return image_of(self._files.get(document["id"]))

    def forget(self, image: Image) -> None:
        """Delete an image."""
        self._files.delete(image.image_id)

    def count(self) -> int:
        """Return how many images there are."""
        return len(self._files.list())

    def path(self, image: Image) -> Path:
        """Return the file of an image's data."""
        path = self._files.data(image.image_id)
        assert path is not None
        return path

    def hold(self) -> None:
        """Answer no download before ``flow``."""
        self._flows.clear()

    def flow(self) -> None:
        """Answer what waits."""
        self._flows.set()

    def go(self) -> None:
        """Be away: connections are refused."""
        self.flow()
        if self._up:
            self._up = False
            self._server.stop()

    def come(self) -> None:
        """Be back, at the same address."""
        self._server = ThreadedServer(self._gate, "127.0.0.1", self._port)
        self._server.start()
        self._up = True

    def stop(self) -> None:
        """End for good."""
        self.go()

    def _gate(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].endswith("/file"):
            self.downloads += 1
            self._flows.wait(25)
        return self._app(environ, start_response)
