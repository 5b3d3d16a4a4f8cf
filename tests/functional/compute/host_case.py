"""A compute host in a small cell, over any driver: what tests of its failures share."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import testtools

from kilonova.compute import builder, reporter
from kilonova.compute.driver import Driver
from kilonova.compute.service import ComputeService
from kilonova.core import settings
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.core.orders import Order
from kilonova.core.states import TaskState, VmState
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import ActOnInstance
from tests.functional.compute.image_store import ServedImages
from tests.functional.compute.small_cell import SmallCell, until
from tests.instances import HOST


class HostCase(testtools.TestCase):
    """A cell, in which ``serve`` starts compute hosts."""

    bus_url = ""
    """Where the cell's bus is; without it, in memory."""

    def setUp(self) -> None:
        super().setUp()
        # The service waits for seconds where tests need not.
        self.patch(builder, "_PAUSE", 0.1)
        self.patch(builder, "_LONGEST_PAUSE", 0.2)
        self.patch(reporter, "_LOOKS", 0.1)
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        self.cell = SmallCell(self.directory, self.bus_url)
        self.addCleanup(self.cell.stop)
        self._running: list[ComputeService] = []
        self.images = ServedImages(self.directory)
        self.addCleanup(self.images.stop)
        self.peers = (self.cell.placement, self.images.client)
        self.addCleanup(self._end_all)

    def serve(self, driver: Driver, host: HostName = HOST) -> ComputeService:
        """Start a compute host and wait until it takes messages."""
        file = self.directory / f"{host}.conf"
        file.write_text(self.cell.options)
        conf = settings.read_config(["--config-file", str(file)], prog="kilonova")
        started = ComputeService(conf, host, Buses(conf).default(), driver, self.peers)
        started.start()
        self._running.append(started)
        until("the host adopted its guests", started._handlers.adopted.is_set)
        return started

    def end(self, started: ComputeService) -> None:
        """Stop a compute host; its guests live on."""
        self._running.remove(started)
        started.stop()

    def _end_all(self) -> None:
        while self._running:
            self.end(self._running[-1])

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        until(what, condition)

    def until_active(self, server: Instance) -> Instance:
        """Wait until a server is ACTIVE, and nothing is under way."""
        return self.until_is(server, VmState.ACTIVE)

    def until_is(self, server: Instance, state: VmState) -> Instance:
        """Wait until a server is in a state and nothing is under way; return it as the cell has it."""

        def reached() -> bool:
            found = self.cell.get(server)
            return found.vm_state == state and found.task_state is None

        until(f"{server.name} is {state}", reached)
        return self.cell.get(server)

    def act(self, server: Instance, order: Order) -> ActOnInstance:
        """Give a server's host an order, wait until it is over, and return the message."""
        message = self.cell.act(server, order)
        self.until("it is over", lambda: self.cell.get(server).task_state is None)
        return message

    def until_begun(self, server: Instance) -> None:
        """Wait until a host has begun to build a server."""
        until("it is begun", lambda: self.cell.get(server).task_state == TaskState.SPAWNING)

    def until_deleted(self, server: Instance) -> None:
        """Wait until a server is deleted and holds nothing."""
        until("it is deleted", lambda: self.cell.get(server).deleted)
        self.assertEqual({}, self.cell.held(server))
