"""Members of a group that were sent where the group's rule is against them by the time they begin."""

from kilonova.core.ids import HostName
from kilonova.core.instance import Instance, Wishes
from kilonova.core.server_group import GroupRule
from kilonova.core.states import VmState
from tests.functional.compute.fake_host_case import OTHER, FakeHostCase
from tests.instances import HOST, instance

BUILD = "compute__do_build_and_run_instance"


def member(name: str, policy: str, host: HostName = HOST) -> Instance:
    """Return a server of a group that was placed on a host."""
    rule = GroupRule(group_uuid="99999999-0000-4000-8000-000000000001", policy=policy)
    return instance(name, wishes=Wishes(group=rule), host=host)


class LateCheckTest(FakeHostCase):
    """What the cell says when a build begins is what holds."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(self.driver)
        self.serve(self.other, OTHER)

    def test_a_second_on_a_host_is_built_on_its_alternate(self) -> None:
        first = self.until_active(self.cell.build(member("first", "anti-affinity"), OTHER))
        second = self.until_active(self.cell.build(member("second", "anti-affinity"), OTHER))
        self.assertEqual((HOST, OTHER), (first.host, second.host))
        self.assertIsNone(self.guest(second), "nothing of it was ever made there")
        self.assertIsNotNone(self.guest(second, self.other))
        (holder,) = self.cell.held(second)
        self.assertEqual(self.other.nodes()[0].provider_uuid, holder)

    def test_without_an_alternate_it_ends_in_error_with_the_reason_and_holds_nothing(self) -> None:
        self.until_active(self.cell.build(member("first", "anti-affinity")))
        second = self.cell.build(member("second", "anti-affinity"))
        self.until_is(second, VmState.ERROR)
        fault = self.cell.fault(second)
        assert fault is not None
        self.assertEqual(
            "The server could not be built. No host is left to try; the last one said: "
            "the host has as many servers of the server group as may be",
            fault.message,
        )
        self.assertIn(HOST, fault.details)
        self.assertEqual({BUILD: "Error"}, self.cell.events(second))
        self.until("its claim is free", lambda: not self.cell.held(second))

    def test_one_that_was_sent_away_from_the_others_is_built_beside_them(self) -> None:
        first = self.until_active(self.cell.build(member("first", "affinity")))
        second = self.until_active(self.cell.build(member("second", "affinity", OTHER), HOST))
        self.assertEqual(first.host, second.host)

    def test_many_that_were_sent_to_one_host_at_once_end_one_on_each_or_with_the_reason(
        self,
    ) -> None:
        servers = [member(f"vm-{n}", "anti-affinity") for n in range(6)]
        for server in servers:
            self.cell.build(server, OTHER)

        def states() -> list[VmState]:
            return [self.cell.get(server).vm_state for server in servers]

        self.until("all have ended", lambda: VmState.BUILDING not in states())
        self.assertEqual(2, states().count(VmState.ACTIVE), states())
        hosts = {self.cell.get(server).host for server in servers} - {None}
        self.assertEqual({HOST, OTHER}, hosts)
        self.assertEqual([1, 1], [len(driver.guests()) for driver in (self.driver, self.other)])
