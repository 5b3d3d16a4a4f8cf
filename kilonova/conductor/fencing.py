"""Asks fences: an operator's program that makes sure that a host is off, and says so.

It is called with the host's name and address. Exit status 0 is yes: the host runs nothing any more, and
cannot before it starts anew. Anything else, or nothing in time, is no.
"""

import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, KilonovaError
from kilonova.core.host_failure import FENCE_SECONDS, Fence, Mode
from kilonova.core.ids import CellUuid
from kilonova.db import host_fences
from kilonova.db.cells import Cells

LOG = logging.getLogger(__name__)

_AT_ONCE = 4
_WORDS = 2000
"""Bytes, at the end of what a fence says, that are kept."""


class Asked(msgspec.Struct, frozen=True):
    """A fence that is to be asked, once: that was noted already. ``address`` is the host's."""

    cell: CellUuid
    fence: Fence
    address: str


class Fencer:
    """Asks fences, in threads of its own. ``answered`` is called when one has said something."""

    def __init__(
        self, command: str | None, cells: Cells, answered: Callable[[], None] = lambda: None
    ) -> None:
        self._command = shlex.split(command or "")
        self._cells = cells
        self._answered = answered
        self._threads = ThreadPoolExecutor(_AT_ONCE, "fence")

    def check(self, mode: str) -> None:
        """Refuse to evacuate without a fence, and a fence that cannot be asked.

        Raises:
            Invalid: no fence is configured, or there is no such program.
        """
        if mode != Mode.NEVER and not self._command:
            raise Invalid(
                f"[ha] evacuate_on_host_failure = {mode} needs [ha] fence_command: "
                "a host that is only silent may run its servers still."
            )
        if self._command and shutil.which(self._command[0]) is None:
            raise Invalid(
                f"[ha] fence_command: {self._command[0]} is no program that can be called."
            )

    def take_note(self, asked: Asked) -> None:
        """Ask a fence as soon as a thread is free."""
        self._threads.submit(self._drive, asked)

    def stop(self) -> None:
        """Ask no more. What is in hand is asked again by another, if its answer is not heard."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _drive(self, asked: Asked) -> None:
        try:
            self.ask(asked)
        except KilonovaError as error:
            LOG.warning("The fence of %s is asked again: %s", asked.fence.host, error)
        except Exception:
            LOG.exception("Asking the fence of %s failed", asked.fence.host)

    def ask(self, asked: Asked) -> bool:
        """Ask a fence, note what it said, and return whether it said yes.

        Raises:
            DatabaseUnavailable: it is asked again later.
        """
        fence = asked.fence
        yes, words = run([*self._command, fence.host, asked.address])
        database = self._cells.database(asked.cell)
        counts = host_fences.answer(database, fence, words, utcnow(), yes=yes)
        level = logging.INFO if yes else logging.WARNING
        said = "yes" if yes else "no"
        late = "" if counts else ", too late"
        LOG.log(level, "The fence of %s says %s%s: %s", fence.host, said, late, words or "nothing")
        self._answered()
        return yes and counts


def run(command: list[str], seconds: float = FENCE_SECONDS) -> tuple[bool, str]:
    """Call a fence; return whether it said yes, and the end of what it wrote."""
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return False, f"it could not be called: {error}"
        try:
            status = process.wait(seconds)
            ended = f"exit status {status}" if status else ""
        except subprocess.TimeoutExpired:
            status, ended = 1, f"no answer within {seconds:g} seconds"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _WORDS))
        words = output.read().decode(errors="replace").strip()
    return status == 0, "; ".join(word for word in (words, ended) if word)
