"""A crossing between two hosts of this process: who is let in, and that what arrives is what was sent."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import testtools

from kilonova.compute.crossing import extents
from kilonova.compute.crossing.harbour import Expected, Harbour
from kilonova.compute.crossing.line import DOORSTEP, Line
from kilonova.compute.crossing.wire import Make, Put
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.migration import Berth

GUEST = InstanceUuid("5f0c5d0e-3b55-4f4b-9a56-0f2a5a3f1a10")
OTHER = InstanceUuid("5f0c5d0e-3b55-4f4b-9a56-0f2a5a3f1a11")


class Beach:
    """A ``Quay`` that is a directory, with room for 64 MiB, and a hypervisor that says what it heard."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[Make] = []
        self.lets = threading.Event()
        self.lets.set()

    @contextlib.contextmanager
    def arriving(self, expected: Expected, put: Put) -> Iterator[Path]:
        """See ``Quay``."""
        if put.filled > 64 << 20:
            raise BuildFailed("no room")
        self.lets.wait(10)
        partial = self.directory / f"{put.file}.part"
        try:
            yield partial
            partial.replace(self.directory / put.file)
        finally:
            partial.unlink(missing_ok=True)

    def make(self, expected: Expected, wanted: Make) -> None:
        """See ``Quay``."""
        self.made.append(wanted)

    def hypervisor(self) -> socket.socket:
        """See ``Quay``."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=_echo, args=(ours,), daemon=True).start()
        return theirs


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


class CrossingTest(testtools.TestCase):
    """One harbour, and lines to it."""

    def setUp(self) -> None:
        super().setUp()
        self.scratch = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.scratch)
        (self.scratch / "beach").mkdir()
        self.beach = Beach(self.scratch / "beach")
        self.harbour = self.new_harbour()
        self.berth = self.harbour.open(GUEST, None)

    def new_harbour(self) -> Harbour:
        """Return a harbour, as a service that was restarted makes one."""
        harbour = Harbour(self.scratch / "berths", "127.0.0.1", self.beach)
        self.addCleanup(harbour.shut)
        return harbour

    def line(self, berth: Berth | None = None) -> Line:
        """Return a line to a berth."""
        line = Line(berth or self.berth, lambda: False)
        self.addCleanup(line.close)
        return line

    def sparse(self) -> Path:
        """Return a file with holes: at its begin, in its middle and at its end."""
        path = self.scratch / "disk.raw"
        with path.open("wb") as file:
            for at in (1 << 20, (8 << 20) + 5):
                file.seek(at)
                file.write(os.urandom((3 << 20) + 17))
            file.truncate(200 << 20)
        return path

    def test_a_file_arrives_as_it_was_with_its_holes(self) -> None:
        sent = self.sparse()
        self.line().put(sent, "disk.raw")
        arrived = self.beach.directory / "disk.raw"
        self.assertEqual(sent.read_bytes(), arrived.read_bytes())
        self.assertLess(extents.filled(arrived), 16 << 20)
        self.line().put(sent, "disk.raw")

    def test_an_empty_file_and_one_that_is_a_hole_arrive(self) -> None:
        for size in (0, 5 << 20):
            path = self.scratch / "empty"
            with path.open("wb") as file:
                file.truncate(size)
            self.line().put(path, "empty.raw")
            self.assertEqual(size, (self.beach.directory / "empty.raw").stat().st_size)

    def test_who_has_another_token_is_refused(self) -> None:
        wrong = msgspec.structs.replace(self.berth, token=self.berth.token[:-1] + "~")
        error = self.assertRaises(BuildFailed, self.line(wrong).put, self.sparse(), "disk.raw")
        self.assertIn("does not expect", error.message)
        self.assertEqual([], list(self.beach.directory.iterdir()))

    def test_a_host_with_another_certificate_is_told_nothing(self) -> None:
        wrong = msgspec.structs.replace(self.berth, fingerprint="0" * 64)
        error = self.assertRaises(BuildFailed, self.line(wrong).make, "disk.raw", 1, 1)
        self.assertIn("another host", error.in_full)
        self.assertEqual([], self.beach.made)

    def test_a_berth_that_was_opened_again_has_another_token(self) -> None:
        again = self.harbour.open(GUEST, None)
        self.assertRaises(BuildFailed, self.line().make, "disk.raw", 1, 1)
        self.line(again).make("disk.raw", 2, 1)
        self.assertEqual([Make("disk.raw", 2, 1)], self.beach.made)

    def test_a_file_without_room_is_refused_before_it_is_sent(self) -> None:
        path = self.scratch / "large"
        path.write_bytes(b"x" * (65 << 20))
        error = self.assertRaises(BuildFailed, self.line().put, path, "disk.raw")
        self.assertEqual("no room", error.message)

    def test_a_file_that_changes_on_its_way_is_damaged(self) -> None:
        path = self.sparse()
        send = extents.send

        def torn(path: Path, connection: socket.socket, end: object) -> None:
            class Torn:
                def sendall(self, data: bytes) -> None:
                    connection.sendall(data.replace(data[:1], b"\xff") if len(data) > 99 else data)

            send(path, Torn(), lambda: False)

        self.patch(extents, "send", torn)
        error = self.assertRaises(BuildFailed, self.line().put, path, "disk.raw")
        self.assertIn("damaged", error.message)
        self.assertEqual([], list(self.beach.directory.iterdir()))

    def test_a_berth_that_is_closed_ends_what_is_under_way(self) -> None:
        self.beach.lets.clear()
        errors = []

        def put() -> None:
            try:
                self.line().put(self.sparse(), "disk.raw")
            except BuildFailed as error:
                errors.append(error)

        sending = threading.Thread(target=put)
        sending.start()
        time.sleep(0.3)
        closing = threading.Thread(target=self.harbour.close, args=(GUEST,))
        closing.start()
        self.beach.lets.set()
        for thread in (closing, sending):
            thread.join(10)
            self.assertFalse(thread.is_alive())
        self.assertEqual(1, len(errors))
        self.assertEqual([], list(self.beach.directory.iterdir()))

    def test_berths_and_their_port_are_there_again_after_a_restart(self) -> None:
        gone = self.harbour.open(OTHER, None)
        self.harbour.close(OTHER)
        self.harbour.shut()
        self.new_harbour()
        self.line().make("disk.raw", 3, 1)
        self.assertRaises(BuildFailed, self.line(gone).make, "disk.raw", 4, 1)
        self.assertEqual([Make("disk.raw", 3, 1)], self.beach.made)

    def test_what_opens_a_berth_can_be_read_by_nobody_else(self) -> None:
        for path in (self.scratch / "berths").iterdir():
            self.assertEqual(0o600, path.stat().st_mode & 0o777, path.name)
        self.assertNotIn(self.berth.token, repr(self.berth))

    def test_a_hypervisor_is_reached_through_a_socket_of_ones_own(self) -> None:
        data = os.urandom(5 << 20)
        with self.line().hypervisor() as path, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            sender = threading.Thread(target=client.sendall, args=(data,))
            sender.start()
            heard = bytearray()
            while len(heard) < len(data):
                heard += client.recv(1 << 16)
            sender.join()
        self.assertEqual(data, heard)

    def test_a_port_that_was_kept_is_reached(self) -> None:
        line = self.line()
        (port,) = line.ports(1)
        with socket.create_server(("127.0.0.1", port)) as server:
            client = socket.create_connection((DOORSTEP, port))
            self.addCleanup(client.close)
            inside, _ = server.accept()
            self.addCleanup(inside.close)
            client.sendall(b"memory")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"memory", inside.recv(99))
            self.assertEqual(b"", inside.recv(99))
