"""Runs the programs that come with QEMU."""

import subprocess

_SECONDS = 600
_KEPT = 500


class ToolFailed(Exception):
    """A program could not be run, or said that it failed; the message is its own."""


def run(*command: str) -> str:
    """Run a command and return its standard output.

    Raises:
        ToolFailed: it did not exit with 0 in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFailed(str(error)) from error
    if done.returncode:
        raise ToolFailed(f"{' '.join(command[:2])}: {done.stderr.strip()[:_KEPT]}")
    return done.stdout
