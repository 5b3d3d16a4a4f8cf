"""What both ends of a crossing say: a line of JSON each way, and then bytes."""

import socket
from typing import Any, TypeVar

import msgspec

from kilonova.core.errors import BuildFailed

_LONGEST_LINE = 4096

T = TypeVar("T")


class Put(msgspec.Struct, frozen=True, tag=True):
    """Here comes a file of the guest's, or its image: ``size`` bytes, of which ``filled`` take room."""

    file: str
    size: int
    filled: int


class Make(msgspec.Struct, frozen=True, tag=True):
    """Make an empty disk of ``size`` bytes, which a running guest's will fill with about ``filled``."""

    file: str
    size: int
    filled: int


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Keep these ports of loopback for the guest, if they are free."""

    ports: tuple[int, ...]


class Reach(msgspec.Struct, frozen=True, tag=True):
    """Connect to a port that was kept, or to the hypervisor (None): all further bytes are between it and
    who asks."""

    port: int | None = None


Ask = Put | Make | Keep | Reach


class Opening(msgspec.Struct, frozen=True):
    """What a source says first: its token, and what it asks for."""

    token: str
    ask: Ask


class Answer(msgspec.Struct, frozen=True):
    """Whether it is done, or goes on; ``why`` not is fit for tenants."""

    ok: bool
    why: str = ""


def say(connection: socket.socket, what: Any) -> None:
    """Send a line.

    Raises:
        OSError: the other end is gone.
    """
    connection.sendall(msgspec.json.encode(what) + b"\n")


def hear(connection: socket.socket, kind: type[T]) -> T:
    """Receive a line, and nothing behind it.

    Raises:
        OSError: the other end is gone, or does not speak like this.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > _LONGEST_LINE:
            raise ConnectionError("the other host ended the conversation")
        line += byte
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        raise ConnectionError("the other host speaks otherwise") from error


def agreed(connection: socket.socket) -> None:
    """Receive an answer.

    Raises:
        BuildFailed: it says no.
        OSError: as ``hear``.
    """
    answer = hear(connection, Answer)
    if not answer.ok:
        raise BuildFailed(answer.why)
