"""What small services on loopback have in common: they can be away, and answer in JSON, or with a fault."""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from kilonova.http.server import ThreadedServer
from tests.ports import free_port

_OPTIONS = """\
[{group}]
auth_type = admin_token
endpoint = http://127.0.0.1:{port}{path}
token = admin:service
"""
Doc = dict[str, Any]


class Refused(Exception):
    """An answer that is a fault."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Peer(ABC):
    """A service. ``options`` is what a configuration says to reach it, in ``group``, below ``path``."""

    def __init__(self, group: str, path: str, *, project_in_url: bool) -> None:
        self._server = ThreadedServer(self._answer, "127.0.0.1", free_port())
        self._server.start()
        self._port = self._server.port
        self._up = True
        whole = path + ("/service" if project_in_url else "")
        self.options = _OPTIONS.format(group=group, port=self._port, path=whole)
        self._lock = threading.RLock()

    def stop(self) -> None:
        """Be away."""
        if self._up:
            self._up = False
            self._server.stop()

    def come(self) -> None:
        """Be back, at the same address."""
        self._server = ThreadedServer(self._answer, "127.0.0.1", self._port)
        self._server.start()
        self._up = True

    def _answer(self, environ: Doc, start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        raw = environ["wsgi.input"].read(length) if length else b""
        try:
            with self._lock:
                status, body = self._route(environ, json.loads(raw) if raw else {})
        except Refused as refused:
            fault = {"code": refused.status, "message": refused.message}
            status, body = refused.status, {"fault": fault}
        text = b"" if body is None else json.dumps(body).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
        start_response(f"{status} Status", headers)
        return [text]

    @abstractmethod
    def _route(self, environ: Doc, body: Doc) -> tuple[int, Doc | None]:
        """Return the status and the body of an answer."""
