"""Files as they cross: only what is not a hole, and a digest of all of it in the end."""

import hashlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

_CHUNK = 1 << 20
_HEAD = struct.Struct(">QQ")
"""Offset and length of what follows; a length of 0 ends the file, whose size is the offset then."""


class Damaged(Exception):
    """What arrived is not what was sent."""


def filled(path: Path) -> int:
    """Return the bytes that a file takes. Raises ``OSError``."""
    return path.stat().st_blocks * 512


def send(path: Path, connection: socket.socket, end: Callable[[], bool]) -> None:
    """Send a file that nobody changes meanwhile, until ``end()``.

    Raises:
        OSError: it cannot be read, the other end is gone, or it was ended.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for at, length in _extents(file.fileno(), size):
            if end():
                raise InterruptedError("the transfer was ended")
            data = os.pread(file.fileno(), length, at)
            head = _HEAD.pack(at, len(data))
            for part in (head, data):
                digest.update(part)
                connection.sendall(part)
    head = _HEAD.pack(size, 0)
    digest.update(head)
    connection.sendall(head + digest.digest())


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield offsets and lengths of what is filled, in chunks."""
    at = 0
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            # Nothing but a hole is left.
            return
        end = os.lseek(file, at, os.SEEK_HOLE)
        while at < end:
            length = min(_CHUNK, end - at)
            yield at, length
            at += length


def receive(path: Path, connection: socket.socket, size: int) -> None:
    """Write a file as it was sent, and bring it to the disk.

    Raises:
        OSError: it cannot be written, or the other end is gone.
        Damaged: it is not what was announced.
    """
    digest = hashlib.sha256()
    path.unlink(missing_ok=True)
    with path.open("xb", buffering=0) as file:
        file.truncate(size)
        while True:
            head = _exactly(connection, _HEAD.size)
            digest.update(head)
            at, length = _HEAD.unpack(head)
            if not length:
                break
            if length > _CHUNK or at + length > size:
                raise Damaged("a part lies outside of the file")
            data = _exactly(connection, length)
            digest.update(data)
            _write(file.fileno(), data, at)
        if at != size or _exactly(connection, digest.digest_size) != digest.digest():
            raise Damaged("size or checksum differ")
        os.fsync(file.fileno())


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def _exactly(connection: socket.socket, count: int) -> memoryview:
    data = bytearray(count)
    view = left = memoryview(data)
    while left:
        got = connection.recv_into(left)
        if not got:
            raise ConnectionError("the other host ended the conversation")
        left = left[got:]
    return view
