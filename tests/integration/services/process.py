"""Processes that a test starts: where they write, when they are ready, and that they end.

Every process is the leader of a session of its own, so that an interrupt at the terminal reaches the test
alone, and it is killed by the kernel should the test's process die. Start processes from the main thread:
the kernel ties them to the thread that started them.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

TAIL_LINES = 40


class NotReady(Exception):
    """A process ended, or was not ready in time. The message carries the end of its log."""


class Process:
    """A program that runs until it is stopped, as ``user`` or whoever runs the tests."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str = "",
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                # setpriv becomes the program, so the pid is the program's.
                ["setpriv", *as_user(user), "--pdeathsig=KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | (env or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id, which is its group's and its session's too."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status (minus the signal's number after a signal), or None while it runs."""
        return self._popen.poll()

    def wait_ready(self, ready: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until ``ready()``.

        Raises:
            NotReady: the process ended, or the time did.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.returncode is not None:
                raise NotReady(f"{self.name} exited with {self.returncode}.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} is not ready after {seconds:g} s.\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the end of the log, under the log's name."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"--- {self.log}", *text])

    def send(self, number: int) -> None:
        """Send a signal to the process alone."""
        self._popen.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for the end and return the exit status. Raises ``subprocess.TimeoutExpired``."""
        return self._popen.wait(seconds)

    def stop(self, seconds: float = 60, *, gently: int = signal.SIGTERM) -> int:
        """Ask for the end by a signal, kill all of the group after ``seconds``, return the exit status."""
        if self.returncode is None:
            self.send(gently)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(seconds)
        self.kill()
        return self._popen.wait()

    def kill(self) -> None:
        """Kill the process and all of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def as_user(user: str) -> list[str]:
    """Return ``setpriv``'s options that change to a user, or none for the user that we are."""
    return [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, seconds: float = 300) -> str:
    """Run a command to its end and return its standard output.

    Raises:
        CommandFailed: with all that it printed.
    """
    done = subprocess.run(
        list(argv),
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(argv, done)
    return done.stdout


class CommandFailed(Exception):
    """A command exited with something other than 0: ``status``, ``stdout``, ``stderr``."""

    def __init__(self, argv: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(
            f"{' '.join(argv)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    """Whether an HTTP server answers a GET of this address without an error of its own."""
    try:
        return requests.get(url, timeout=60).status_code < 500
    except (requests.ConnectionError, requests.Timeout):
        return False
