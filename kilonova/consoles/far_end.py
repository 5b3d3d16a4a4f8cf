"""The other end of a console: a port of a compute host, behind whose door the guest is."""

import socket

from kilonova.core.console import ConsoleAddress
from kilonova.core.errors import Unavailable

_SECONDS = 10.0
_LONGEST_ANSWER = 4096


def connect(address: ConsoleAddress) -> socket.socket:
    """Return a connection to a console, ready to be spoken to.

    A host asks for the path inside it before it lets anybody pass (``CONNECT``, as of RFC 9110, 9.3.6).

    Raises:
        Unavailable: the host does not answer, or does not know the console any more.
    """
    try:
        far = socket.create_connection((address.host, address.port), timeout=_SECONDS)
    except OSError as error:
        raise Unavailable("The console's host does not answer.") from error
    try:
        if address.path is not None:
            _pass(far, address.path)
        far.settimeout(None)
    except OSError as error:
        far.close()
        raise Unavailable("The console is gone; ask for a new address of it.") from error
    return far


def _pass(far: socket.socket, path: str) -> None:
    far.sendall(f"CONNECT {path} HTTP/1.1\r\nHost: console\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # One by one: what follows is the guest's.
        byte = far.recv(1)
        if not byte or len(answer) > _LONGEST_ANSWER:
            raise ConnectionError("The host ended the conversation.")
        answer += byte
    if answer.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionError("The host knows no such console.")
