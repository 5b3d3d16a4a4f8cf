"""Bytes to and fro between a TLS connection and a plain one, until either ends."""

import select
import socket
import ssl
from collections.abc import Callable

_CHUNK = 256 << 10
_LOOKS = 0.5
"""Seconds between two looks at whether it is to end."""


def join(tls: ssl.SSLSocket, plain: socket.socket, end: Callable[[], bool]) -> None:
    """Pass on all bytes, in this thread alone: TLS connections are one thread's. Closes both."""
    with tls, plain:
        try:
            _Joint(tls, plain).run(end)
        except OSError:
            # An end that breaks is an end.
            return


class _Joint:
    def __init__(self, tls: ssl.SSLSocket, plain: socket.socket) -> None:
        self._tls, self._plain = tls, plain
        self._out, self._in = b"", b""
        """What has to go to the TLS connection, and what came from it."""
        for one in (tls, plain):
            one.setblocking(False)

    def run(self, end: Callable[[], bool]) -> None:
        while not end():
            if not self._wait():
                continue
            if not self._read() and not self._out and not self._in:
                return
            self._write()

    def _wait(self) -> bool:
        """Wait until something can be done; False if the time was up."""
        wanted = {self._tls: 0, self._plain: 0}
        # TLS may have to read in order to write, so its own end is looked at in any case.
        if self._in:
            wanted[self._plain] |= select.POLLOUT
        elif self._tls.pending():
            return True
        else:
            wanted[self._tls] |= select.POLLIN
        if self._out:
            wanted[self._tls] |= select.POLLOUT
        else:
            wanted[self._plain] |= select.POLLIN
        poll = select.poll()
        for one, events in wanted.items():
            if events:
                poll.register(one, events)
        return bool(poll.poll(_LOOKS * 1000))

    def _read(self) -> bool:
        """Take what is there; False once either end has nothing more to say."""
        try:
            if not self._in:
                self._in = self._tls.recv(_CHUNK)
                if not self._in:
                    return self._flush()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            if not self._out:
                self._out = self._plain.recv(_CHUNK)
                if not self._out:
                    return self._flush()
        except BlockingIOError:
            pass
        return True

    def _flush(self) -> bool:
        """Deliver what is in hand, as nothing more comes from one of the ends."""
        for one in (self._tls, self._plain):
            one.settimeout(_LOOKS * 20)
        if self._in:
            self._plain.sendall(self._in)
        if self._out:
            self._tls.sendall(self._out)
        self._in = self._out = b""
        return False

    def _write(self) -> None:
        try:
            if self._in:
                self._in = self._in[self._plain.send(self._in) :]
        except BlockingIOError:
            pass
        try:
            if self._out:
                self._out = self._out[self._tls.send(self._out) :]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
