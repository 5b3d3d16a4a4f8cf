"""Orders about network cards that are lost, come twice or come too late."""

from datetime import timedelta

from kilonova.conductor import patience
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import ActOnInstance
from tests.functional.pipeline.network_case import NetworkCase
from tests.functional.pipeline.wire import Wire

ATTACH, DETACH = "compute_attach_interface", "compute_detach_interface"


class LostCards(NetworkCase):
    """A server with a card, and a second network."""

    hosts = 2

    def setUp(self) -> None:
        super().setUp()
        self.patch(patience, "NOT_ATTACHED", timedelta(seconds=1))
        self.uuid = self.boot()["id"]
        self.other = self.neutron.network("other", self.project, "10.2.0.0/24")
        self.wire = Wire(self)

    def ask_for_card(self) -> str:
        """Ask for a card in the second network, and return its port."""
        answer = self.attach(self.uuid, net_id=self.other)
        self.assertEqual(200, answer.status_code, answer.text)
        port: str = answer.json()["interfaceAttachment"]["port_id"]
        return port

    def ask_to_take(self, port: str) -> None:
        path = f"/servers/{self.uuid}/os-interface/{port}"
        self.assertEqual(202, self.ask("compute", "DELETE", path).status_code)

    def other_addresses(self) -> set[str]:
        return self.addresses(self.uuid, "other")

    def with_card(self) -> str:
        """Give the server a second card, and return its port."""
        port = self.ask_for_card()
        self.until("it has it", lambda: len(self.other_addresses()) == 1)
        return port

    def until_ended(self, action: str, event: str) -> None:
        """Wait until an action has ended well, and be sure that it did so once."""
        done = [(event, "Success")]
        self.until(f"{action} ended", lambda: self.events(self.uuid, action) == done)

    def test_an_order_that_is_lost_is_given_again(self) -> None:
        self.wire.lost.add(ActOnInstance.__name__)
        port = self.ask_for_card()
        self.wire.lost.clear()
        self.until_ended("attach_interface", ATTACH)
        self.assertEqual(1, len(self.other_addresses()))
        self.wire.lost.add(ActOnInstance.__name__)
        self.ask_to_take(port)
        self.wire.lost.clear()
        self.until_ended("detach_interface", DETACH)
        self.assertEqual(set(), self.other_addresses())
        self.assertEqual(1, len(self.neutron.ports_of(self.uuid)))

    def test_one_that_comes_twice_is_done_once(self) -> None:
        self.wire.repeated.add(ActOnInstance.__name__)
        port = self.with_card()
        self.until_ended("attach_interface", ATTACH)
        self.ask_to_take(port)
        self.until_ended("detach_interface", DETACH)
        self.assertEqual(set(), self.other_addresses())

    def test_one_that_comes_after_the_next_does_nothing(self) -> None:
        mine = self.neutron.port(self.other, self.project)
        self.attach(self.uuid, port_id=mine)
        self.until_ended("attach_interface", ATTACH)
        context, late, host = next(
            sent for sent in self.wire.sent if isinstance(sent[1], ActOnInstance)
        )
        self.ask_to_take(mine)
        self.until_ended("detach_interface", DETACH)
        MemoryBus(f"memory://{self.state}").cast(context, late, host=host)
        self.with_card()
        self.assertEqual("", self.neutron.get_port(mine)["device_id"])
        path = f"/servers/{self.uuid}/os-instance-actions/{context.request_id}"
        shown = self.get("compute", path)["instanceAction"]["events"]
        self.assertEqual(["Success"], [event["result"] for event in shown])

    def test_a_server_that_moves_meanwhile_has_its_card_there(self) -> None:
        self.wire.lost.add(ActOnInstance.__name__)
        self.ask_for_card()
        self.wire.lost.clear()
        self.act(self.uuid, {"migrate": None})
        self.until_status(self.uuid, "VERIFY_RESIZE")
        self.until_ended("attach_interface", ATTACH)
        self.assertEqual(1, len(self.other_addresses()))
        self.assertEqual(1, len(self.moved_to(self.uuid)))

    def test_a_card_of_a_server_without_a_host_is_let_go_of(self) -> None:
        port = self.with_card()
        self.patch(patience, "NOT_ATTACHED", timedelta(hours=1))
        self.wire.lost.add(ActOnInstance.__name__)
        self.ask_to_take(port)
        self.wire.lost.clear()
        self.act(self.uuid, {"shelve": None})
        self.until_status(self.uuid, "SHELVED_OFFLOADED")
        self.assertEqual(2, len(self.neutron.ports_of(self.uuid)))
        self.patch(patience, "NOT_ATTACHED", timedelta(seconds=0))
        self.until("it has one", lambda: len(self.neutron.ports_of(self.uuid)) == 1)
        self.act(self.uuid, {"unshelve": None})
        self.until_status(self.uuid, "ACTIVE")
        self.assertEqual(set(), self.other_addresses())
