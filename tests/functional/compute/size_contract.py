"""What every driver does when a server changes its size on its host: part of the contract of drivers."""

from datetime import datetime

import msgspec

from kilonova.core.errors import NotFound
from kilonova.core.flavor import Flavor
from kilonova.core.ids import CellUuid, HostName, NodeName, ProviderUuid, RequestId
from kilonova.core.instance import Instance
from kilonova.core.migration import Kind, Migration
from kilonova.core.scheduling import Destination
from kilonova.core.states import PowerState, VmState
from tests.functional.compute.driver_contract import DriverContract, never

_NOW = datetime(2026, 5, 1, 12)


def larger(flavor: Flavor) -> Flavor:
    """Return a flavor with more of everything."""
    return msgspec.structs.replace(
        flavor,
        vcpus=flavor.vcpus + 1,
        memory_mb=flavor.memory_mb + 64,
        root_gb=flavor.root_gb + 1,
    )


def resize_of(server: Instance) -> Migration:
    """Return a move by which a server becomes larger where it is."""
    here = HostName(server.host or "here")
    return Migration(
        uuid="00000000-0000-4000-8000-000000000001",
        instance_uuid=server.uuid,
        kind=Kind.RESIZE,
        source_host=here,
        source_node=NodeName(here),
        source_zone="nova",
        old_flavor=server.flavor,
        new_flavor=larger(server.flavor),
        vm_state=VmState.ACTIVE,
        epoch=server.epoch,
        guest_epoch=server.epoch,
        request_id=RequestId("req-1"),
        user_id=server.user_id,
        project_id=server.project_id,
        created_at=_NOW,
        updated_at=_NOW,
        destination=Destination(
            host=here,
            node=NodeName(here),
            cell_uuid=CellUuid("cell"),
            provider_uuid=ProviderUuid("provider"),
            availability_zone="nova",
            allocation={},
        ),
    )


class ChangesSize(DriverContract):
    """Each part may be told twice: a host that was restarted in between does it again."""

    def _grown(self, server: Instance, *, power_on: bool) -> Instance:
        """Let a server become larger, and return it as it is then."""
        move = resize_of(server)
        new = msgspec.structs.replace(server, flavor=move.new_flavor, epoch=server.epoch + 1)
        for _ in range(2):
            self.driver.prepare_move(new, move)
        self.driver.stop(server.uuid, 0, never)
        for _ in range(2):
            self.driver.send(server, move)
        for _ in range(2):
            self.driver.receive(new, move, power_on=power_on)
        return new

    def _takes(self) -> tuple[int, int]:
        (node,) = self.driver.nodes()
        return node.vcpus_used, node.memory_mb_used

    def test_a_guest_that_changed_its_size_runs_under_the_new_epoch(self) -> None:
        server = self.spawned(self.server(epoch=2))
        new = self._grown(server, power_on=True)
        guest = self.driver.guests()[server.uuid]
        self.assertEqual((PowerState.RUNNING, 3), (guest.power, guest.epoch))
        self.assertEqual((new.flavor.vcpus, new.flavor.memory_mb), self._takes())
        for _ in range(2):
            self.driver.forget(server.uuid)
        self.driver.reboot(new)
        self.assertEqual(PowerState.RUNNING, self.power(new))

    def test_a_guest_that_was_off_stays_off(self) -> None:
        server = self.spawned(self.server(epoch=2))
        self.driver.stop(server.uuid, 0, never)
        new = self._grown(server, power_on=False)
        self.assertEqual(PowerState.SHUTDOWN, self.power(new))
        self.driver.start(new.uuid)
        self.assertEqual(PowerState.RUNNING, self.power(new))

    def test_a_guest_can_be_as_it_was_before(self) -> None:
        server = self.spawned(self.server(epoch=2))
        self._grown(server, power_on=True)
        old = msgspec.structs.replace(server, epoch=4)
        for _ in range(2):
            self.driver.restore(old, resize_of(server), power_on=True)
        guest = self.driver.guests()[server.uuid]
        self.assertEqual((PowerState.RUNNING, 4), (guest.power, guest.epoch))
        self.assertEqual((server.flavor.vcpus, server.flavor.memory_mb), self._takes())

    def test_a_guest_that_was_not_touched_yet_runs_on(self) -> None:
        server = self.spawned(self.server(epoch=2))
        self.driver.prepare_move(server, resize_of(server))
        self.driver.restore(server, resize_of(server), power_on=True)
        self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_nothing_is_made_of_nothing(self) -> None:
        server = self.server(epoch=2)
        self.assertRaises(NotFound, self.driver.restore, server, resize_of(server), power_on=True)
