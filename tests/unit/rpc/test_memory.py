"""The bus in this process's memory."""

import itertools
import threading
import uuid

from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.rpc.bus import Bus
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import ConsoleOutput, GetConsoleOutput, Topic
from tests.unit.rpc import bus_case
from tests.unit.rpc.bus_case import CONTEXT, DELETE, GONE, H1, H2, LONG, Compute


class MemoryBusTest(bus_case.BusCase):
    """Beside what every bus does: who shares queues, and what waits for whom."""

    def open_bus(self) -> Bus:
        """Return a bus of a name of its own."""
        self.url = f"memory://{uuid.uuid4()}"
        return MemoryBus(self.url)

    def test_buses_of_one_url_share_their_queues_and_of_another_do_not(self) -> None:
        self.serve(H1)
        message = GetConsoleOutput(instance_uuid=InstanceUuid("a"))
        same = MemoryBus(self.url)
        self.assertEqual(
            "h1 a None", same.call(CONTEXT, message, ConsoleOutput, host=H1, timeout=LONG).text
        )
        other = MemoryBus(self.url + "-other")
        self.assertRaises(
            BusUnavailable, other.call, CONTEXT, message, ConsoleOutput, host=H1, timeout=0.05
        )

    def test_a_message_to_nobody_in_particular_goes_to_each_listener_in_turn(self) -> None:
        computes = [self.serve(H1), self.serve(H2)]
        for _ in range(6):
            self.bus.cast(CONTEXT, DELETE)
        for compute in computes:
            for _ in range(3):
                compute.deleted.get(timeout=LONG)
            self.assertTrue(compute.deleted.empty())

    def test_what_is_sent_before_anybody_listens_waits_in_order_for_its_host(self) -> None:
        contexts = [RequestContext(request_id=RequestId(f"req-{n}")) for n in range(4)]
        for context, host in zip(contexts, (H1, H2, H1, H1), strict=True):
            self.bus.cast(context, DELETE, host=host)
        compute = Compute("h1")
        self.bus.serve(Topic.COMPUTE, H1, compute, threads=1).stop()
        heard = [compute.deleted.get(timeout=LONG)[1] for _ in range(3)]
        self.assertEqual([contexts[0], contexts[2], contexts[3]], heard)
        self.assertEqual(contexts[1], self.serve(H2).deleted.get(timeout=LONG)[1])
        self.assertEqual("h1 a 7", self._served_again(compute))
        self.assertTrue(compute.deleted.empty())

    def _served_again(self, compute: Compute) -> str:
        server = self.bus.serve(Topic.COMPUTE, H1, compute, threads=1)
        self.addCleanup(server.stop)
        return self.console("a", H1)

    def test_a_call_that_waits_for_its_host_is_answered_when_that_comes(self) -> None:
        answers: list[str] = []
        caller = threading.Thread(target=lambda: answers.append(self.console("a", H1)))
        caller.start()
        self.serve(H1)
        caller.join(LONG)
        self.assertEqual(["h1 a 7"], answers)

    def test_a_server_that_stops_finishes_what_it_has_and_takes_nothing_more(self) -> None:
        compute = Compute("h1")
        compute.go_on.clear()
        server = self.bus.serve(Topic.COMPUTE, "h1", compute)
        self.bus.cast(CONTEXT, DELETE, host=H1)
        self.assertTrue(compute.began.wait(LONG))
        threading.Timer(0.05, compute.go_on.set).start()
        server.stop()
        self.assertFalse(compute.deleted.empty())
        self.assertRaises(BusUnavailable, self.console, "a", H1, timeout=0.05)

    def test_a_message_is_its_json_and_not_the_senders_object(self) -> None:
        compute = self.serve(H1)
        self.bus.cast(CONTEXT, DELETE, host=H1)
        _, context, message = compute.deleted.get(timeout=LONG)
        self.assertEqual(DELETE, message)
        self.assertIsNot(DELETE, message)
        self.assertIsNot(CONTEXT, context)

    def test_many_calls_at_once_each_get_their_own_answer(self) -> None:
        self.serve(H1)
        self.serve(H2)
        hosts = itertools.cycle((H1, H2))
        asked = [(f"vm-{number}", next(hosts)) for number in range(40)]
        answers: dict[str, str] = {}

        def ask(uuid_: str, host: HostName) -> None:
            answers[uuid_] = self.console(uuid_, host)

        threads = [threading.Thread(target=ask, args=one) for one in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        self.assertEqual({name: f"{host} {name} 7" for name, host in asked}, answers)

    def test_a_dead_host_keeps_nobody_else_waiting(self) -> None:
        self.serve(H1)
        self.bus.cast(CONTEXT, DELETE, host=GONE)
        self.assertEqual("h1 a 7", self.console("a", H1))
