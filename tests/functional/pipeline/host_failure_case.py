"""Deployments whose hosts die, and a fence that says what the test wants."""

import shlex
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kilonova.core import host_failure
from kilonova.db import hosts
from kilonova.db.cell_schema import StoredService
from tests.functional.pipeline.case import PipelineCase
from tests.functional.pipeline.moving_case import MovingCase

_FENCE = """\
#!/bin/sh
echo "$@" >>{directory}/asked
cat {directory}/words
exit $(cat {directory}/status)
"""
NOT_YET = 2.0
"""Seconds, and several rounds of the converger, for which nothing must happen."""


class Fenced(PipelineCase):
    """Hosts that are down after a few seconds, and a fence that says what the test wants."""

    mode = "always"
    down_after = 3
    beside = ""
    """The options of services beside it."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.fence = Path(scratch.name)
        program = self.fence / "fence"
        program.write_text(_FENCE.format(directory=shlex.quote(scratch.name)))
        program.chmod(0o700)
        self.says(0, "it is off")
        self.more = (
            f"service_down_time = {self.down_after}\nreport_interval = 1\n"
            f"[ha]\nevacuate_on_host_failure = {self.mode}\nfence_command = {program} --now\n"
            f"{self.beside}"
        )
        self.patch(host_failure, "STAYS_SILENT", timedelta(seconds=0.5))
        self.patch(host_failure, "_FIRST_PAUSE", timedelta(seconds=1))
        self.patch(host_failure, "_ANSWERED_BY", timedelta(seconds=2))
        super().setUp()

    def says(self, status: int, words: str) -> None:
        """Let the fence say this from now on."""
        (self.fence / "words").write_text(words)
        (self.fence / "status").write_text(str(status))

    def asked(self) -> list[str]:
        """Return what the fence was asked."""
        there = self.fence / "asked"
        return there.read_text().splitlines() if there.exists() else []


class FencedCase(Fenced, MovingCase):
    """The same, with servers that move: long before a busy host counts as down, a dead one does."""

    down_after = 10

    def dies(self, name: str) -> Any:
        """Let a host be silent from now on, with its guests where they are; return it."""
        services: Any = self.deployment.part("compute")
        (dead,) = [one for one in services._services if one._host == name]
        dead.stop()
        dead.stop = lambda: None
        self.ages(name)
        return dead

    def ages(self, name: str) -> None:
        """Let as much time have gone by since a host was heard as makes it count as down."""
        (service,) = hosts.list_services(self.database(), binary=hosts.COMPUTE, host=name)
        assert service.last_seen is not None
        before = service.last_seen - timedelta(seconds=self.down_after)
        change = sa.update(StoredService).where(StoredService.uuid == service.uuid)
        self.database().write(lambda c: c.execute(change.values(last_seen=before)))

    def returns(self, dead: Any) -> None:
        """Let a dead host be back, with the guests that it had."""
        services: Any = self.deployment.part("compute")
        peers = (dead._placement, dead._handlers._mover._work._images)
        conf = self.deployment._configuration()
        again = type(dead)(conf, dead._host, dead._bus, dead._driver, peers)
        services._services[services._services.index(dead)] = again
        again.start()

    def scene(self) -> Any:
        """Return what the conductor's converger looks at and acts on."""
        conductor: Any = self.deployment.part("conductor")
        return conductor._converger._scene

    def cell(self) -> Any:
        """Return the one cell with hosts."""
        return self.scene().cells.all()[-1]

    def database(self) -> Any:
        """Return that cell's database."""
        return self.scene().database(self.cell().uuid)

    def elsewhere(self, uuid: str, dead: str) -> None:
        """Wait until a server is ACTIVE on another host."""
        self.until(f"{uuid} left {dead}", lambda: self.host(uuid) != dead)
        self.until_idle(uuid, "ACTIVE")

    def stays(self, uuid: str, host: str, condition: Callable[[], bool] = lambda: False) -> None:
        """Check that nothing of a server is started elsewhere for a while."""
        deadline = time.monotonic() + NOT_YET
        while time.monotonic() < deadline and not condition():
            self.assertEqual(host, self.host(uuid))
            self.assertEqual([f"{host} RUNNING"], self.guests()[uuid])
            time.sleep(0.1)
