"""The ``openstack`` command, loaded once and forked for every command: loading takes seconds.

Runs in the clients' environment. Each line of standard input is a JSON object: ``argv``, and
``environment``, all that the command finds in variables named OS_*. It is answered with a line:
``status``, ``stdout``, ``stderr``.
"""

import importlib.metadata
import json
import os
import signal
import sys
import tempfile
import time
from typing import Any, NoReturn

from openstackclient.shell import main as openstack

GROUPS = ("common", "compute.v2", "identity.v3", "image.v2", "placement.v1")
MODULES = (
    "openstack.compute.v2._proxy",
    "openstack.identity.v3._proxy",
    "openstack.image.v2._proxy",
)
"""What the commands would import, each by itself."""

PATIENCE = 60
"""Seconds until a command is killed: some wait for ever for what does not come."""

LONGEST_SLEEP = 0.2
"""Seconds. The client looks every five whether a server is there; here that takes less."""


def load() -> None:
    """Import what commands need."""
    for group in GROUPS:
        for command in importlib.metadata.entry_points(group=f"openstack.{group}"):
            command.load()
    for module in MODULES:
        importlib.import_module(module)


def run(argv: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run one command in a process of its own."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            be_command(argv, environment)
        _, status = os.waitpid(child, 0)
        printed = []
        for stream in (stdout, stderr):
            stream.seek(0)
            printed.append(stream.read().decode())
    return {"status": os.waitstatus_to_exitcode(status), "stdout": printed[0], "stderr": printed[1]}


def be_command(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Run a command, and end with it."""
    signal.alarm(PATIENCE)
    os.environ.update(environment)
    status = 1
    try:
        status = openstack(argv)
    except SystemExit as exit_:  # of argparse
        status = exit_.code if isinstance(exit_.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer until standard input ends."""
    load()
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, LONGEST_SLEEP))
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
