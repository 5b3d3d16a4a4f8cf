"""Hosts with fake drivers, and one cell."""

from kilonova.compute.driver import Guest
from kilonova.compute.fake import FakeDriver
from kilonova.compute.script import Script, Step
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.states import PowerState
from tests.functional.compute.host_case import HostCase
from tests.functional.compute.test_fake_driver import configuration
from tests.instances import HOST

OTHER = HostName("host-2")
RUNNING, OFF = PowerState.RUNNING, PowerState.SHUTDOWN


class FakeHostCase(HostCase):
    """Fake hosts, whose guests stay when their service is replaced."""

    steps: tuple[Step, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        script = Script(self.steps)
        self.driver = FakeDriver(configuration(), HOST, script)
        self.other = FakeDriver(configuration(), OTHER, script)
        for driver in (self.driver, self.other):
            (node,) = driver.nodes()
            self.cell.add_host(node)

    def guest(self, server: Instance, driver: FakeDriver | None = None) -> Guest | None:
        """Return a host's guest of a server."""
        return (driver or self.driver).guests().get(server.uuid)
