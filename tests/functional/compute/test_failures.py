"""What a compute host does when something fails, on the fake driver: nothing is lost or runs twice."""

import time

import msgspec

from kilonova.compute.driver import Guest
from kilonova.compute.fake import FakeDriver
from kilonova.compute.script import Script, Step
from kilonova.core.clock import utcnow
from kilonova.core.instance import BUILD_EVENT, Fault, Instance, Wishes
from kilonova.core.orders import HardReboot, SoftReboot, Start, Stop
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db import builds
from kilonova.rpc.messages import BuildInstance, BuildInstances
from tests.functional.compute.fake_host_case import OTHER, RUNNING, FakeHostCase
from tests.functional.compute.small_cell import destination, request_of
from tests.functional.compute.test_fake_driver import configuration
from tests.instances import HOST, instance


class OnceTest(FakeHostCase):
    """A server runs at most once."""

    steps = (
        Step(step="spawn", server="slow", seconds=0.5),
        Step(step="destroy", server="slow", seconds=0.3),
    )

    def message(self, server: Instance) -> BuildInstance:
        """Return the message that tells a host to build a server."""
        return BuildInstance(instance=server, destination=destination(server, HOST))

    def test_a_message_that_comes_twice_builds_once(self) -> None:
        self.serve(self.driver)
        server = self.cell.build(instance("slow"))
        for _ in range(3):
            self.cell.tell(server, self.message(server))
        self.until_active(server)
        self.cell.tell(server, self.message(server))
        time.sleep(0.3)
        self.assertEqual(VmState.ACTIVE, self.cell.get(server).vm_state)
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))

    def test_builds_of_several_requests_in_one_message_are_each_of_its_own(self) -> None:
        self.serve(self.driver)
        servers = [self.cell.place(instance(f"vm-{number}")) for number in range(3)]
        # Of the second, somebody has ended the epoch meanwhile.
        stale = self.message(msgspec.structs.replace(servers[1], epoch=0))
        message = BuildInstances(
            builds=(self.message(servers[0]), stale, self.message(servers[2])),
            request_ids=tuple(request_of(server) for server in servers),
        )
        self.cell.tell(servers[1], message)
        for server in (servers[0], servers[2]):
            self.until_active(server)
            self.assertEqual("Success", self.cell.events(server)[BUILD_EVENT])
        self.assertIsNone(self.guest(servers[1]))
        self.assertEqual({}, self.cell.events(servers[1]))

    def test_a_message_of_an_earlier_epoch_does_nothing(self) -> None:
        self.serve(self.driver)
        server = self.cell.place(instance(epoch=2))
        self.cell.tell(server, self.message(msgspec.structs.replace(server, epoch=1)))
        time.sleep(0.3)
        self.assertEqual(server.vm_state, self.cell.get(server).vm_state)
        self.assertIsNone(self.guest(server))

    def test_a_build_takes_the_place_of_an_earlier_ones_guest(self) -> None:
        self.serve(self.driver)
        server = instance(epoch=2)
        self.driver.spawn(msgspec.structs.replace(server, epoch=1))
        self.cell.build(server)
        self.until_active(server)
        self.assertEqual(Guest(RUNNING, 2), self.guest(server))

    def test_a_build_that_was_given_up_meanwhile_leaves_no_guest(self) -> None:
        self.serve(self.driver)
        server = self.cell.build(instance("slow"))
        self.until_begun(server)
        fault = Fault(code=500, message="late", created_at=utcnow())
        self.assertTrue(builds.fail(self.cell.database, server.uuid, 1, fault))
        self.until("it was spawned", lambda: self.guest(server) is not None)
        self.until("it is removed", lambda: self.guest(server) is None)
        self.assertEqual(VmState.ERROR, self.cell.get(server).vm_state)


class SpawnIsUnsureTest(FakeHostCase):
    """A hypervisor that goes away in the middle of a spawn."""

    steps = (
        Step(step="spawn", host=HOST, server="unsure", error="gone", unavailable=True),
        Step(step="destroy", host=HOST, server="unsure", seconds=0.2, times=5, error="gone",
             unavailable=True),
    )  # fmt: skip

    def test_the_next_host_begins_only_when_the_guest_is_surely_gone(self) -> None:
        self.serve(self.driver)
        self.serve(self.other, OTHER)
        server = instance("unsure")
        # It runs, though the hypervisor could not say so.
        self.driver._guests[server.uuid] = _running(server)
        self.cell.build(server, OTHER)
        self.until_begun(server)
        while self.guest(server) is not None:
            self.assertIsNone(self.guest(server, self.other))
            time.sleep(0.01)
        found = self.until_active(server)
        self.assertEqual((OTHER, 2), (found.host, found.epoch))
        self.assertEqual(Guest(RUNNING, 2), self.guest(server, self.other))
        self.assertIsNone(self.guest(server))

    def test_a_service_that_ends_before_that_is_sure_leaves_it_to_the_next(self) -> None:
        service = self.serve(self.driver)
        self.serve(self.other, OTHER)
        server = instance("unsure")
        self.driver._guests[server.uuid] = _running(server)
        self.cell.build(server, OTHER)
        self.until_begun(server)
        began = time.monotonic()
        self.end(service)
        self.assertLess(time.monotonic() - began, 4)
        self.assertIsNone(self.guest(server, self.other))
        self.assertEqual(TaskState.SPAWNING, self.cell.get(server).task_state)


def _running(server: Instance) -> object:
    scratch = FakeDriver(configuration(), HOST, Script())
    scratch.spawn(server)
    return scratch._guests[server.uuid]


class StagesTest(FakeHostCase):
    """A build that is deleted or fails at any of its stages leaves nothing behind."""

    networks = "none"

    steps = tuple(
        step
        for name in ("networks", "disks", "spawn")
        for step in (
            Step(step=name, server=f"slow-{name}", seconds=0.4),
            Step(step=name, server=f"failing-{name}", host=HOST, error="out of luck"),
            Step(step=name, server=f"broken-{name}", error="no good", abort=True),
        )
    )

    def server(self, name: str) -> Instance:
        """Return a server with or without networks."""
        return instance(name, wishes=Wishes(networks=self.networks))

    def test_a_delete_during_any_stage_wins(self) -> None:
        self.serve(self.driver)
        names = ("networks", "disks", "spawn")
        servers = [self.cell.build(self.server(f"slow-{name}")) for name in names]
        for server in servers:
            self.until_begun(server)
        for server in servers:
            self.cell.delete(server)
        for server in servers:
            self.until_deleted(server)
        self.assertEqual({}, dict(self.driver.guests()))

    def test_a_failure_at_any_stage_goes_to_the_next_host(self) -> None:
        self.serve(self.driver)
        self.serve(self.other, OTHER)
        for name in ("networks", "disks", "spawn"):
            server = self.cell.build(self.server(f"failing-{name}"), OTHER)
            self.assertEqual(OTHER, self.until_active(server).host)
        self.assertEqual({}, dict(self.driver.guests()))

    def test_what_no_host_can_do_is_tried_on_no_other(self) -> None:
        self.serve(self.driver)
        self.serve(self.other, OTHER)
        for name in ("networks", "disks", "spawn"):
            server = self.cell.build(self.server(f"broken-{name}"), OTHER)
            self.until_is(server, VmState.ERROR)
            fault = self.cell.fault(server)
            self.assertIn("no good", fault.message if fault else "")
            self.until("its claim is free", lambda server=server: not self.cell.held(server))
        self.assertEqual({}, dict(self.other.guests()))


class BesideTest(StagesTest):
    """The same where networks are prepared beside disks."""

    networks = "auto"
    steps = (
        *StagesTest.steps,
        Step(step="networks", server="both", seconds=0.5),
        Step(step="disks", server="both", seconds=0.5),
        Step(step="disks", server="failing-networks", seconds=0.2),
        Step(step="networks", server="failing-disks", seconds=0.2),
    )

    def test_networks_are_prepared_beside_disks(self) -> None:
        self.serve(self.driver)
        began = time.monotonic()
        self.until_active(self.cell.build(self.server("both")))
        self.assertLess(time.monotonic() - began, 0.9)


class CellAwayTest(FakeHostCase):
    """A conductor that is away."""

    def test_nothing_is_built_before_the_cell_knows(self) -> None:
        self.serve(self.driver)
        self.cell.go()
        server = self.cell.build(instance())
        time.sleep(0.5)
        self.assertIsNone(self.guest(server))
        self.cell.come()
        self.until_active(server)

    def test_a_service_ends_in_time_though_nobody_takes_its_reports(self) -> None:
        service = self.serve(self.driver)
        self.cell.go()
        server = self.cell.build(instance())
        time.sleep(0.1)
        began = time.monotonic()
        self.end(service)
        self.assertLess(time.monotonic() - began, 5)
        self.assertIsNone(self.guest(server))


class ActionsTest(FakeHostCase):
    """Stop, start, reboot."""

    steps = (
        Step(step="stop", server="stuck", error="no"),
        Step(step="start", server="no-start", error="no"),
        Step(step="disks", server="odd", seconds=0.2),
    )

    def test_an_action_that_fails_leaves_the_server_as_it_is(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(instance("stuck")))
        self.act(server, Stop())
        self.assertEqual(VmState.ACTIVE, self.cell.get(server).vm_state)
        action = self.cell.action(server, Action.STOP)
        self.assertEqual("Error", action.message)
        self.assertEqual(["Error"], [event.result for event in action.events])

    def test_a_soft_reboot_that_fails_half_way_is_a_stop(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(instance("no-start")))
        self.act(server, SoftReboot())
        self.until_is(server, VmState.STOPPED)

    def test_each_kind_of_reboot_leaves_the_server_running(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(instance()))
        for order in (SoftReboot(), HardReboot()):
            self.act(server, order)
            self.until_active(server)
        console = self.driver.console_output(server.uuid, None)
        self.assertEqual(3, console.count("BOOT-OK"))
        self.act(server, Stop())
        self.until_is(server, VmState.STOPPED)
        self.act(server, Start())
        self.until_active(server)
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))
