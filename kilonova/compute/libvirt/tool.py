"""Runs the programs that make and look at disks."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from kilonova.core.errors import BuildFailed

_SECONDS = 600
_KEPT = 500
_MORE_PATHS = "/usr/sbin:/sbin"
"""Where programs that make file systems are, even if who runs this does not look there."""
_LIMITED = ("prlimit", f"--as={1 << 30}", "--cpu=30", "--")
"""For a program that reads what a stranger made: a GiB of memory and half a minute are plenty."""


class ToolFailed(Exception):
    """A program could not be run, or said that it failed; the message is its own."""


def run(*command: str, is_limited: bool = False) -> str:
    """Run a command and return its standard output.

    Raises:
        ToolFailed: it did not exit with 0 in time.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{_MORE_PATHS}"
    try:
        done = subprocess.run(
            (*_LIMITED, *command) if is_limited else command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFailed(str(error)) from error
    if done.returncode:
        raise ToolFailed(f"{' '.join(command[:2])}: {done.stderr.strip()[:_KEPT]}")
    return done.stdout


@contextmanager
def written() -> Iterator[None]:
    """Say that a guest's file could not be written, whatever the reason.

    Raises:
        BuildFailed: it could not.
    """
    try:
        yield
    except (OSError, ToolFailed) as error:
        raise BuildFailed("A disk cannot be made on this host.") from error
