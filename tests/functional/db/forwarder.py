"""A forwarder before a server, which can be stopped, and can keep silent as one that hangs does."""

import contextlib
import selectors
import socket
import threading


class Forwarder:
    """Passes TCP connections on to a port of loopback, through ``port``."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._passing = threading.Event()
        self._passing.set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen; after a stop, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and end those that there are."""
        if self._listener is not None:
            # A thread waits in accept(), which closing alone would not end.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            for one in self._pairs:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._passing.set()

    def hang(self) -> None:
        """Take connections and what they say, and pass nothing on."""
        self._passing.clear()

    def go_on(self) -> None:
        """Pass on again, also what was held back."""
        self._passing.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._passing.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs |= {near: far, far: near}
        self._pump(near, far)

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, near, far:
            for one in (near, far):
                selector.register(one, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                while self._pass_on(selector):
                    pass
        with self._lock:
            self._pairs.pop(near, None)
            self._pairs.pop(far, None)

    def _pass_on(self, selector: selectors.BaseSelector) -> bool:
        for key, _ in selector.select():
            self._passing.wait()
            one = key.fileobj
            assert isinstance(one, socket.socket)
            data = one.recv(65536)
            if not data:
                return False
            self._pairs[one].sendall(data)
        return True
