"""What every bus does, whatever carries its bytes."""

import queue
import threading

import testtools

from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable, NotFound
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import (
    ActOnInstance,
    BuildInstance,
    BuildInstances,
    CacheImages,
    ConsoleOutput,
    DeleteInstance,
    FindConsole,
    FindDevices,
    GetConsoleOutput,
    GuideMove,
    Measure,
    MoveInstance,
    SampleServers,
    TakeExternalEvents,
    Topic,
)
from tests.unit.rpc.values import LEAST_INSTANCE

CONTEXT = RequestContext(request_id=RequestId("req-1"), roles=("admin",))
H1, H2, GONE = HostName("h1"), HostName("h2"), HostName("gone")
LONG = 10.0
"""Seconds after which something that must happen counts as not happening."""

DELETE = DeleteInstance(instance=LEAST_INSTANCE)


class Compute:
    """A compute host that notes who asked it to delete, and holds deletes back while told so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deleted: queue.SimpleQueue[tuple[str, RequestContext, DeleteInstance]] = (
            queue.SimpleQueue()
        )
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def delete_instance(self, context: RequestContext, message: DeleteInstance) -> None:
        """Note it, when it may go on."""
        self.began.set()
        self.go_on.wait(LONG)
        self.deleted.put((self.name, context, message))

    def get_console_output(
        self, _context: RequestContext, message: GetConsoleOutput
    ) -> ConsoleOutput:
        """Say who was asked for what; there is no server of the name ``nobody``."""
        if message.instance_uuid == "nobody":
            raise NotFound("There is no guest nobody.")
        return ConsoleOutput(text=f"{self.name} {message.instance_uuid} {message.length}")

    def build_instance(self, context: RequestContext, message: BuildInstance) -> None:
        """Not asked here."""

    def build_instances(self, context: RequestContext, message: BuildInstances) -> None:
        """Not asked here."""

    def move_instance(self, context: RequestContext, message: MoveInstance) -> None:
        """Not asked here."""

    def guide_move(self, context: RequestContext, message: GuideMove) -> None:
        """Not asked here."""

    def find_console(self, context: RequestContext, message: FindConsole) -> None:
        """Not asked here."""

    def measure(self, context: RequestContext, message: Measure) -> None:
        """Not asked here."""

    def find_devices(self, context: RequestContext, message: FindDevices) -> None:
        """Not asked here."""

    def sample_servers(self, context: RequestContext, message: SampleServers) -> None:
        """Not asked here."""

    def take_external_events(self, context: RequestContext, message: TakeExternalEvents) -> None:
        """Not asked here."""

    def cache_images(self, context: RequestContext, message: CacheImages) -> None:
        """Not asked here."""

    def act_on_instance(self, context: RequestContext, message: ActOnInstance) -> None:
        """Not asked here."""


class BusCase(testtools.TestCase):
    """``open_bus`` is the subclass's."""

    def setUp(self) -> None:
        super().setUp()
        self.bus = self.open_bus()
        self.addCleanup(self.bus.close)

    def open_bus(self) -> Bus:
        """Return a bus that no other test uses."""
        raise NotImplementedError

    def serve(self, name: HostName) -> Compute:
        """Serve a compute host until the test ends."""
        compute = Compute(name)
        server = self.bus.serve(Topic.COMPUTE, name, compute, threads=2)
        self.addCleanup(server.stop)
        self.addCleanup(compute.go_on.set)
        return compute

    def console(self, uuid: str, host: HostName, timeout: float = LONG) -> str:
        """Ask a host for a console and return what it said."""
        message = GetConsoleOutput(instance_uuid=InstanceUuid(uuid), length=7)
        return self.bus.call(CONTEXT, message, ConsoleOutput, host=host, timeout=timeout).text

    def test_a_call_returns_what_the_host_that_it_names_answers(self) -> None:
        self.serve(H1)
        self.serve(H2)
        self.assertEqual("h1 a 7", self.console("a", H1))
        self.assertEqual("h2 b 7", self.console("b", H2))

    def test_a_cast_returns_before_it_is_handled_and_is_handled_once_by_its_host(self) -> None:
        compute, other = self.serve(H1), self.serve(H2)
        compute.go_on.clear()
        for _ in range(4):
            self.bus.cast(CONTEXT, DELETE, host=H1)
        self.assertTrue(compute.deleted.empty())
        compute.go_on.set()
        for _ in range(4):
            self.assertEqual(("h1", CONTEXT, DELETE), compute.deleted.get(timeout=LONG))
        self.assertRaises(queue.Empty, compute.deleted.get, timeout=0.05)
        self.assertTrue(other.deleted.empty())

    def test_an_error_of_the_handler_is_raised_where_it_was_called(self) -> None:
        self.serve(H1)
        error = self.assertRaises(NotFound, self.console, "nobody", H1)
        self.assertEqual("There is no guest nobody.", error.message)

    def test_a_call_to_a_host_that_does_not_answer_in_time_is_unavailable(self) -> None:
        self.serve(H1)
        error = self.assertRaises(BusUnavailable, self.console, "a", GONE, timeout=0.1)
        self.assertIn("GetConsoleOutput", error.message)

    def test_messages_to_several_hosts_at_once_do_not_wait_for_each_other(self) -> None:
        slow = self.serve(H1)
        self.serve(H2)
        slow.go_on.clear()
        self.bus.cast(CONTEXT, DELETE, host=H1)
        self.assertTrue(slow.began.wait(LONG))
        self.assertEqual("h2 b 7", self.console("b", H2))
        # Nor do two to one host, which has two threads.
        self.assertEqual("h1 a 7", self.console("a", H1))
