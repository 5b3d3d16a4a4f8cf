"""The fake driver keeps the contract of all drivers."""

import testtools
from oslo_config import cfg

from kilonova.compute.fake import FakeDriver
from kilonova.compute.script import Script, Step, StepName
from kilonova.core import settings
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from tests.functional.compute.driver_contract import EndsByItself, GoesAway
from tests.functional.compute.measured_contract import Measures
from tests.functional.compute.screen_contract import HasConsoles
from tests.functional.compute.share_contract import HasShares
from tests.functional.compute.size_contract import ChangesSize
from tests.instances import HOST, instance


def configuration() -> cfg.ConfigOpts:
    """Return a configuration with its defaults."""
    return settings.read_config([], prog="kilonova", default_files=())


class _Absence(Script):
    """A script by which a host is away for as long as it is told to be."""

    away = False

    def take(self, name: StepName, host: HostName, server: str = "") -> tuple[Step, ...]:
        """See ``Script``."""
        if self.away:
            return (Step(step=name, error="gone", unavailable=True),)
        return super().take(name, host, server)


class FakeWorld:
    """One fake host."""

    console = "BOOT-OK vm\n"
    copies_begin_with = b"fake guest"

    def __init__(self) -> None:
        self._script = _Absence([Step(step="power-off", server="short", seconds=0.2)])
        self.driver = FakeDriver(configuration(), HOST, self._script)

    def export(self, share_id: str) -> str:
        """See ``SharingWorld``."""
        return f"192.0.2.1:/exports/{share_id}"

    def deaf(self, name: str) -> Instance:
        """Fake guests obey at once, and so heed whatever they are told."""
        return instance(name)

    def brief(self, name: str) -> Instance:
        """See ``World``."""
        return instance(name)

    def go(self) -> None:
        """See ``World``."""
        self._script.away = True

    def come(self) -> None:
        """See ``World``."""
        self._script.away = False


class FakeDriverTest(
    EndsByItself, GoesAway, HasConsoles, HasShares, ChangesSize, Measures, testtools.TestCase
):
    """The contract, on a fake host."""

    def world(self) -> FakeWorld:
        return FakeWorld()
