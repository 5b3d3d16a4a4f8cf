"""How an application is served: gunicorn for a service of its own, threads for many in one process."""

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from waitress.server import create_server

from kilonova.core.errors import KilonovaError
from kilonova.http.identity import Wsgi


class AddressInUse(KilonovaError):
    """Something listens on the address already."""

    code = "address_in_use"


class Listener:
    """Where and how a service listens. ``graceful_seconds`` is what SIGTERM gives to requests in hand."""

    def __init__(
        self, host: str, port: int, *, workers: int, threads: int, graceful_seconds: int
    ) -> None:
        self.host = host
        self.port = port
        self.workers = workers
        self.threads = threads
        self.graceful_seconds = graceful_seconds


class _Arbiter(Arbiter):  # type: ignore[misc]
    """A second SIGTERM means now."""

    def stop(self, graceful: bool = True) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._exit_at_once())
        super().stop(graceful)

    def _exit_at_once(self) -> None:
        for pid in list(self.WORKERS):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        os._exit(1)


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    def __init__(self, create_app: Callable[[], Wsgi], name: str, listener: Listener) -> None:
        self._create_app = create_app
        self._name = name
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        address = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        for key, value in {
            "bind": f"{address}:{self._listener.port}",
            "workers": self._listener.workers,
            "threads": self._listener.threads,
            "worker_class": "gthread",
            "graceful_timeout": self._listener.graceful_seconds,
            "timeout": 120,
            "keepalive": 75,
            "proc_name": self._name,
            "default_proc_name": self._name,
            "loglevel": "warning",
            # Its most: a query for allocation candidates names many aggregates and traits.
            "limit_request_line": 8190,
            "control_socket_disable": True,
        }.items():
            if key in self.cfg.settings:
                self.cfg.set(key, value)

    def load(self) -> Wsgi:
        app = self._create_app()
        # What is loaded by now stays, so the collector need not go through it again and again.
        gc.collect()
        gc.freeze()
        return app

    def run(self) -> None:
        _Arbiter(self).run()


def serve_gunicorn(create_app: Callable[[], Wsgi], name: str, listener: Listener) -> None:
    """Serve until SIGTERM, which drains and exits 0; a second one exits at once. Does not return.

    ``create_app`` runs in each worker after the fork, so that no connection crosses it. SIGHUP starts new
    workers, which read the configuration again.

    Raises:
        AddressInUse: naming the address.
    """
    check_free(listener.host, listener.port)
    _Gunicorn(create_app, name, listener).run()


def check_free(host: str, port: int) -> None:
    """Refuse an address that something listens on.

    Raises:
        AddressInUse: naming the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressInUse(f"Cannot listen on {host}:{port}: {error.strerror}.") from error


class SocketServer:
    """An application served on a socket in the file system, which only this user can open."""

    def __init__(self, app: Wsgi, path: Path) -> None:
        self._app = app
        self._path = path
        self._server: Any = None

    def start(self) -> None:
        """Listen, in place of whoever left the socket behind.

        Raises:
            AddressInUse: it cannot be made, or somebody else listens on it.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_socket():
                self._remove_stale()
            self._server = create_server(
                self._app, unix_socket=str(self._path), unix_socket_perms="600", threads=1
            )
        except OSError as error:
            raise AddressInUse(f"Cannot listen on {self._path}: {error}.") from error
        threading.Thread(target=self._server.run, name="health", daemon=True).start()

    def _remove_stale(self) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self._path)) == 0:
                raise AddressInUse(f"Somebody listens on {self._path}.")
        self._path.unlink()


class ThreadedServer:
    """An application served by threads of this process."""

    def __init__(self, app: Wsgi, host: str, port: int, *, threads: int = 8) -> None:
        self._server: Any = create_server(
            app, host=host, port=port, threads=threads, ident=None, max_request_body_size=1 << 40
        )
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(
            target=self._server.run, name=f"http-{self.port}", daemon=True
        )

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests in hand, then close the listener and every connection."""
        self._server.task_dispatcher.shutdown(timeout=2)
        pulled = threading.Event()

        def close() -> None:
            # Another's pull may have brought the loop here, and closing takes the trigger away.
            pulled.wait()
            self._close()

        # In the loop's own thread, which may be waiting on the sockets right now.
        self._server.trigger.pull_trigger(close)
        pulled.set()
        self._thread.join(timeout=2)

    def _close(self) -> None:
        # Connections that clients keep open would keep the loop running.
        for channel in self._server.active_channels.values():
            channel.close_when_flushed = True
        self._server.close()
