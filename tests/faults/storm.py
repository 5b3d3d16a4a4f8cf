"""Faults from a seed: parts that go away and come back, messages that are lost or come twice."""

import random
import time

from kilonova.embedded.deployment import Deployment
from tests.functional.pipeline.wire import Outage, Wire

PARTS = ("conductor", "scheduler", "placement")
DATABASES = ("api", "cell1", "placement")
LOST = ("BuildServers", "BuildInstance", "BuildInstances", "DeleteInstance", "ActOnInstance")
"""Messages that nobody waits for an answer to; others are lost by losing who answers."""
REPEATED = (*LOST, "SelectDestinations", "ReportInstances")


class Storm:
    """One fault after the other, for a while; then everything is back."""

    def __init__(self, seed: int, deployment: Deployment, wire: Wire, outage: Outage) -> None:
        self._chance = random.Random(seed)
        self._deployment = deployment
        self._wire = wire
        self._outage = outage
        self.told: list[str] = []

    def blow(self, seconds: float) -> None:
        """Let faults happen for so long."""
        end = time.monotonic() + seconds
        faults = (self._stop_a_part, self._break_a_database, self._lose, self._cut, self._repeat)
        while time.monotonic() < end:
            self._chance.choice(faults)()
        self._wire.repeated.clear()

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0.0, 0.5))

    def _tell(self, what: str) -> None:
        self.told.append(what)

    def _stop_a_part(self) -> None:
        part = self._chance.choice(PARTS)
        self._tell(f"{part} is away")
        self._deployment.stop_part(part)
        self._wait()
        self._deployment.start_part(part)

    def _break_a_database(self) -> None:
        database = self._chance.choice(DATABASES)
        self._tell(f"the database {database} is away")
        self._outage.away.add(database)
        self._wait()
        self._outage.away.clear()

    def _lose(self) -> None:
        message = self._chance.choice(LOST)
        self._tell(f"{message} is lost")
        self._wire.lost.add(message)
        self._wait()
        self._wire.lost.clear()

    def _cut(self) -> None:
        self._tell("the bus is away")
        self._wire.is_away = True
        self._wait()
        self._wire.is_away = False

    def _repeat(self) -> None:
        self._wire.repeated = set(self._chance.sample(REPEATED, 3))
        self._tell(f"{', '.join(sorted(self._wire.repeated))} come twice")
        self._wait()
