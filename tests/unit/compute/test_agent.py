"""What an agent inside a guest says, of which nothing need be true."""

import base64
import json

import testtools

from kilonova.compute.libvirt.agent import NotUnderstood, Told, ask, load_of, swap_of
from kilonova.compute.libvirt.figures import with_told
from kilonova.core.diagnostics import Diagnostics

MEMINFO = "MemTotal: 1 kB\nSwapTotal:       2097148 kB\nSwapFree:        1048572 kB\n"


class Inside:
    """An agent that knows three commands and some files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.open: dict[int, bytes] = {}

    def __call__(self, text: str) -> str:
        asked = json.loads(text)
        given = asked["arguments"]
        answer: object = {}
        if asked["execute"] == "guest-file-open":
            answer = 1000 + len(self.open)
            self.open[answer] = self.files[given["path"]]
        elif asked["execute"] == "guest-file-read":
            data = self.open[given["handle"]][: given["count"]]
            answer = {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": True}
        else:
            del self.open[given["handle"]]
        return json.dumps({"return": answer})


class AgentTest(testtools.TestCase):
    """Reading inside a guest."""

    def test_load_and_swap_are_read_and_files_are_closed(self) -> None:
        inside = Inside(
            {"/proc/loadavg": b"0.15 1.10 12.05 1/80 99\n", "/proc/meminfo": MEMINFO.encode()}
        )
        self.assertEqual(Told(load=(0.15, 1.1, 12.05), swap=(1024, 2047)), ask(inside))
        self.assertEqual({}, inside.open)

    def test_files_that_say_something_else_tell_nothing(self) -> None:
        inside = Inside({"/proc/loadavg": b"\xff" * 100_000, "/proc/meminfo": b""})
        self.assertEqual(Told(), ask(inside))

    def test_answers_that_make_no_sense_are_not_understood(self) -> None:
        for answer in (
            "",
            "x" * 1000,
            "{}",
            '{"return": "no handle"}',
            '{"return": 1e99}',
            '{"return": {"buf-b64": 7}}',
            '{"return": {"buf-b64": "no base64!"}}',
            '{"error": {"class": "CommandNotFound"}}',
        ):
            self.assertRaises(NotUnderstood, ask, lambda _text, answer=answer: answer)

    def test_loads_are_three_numbers(self) -> None:
        for text, expected in (
            ("0.00 0.01 0.05 1/78 1234", (0.0, 0.01, 0.05)),
            ("1 2 3", (1.0, 2.0, 3.0)),
            ("nan inf 1", None),
            ("1e9 1 1", None),
            ("-1 1 1", None),
            ("1 2", None),
            ("", None),
        ):
            self.assertEqual(expected, load_of(text), text)

    def test_swap_is_told_only_whole(self) -> None:
        for text, expected in (
            (MEMINFO, (1024, 2047)),
            ("SwapTotal:  0 kB\nSwapFree:  0 kB\n", (0, 0)),
            ("SwapTotal:  0 kB\n", None),
            ("SwapTotal:  1024 kB\nSwapFree:  9999 kB\n", (0, 1)),
            ("SwapTotal: -1 kB\nSwapFree: 0 kB\n", None),
        ):
            self.assertEqual(expected, swap_of(text), text)

    def test_what_is_told_stands_beside_what_was_measured(self) -> None:
        measured = Diagnostics(state="running", driver="libvirt", hypervisor="qemu", uptime=3)
        self.assertEqual(measured, with_told(measured, None))
        told = with_told(measured, Told(load=(1.0, 2.0, 3.0), swap=(1, 2)))
        self.assertEqual((3, (1.0, 2.0, 3.0), (1, 2)), (told.uptime, told.load, told.swap))
