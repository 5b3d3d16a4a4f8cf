"""A broker that is short of memory, queues that are full, and connections that it drops.

Over the bus alone. ``test_dead_parts`` has whole deployments, and brokers that are killed.
"""

from concurrent.futures import ThreadPoolExecutor

import testtools
from oslo_config import cfg

from kilonova.core import settings
from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable
from kilonova.rpc import oslo, probe
from kilonova.rpc.messages import ConsoleOutput, GetConsoleOutput
from kilonova.rpc.oslo import OsloBus
from tests.integration import services
from tests.integration.case import eventually
from tests.unit.rpc import bus_case
from tests.unit.rpc.bus_case import CONTEXT, DELETE, H1, LONG, Compute

_VHOST = "faults"
_PATIENCE = 120.0


class _Slow(Compute):
    """A host that says nothing of consoles while it is told not to."""

    def get_console_output(
        self, context: RequestContext, message: GetConsoleOutput
    ) -> ConsoleOutput:
        """Say something, when it may go on."""
        self.began.set()
        self.go_on.wait(_PATIENCE)
        return super().get_console_output(context, message)


class BrokerFaults(testtools.TestCase):
    """One bus on the real broker."""

    console = bus_case.BusCase.console
    serve = bus_case.BusCase.serve

    def setUp(self) -> None:
        super().setUp()
        self.broker = services.rabbitmq()
        self.conf: cfg.ConfigOpts = settings.new_config()
        self.conf([])
        url = self.broker.transport_url(_VHOST)
        self.bus = OsloBus(self.conf, url)
        self.conf.set_override("transport_url", url)
        self.addCleanup(self.bus.close)
        self.patch(oslo, "_CONFIRMED_WITHIN", 2.0)

    def is_well(self) -> bool:
        """Return what a service's ``/healthcheck`` says of the bus."""
        try:
            probe.check(self.conf)
        except BusUnavailable:
            return False
        return True

    def limit(self, memory: str) -> None:
        """Let the broker take no messages while it has more memory than this."""
        self.broker.control("set_vm_memory_high_watermark", "absolute", memory)

    def test_a_message_to_one_that_is_short_of_memory_is_refused_in_time_and_later_taken(
        self,
    ) -> None:
        host = self.serve(H1)
        self.assertTrue(self.is_well())
        self.addCleanup(self.limit, "1GiB")
        self.limit("1MiB")
        eventually("it is not well", _PATIENCE, lambda: not self.is_well())
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(self.bus.cast, CONTEXT, DELETE, host=H1)
            # Twice what it has to confirm a message, and what it takes to connect again.
            self.assertIsInstance(sent.exception(_PATIENCE / 2), BusUnavailable)
        error = self.assertRaises(BusUnavailable, probe.check, self.conf)
        self.assertIn("short of memory or disk", error.message)
        self.limit("1GiB")
        eventually("it is well", _PATIENCE, self.is_well)
        eventually("a message is taken", _PATIENCE, self._sends)
        host.deleted.get(timeout=_PATIENCE)

    def _sends(self) -> bool:
        try:
            self.bus.cast(CONTEXT, DELETE, host=H1)
        except BusUnavailable:
            return False
        return True

    def test_a_message_for_a_full_queue_is_refused_and_what_it_holds_is_kept(self) -> None:
        full = ("full", ".*", '{"max-length": 1, "overflow": "reject-publish"}')
        server = self.bus.serve(DELETE.topic, H1, Compute(H1), threads=2)
        server.stop()
        self.broker.control("set_policy", "-p", _VHOST, *full, "--apply-to", "queues")
        self.addCleanup(self.broker.control, "clear_policy", "-p", _VHOST, "full")
        # How many it takes before it notices that it is full is its own affair.
        eventually("it is full", _PATIENCE, lambda: not self._sends())
        host = self.serve(H1)
        host.deleted.get(timeout=_PATIENCE)
        eventually("a message is taken", _PATIENCE, self._sends)
        host.deleted.get(timeout=_PATIENCE)

    def test_a_call_whose_connection_is_dropped_ends_in_time_and_the_next_is_answered(self) -> None:
        host = _Slow(H1)
        server = self.bus.serve(DELETE.topic, H1, host, threads=2)
        self.addCleanup(server.stop)
        self.addCleanup(host.go_on.set)
        host.go_on.clear()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(self.console, "a", H1, LONG)
            self.assertTrue(host.began.wait(_PATIENCE))
            self.broker.control("close_all_connections", "--vhost", _VHOST, "dropped by a test")
            host.go_on.set()
            error = asked.exception(_PATIENCE)
        self.assertIn(type(error), (type(None), *_LOST))
        eventually("the next is answered", _PATIENCE, self._answers)

    def _answers(self) -> bool:
        try:
            return self.console("b", H1) == "h1 b 7"
        except BusUnavailable:
            return False


_LOST = (BusUnavailable, *BusUnavailable.__subclasses__())
