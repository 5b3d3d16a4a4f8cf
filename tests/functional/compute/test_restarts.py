"""What a compute host that starts again makes of what it left, on the fake driver."""

from io import BytesIO

import msgspec

from kilonova.compute.driver import Guest
from kilonova.core.clock import utcnow
from kilonova.core.context import service_context
from kilonova.core.errors import NotFound
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Fault, Instance
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.db import builds, instances
from tests.functional.compute.fake_host_case import OFF, OTHER, RUNNING, FakeHostCase
from tests.functional.compute.small_cell import destination
from tests.instances import HOST, instance


class RestartTest(FakeHostCase):
    """A host that starts finds what it left."""

    def test_what_happened_meanwhile_is_what_the_cell_learns(self) -> None:
        service = self.serve(self.driver)
        servers = [self.cell.build(instance(name)) for name in ("stays", "ends", "vanishes")]
        stays, ends, vanishes = [self.until_active(server) for server in servers]
        self.end(service)
        self.driver.stop(ends.uuid, 0, lambda: True)
        self.driver.destroy(vanishes.uuid)
        self.serve(self.driver)
        self.until_is(ends, VmState.STOPPED)
        self.until_is(vanishes, VmState.STOPPED)
        self.assertEqual(
            [RUNNING, OFF, PowerState.NOSTATE],
            [self.cell.get(server).power_state for server in (stays, ends, vanishes)],
        )
        self.assertEqual(stays, self.cell.get(stays), "nothing happened to it")

    def test_what_ends_after_the_restart_is_noticed(self) -> None:
        service = self.serve(self.driver)
        server = self.until_active(self.cell.build(instance()))
        self.end(service)
        self.serve(self.driver)
        self.driver.stop(server.uuid, 0, lambda: True)
        self.until_is(server, VmState.STOPPED)

    def test_a_build_whose_report_was_lost_is_done(self) -> None:
        server = self.cell.place(instance())
        self.begin(server)
        self.driver.spawn(server)
        self.serve(self.driver)
        found = self.until_active(server)
        self.assertEqual(RUNNING, found.power_state)
        self.assertIsNotNone(found.launched_at)
        self.assertEqual(Guest(RUNNING, 1), self.guest(server))

    def test_a_build_that_was_interrupted_goes_to_its_next_host(self) -> None:
        server = self.cell.place(instance(), OTHER)
        self.begin(server)
        self.serve(self.driver)
        self.serve(self.other, OTHER)
        self.until_active(server)
        self.assertEqual((OTHER, 2), (self.cell.get(server).host, self.cell.get(server).epoch))
        self.assertEqual((None, Guest(RUNNING, 2)), (self.guest(server), self._elsewhere(server)))
        self.assertEqual(destination(server, OTHER).allocation, self.cell.held(server))

    def _elsewhere(self, server: Instance) -> Guest | None:
        return self.guest(server, self.other)

    def test_a_build_that_was_interrupted_and_has_no_other_host_is_built_anew_on_its_own(
        self,
    ) -> None:
        server = self.cell.place(instance())
        self.driver.spawn(server)
        self.driver.stop(server.uuid, 0, lambda: True)
        self.begin(server)
        self.serve(self.driver)
        self.until_active(server)
        self.assertEqual(Guest(RUNNING, 2), self.guest(server))
        self.assertEqual(destination(server, HOST).allocation, self.cell.held(server))

    def test_a_build_that_is_interrupted_again_and_again_ends_with_the_reason(self) -> None:
        server = self.cell.place(instance(epoch=10))
        self.begin(server)
        self.serve(self.driver)
        self.until_is(server, VmState.ERROR)
        fault = self.cell.fault(server)
        self.assertIn("restarted during the build", fault.message if fault else "")
        self.until("its claim is free", lambda: not self.cell.held(server))

    def test_an_earlier_builds_guest_is_not_the_later_ones(self) -> None:
        server = self.cell.place(instance(epoch=2))
        self.driver.spawn(msgspec.structs.replace(server, epoch=1))
        self.begin(server)
        self.serve(self.driver)
        self.until_active(server)
        self.assertEqual(Guest(RUNNING, 3), self.guest(server))

    def test_a_build_that_waits_takes_the_place_of_an_earlier_builds_guest(self) -> None:
        server = instance(epoch=2)
        self.driver.spawn(msgspec.structs.replace(server, epoch=1))
        self.cell.build(server)
        self.serve(self.driver)
        self.until_active(server)
        self.assertEqual(Guest(RUNNING, 2), self.guest(server))

    def test_a_guest_whose_server_is_elsewhere_or_nowhere_or_deleted_is_removed(self) -> None:
        elsewhere = self.cell.place(instance())
        nowhere, deleted = self.cell.place(instance()), self.cell.place(instance())
        unknown = instance()
        for server in (elsewhere, nowhere, deleted, unknown):
            self.driver.spawn(server)
        builds.raise_epoch(self.cell.database, elsewhere.uuid, 1, utcnow())
        to = [destination(elsewhere, OTHER)]
        builds.move(self.cell.database, (elsewhere.uuid, 2), to, utcnow())
        fault = Fault(code=500, message="late", created_at=utcnow())
        builds.fail(self.cell.database, nowhere.uuid, 1, fault)
        instances.mark_deleted(self.cell.database, [deleted.uuid], utcnow())
        self.serve(self.driver)
        self.assertEqual({unknown.uuid}, set(self.driver.guests()))

    def test_a_delete_that_was_interrupted_is_finished(self) -> None:
        server = self.cell.place(instance())
        self.driver.spawn(server)
        instances.update(self.cell.database, server.uuid, {"task_state": TaskState.DELETING})
        self.serve(self.driver)
        self.until_deleted(server)
        self.assertIsNone(self.guest(server))

    def test_an_action_that_was_interrupted_is_over(self) -> None:
        service = self.serve(self.driver)
        server = self.until_active(self.cell.build(instance()))
        self.end(service)
        instances.update(self.cell.database, server.uuid, {"task_state": TaskState.POWERING_OFF})
        self.serve(self.driver)
        self.until_active(server)

    def test_of_a_snapshot_that_was_interrupted_no_image_is_left(self) -> None:
        service = self.serve(self.driver)
        server = self.until_active(self.cell.build(instance()))
        other = InstanceUuid("another")
        whole, half, foreign = [
            self.images.client.create({"name": "copy", "instance_uuid": of})
            for of in (server.uuid, server.uuid, other)
        ]
        self.images.client.upload(whole, BytesIO(b"a disk"), "raw")
        self.end(service)
        begun = {
            "task_state": TaskState.IMAGE_UPLOADING,
            "task_request": "req-1",
            "task_worker": "gone",
        }
        instances.update(self.cell.database, server.uuid, begun)
        self.serve(self.driver)
        self.until_active(server)
        self.assertRaises(NotFound, self.images.client.get, service_context(), half)
        for kept in (whole, foreign):
            self.images.client.get(service_context(), kept)

    def begin(self, server: Instance) -> None:
        """Begin a build as a service did that is no more."""
        change = {"task_state": TaskState.SPAWNING, "begun_epoch": server.epoch, "builder": "gone"}
        instances.update(self.cell.database, server.uuid, change)
