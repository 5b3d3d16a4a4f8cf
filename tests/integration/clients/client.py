"""The ``openstack`` command as tests run it: in one process for all commands, see ``shell``."""

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.services.keystone import ADMIN, PROGRAMS
from tests.integration.services.process import CommandFailed

_SHELL = Path(__file__).parent / "shell.py"


class Client:
    """The client of a cloud whose users a clouds.yaml names."""

    def __init__(self, clouds: Path) -> None:
        self._clouds = str(clouds)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        self._shell = subprocess.Popen(
            [str(PROGRAMS / "python"), str(_SHELL)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._shell.communicate(timeout=10)
        self._shell.kill()
        self._shell.wait()

    def run(
        self, *argv: str, user: str = ADMIN, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a command as a user of the cloud, and return what it prints.

        ``environment`` holds other variables than the ones that name the cloud, and stands in their place.

        Raises:
            CommandFailed: it exited with something other than 0.
        """
        of_cloud = {"OS_CLIENT_CONFIG_FILE": self._clouds, "OS_CLOUD": user}
        asked = {"argv": argv, "environment": of_cloud if environment is None else environment}
        print(json.dumps(asked), file=self._shell.stdin, flush=True)
        assert self._shell.stdout is not None
        done = json.loads(self._shell.stdout.readline())
        if done["status"]:
            raise CommandFailed(
                ("openstack", *argv),
                subprocess.CompletedProcess(
                    argv, done["status"], stdout=done["stdout"], stderr=done["stderr"]
                ),
            )
        return str(done["stdout"])

    def show(
        self, *argv: str, user: str = ADMIN, environment: Mapping[str, str] | None = None
    ) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self.run(*argv, "-f", "json", user=user, environment=environment))
