"""Guests' network cards on a real libvirt: what is made for them, what outlives what, and what is left."""

import json
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec
import pycdlib
import testtools

from kilonova.compute.libvirt.network_xml import NAME
from kilonova.core.errors import BuildFailed, Invalid
from kilonova.core.instance import BlockDevice, Instance, Wishes
from kilonova.core.states import TaskState, VmState
from kilonova.core.volume import Volume
from kilonova.db import instances
from tests.functional.compute.driver_contract import never
from tests.integration.compute.networked import NetworkedWorld
from tests.integration.compute.test_failures import QemuCase

_AUTO = Wishes(networks="auto", config_drive=True)


class NetworksTest(testtools.TestCase):
    """A range of five addresses."""

    def setUp(self) -> None:
        super().setUp()
        self.at = NetworkedWorld()
        self.addCleanup(self.at.close)
        self.addCleanup(self.forget)
        self.driver = self.at.driver

    def forget(self) -> None:
        """Remove the guests, and the network that the next test makes as it needs it."""
        driver = self.at.driver
        for uuid in driver.guests():
            driver.destroy(uuid)
        self.assertEqual([], self.at.taps())
        self.assertEqual([], self.at.files())

    def server(self, name: str, **changed: object) -> Instance:
        """Return a server that wants a card."""
        return msgspec.structs.replace(self.at.deaf(name), **({"wishes": _AUTO} | changed))

    def spawned(self, server: Instance) -> str:
        """Make a server's guest, and return its address."""
        (card,) = self.driver.prepare_networks(server)
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        return card.address

    def again(self) -> None:
        """Let the service be restarted."""
        self.driver.close()
        self.driver = self.at.driver = self.at.new_driver()

    def test_a_guest_has_its_tap_as_long_as_it_runs_and_its_address_as_long_as_it_is(self) -> None:
        server = self.server("vm")
        self.assertEqual("10.88.0.2", self.spawned(server))
        self.assertEqual(1, len(self.at.taps()))
        self.driver.stop(server.uuid, 0, never)
        self.assertEqual([], self.at.taps())
        self.assertEqual("10.88.0.3", self.spawned(self.server("other")))
        self.driver.reboot(server)
        self.assertEqual(2, len(self.at.taps()))
        self.driver.destroy(server.uuid)
        self.assertEqual("10.88.0.2", self.spawned(self.server("third")))

    def test_who_wants_no_network_has_no_card(self) -> None:
        server = self.server("vm", wishes=Wishes(networks="none"))
        self.assertEqual((), self.driver.prepare_networks(server))
        self.driver.prepare_disks(server)
        self.driver.spawn(server)
        self.assertEqual([], self.at.taps())

    def test_a_restarted_host_knows_who_has_which_address_and_tells_them_as_before(self) -> None:
        first, second = self.server("a"), self.server("b")
        addresses = [self.spawned(server) for server in (first, second)]
        told = [self.at.metadata(address) for address in addresses]
        self.again()
        self.assertEqual([first.uuid, second.uuid], told)
        self.assertEqual(told, [self.at.metadata(address) for address in addresses])
        cards = {uuid: guest.nics[0].address for uuid, guest in self.driver.guests().items()}
        self.assertEqual({first.uuid: addresses[0], second.uuid: addresses[1]}, cards)
        self.assertEqual("10.88.0.4", self.spawned(self.server("c")))

    def test_a_guest_is_told_where_its_devices_with_tags_are(self) -> None:
        """On its config drive from the start, by the metadata service also once a disk has come."""
        disks = (
            BlockDevice(
                source_type="image", destination_type="local", boot_index=0, tag="<boot>&'"
            ),
            BlockDevice(
                source_type="blank", destination_type="local", guest_format="swap", tag="spare"
            ),
        )
        server = self.server("vm", wishes=msgspec.structs.replace(_AUTO, block_devices=disks))
        flavor = msgspec.structs.replace(server.flavor, swap_mb=16)
        server = msgspec.structs.replace(server, flavor=flavor)
        address = self.spawned(server)
        root, swap = (
            {
                "type": "disk",
                "bus": "pci",
                "address": self.address_of(server, name),
                "serial": serial,
                "path": f"/dev/{name}",
                "tags": [tag],
            }
            for name, serial, tag in (
                ("vda", server.uuid[:20], "<boot>&'"),
                ("vdb", "swap", "spare"),
            )
        )
        self.assertEqual([root, swap], self.on_drive(server)["devices"])
        self.assertEqual([root, swap], self.at.told(address)["devices"])
        file = self.at.directory / "volume"
        file.write_bytes(bytes(1 << 20))
        volume = Volume(
            volume_id="7c1b1f5e-9a0b-4a3c-8f2e-1d2c3b4a5968",
            device="/dev/vdz",
            tag="data",
            connection={"driver_volume_type": "local", "device_path": str(file)},
        )
        here = self.driver.connect_volume(volume)
        server = msgspec.structs.replace(server, volumes=(here,))
        self.driver.attach_volume(server, here)
        came = {
            "type": "disk",
            "bus": "pci",
            "address": self.address_of(server, "vdz"),
            "serial": volume.volume_id,
            "path": "/dev/vdz",
            "tags": ["data"],
        }
        self.again()
        self.assertEqual([came, root, swap], self.at.told(address)["devices"])
        told = (self.at.instances / server.uuid / "told.json").read_text()
        self.assertNotIn("device_path", told)
        # A guest that has shut down lets a disk go at once.
        self.driver.stop(server.uuid, 0, never)
        self.driver.detach_volume(server, here)
        self.assertEqual(["<boot>&'"], self.at.told(address)["devices"][0]["tags"])

    def address_of(self, server: Instance, name: str) -> str:
        """Return the PCI address of a disk, as libvirt says it."""
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        devices = ET.fromstring(connection.lookupByUUIDString(server.uuid).XMLDesc())
        (where,) = devices.iterfind(f"devices/disk/target[@dev='{name}']/../address")
        parts = {key: value.removeprefix("0x") for key, value in where.attrib.items()}
        return "{domain}:{bus}:{slot}.{function}".format(**parts)

    def on_drive(self, server: Instance) -> dict[str, Any]:
        """Return what a guest's config drive tells."""
        drive = pycdlib.PyCdlib()
        drive.open(str(self.at.instances / server.uuid / "config-drive.iso"))
        self.addCleanup(drive.close)
        found = BytesIO()
        drive.get_file_from_iso_fp(found, joliet_path="/openstack/latest/meta_data.json")
        told: dict[str, Any] = json.loads(found.getvalue())
        return told

    def test_who_has_no_server_is_told_nothing(self) -> None:
        self.spawned(self.server("vm"))
        self.assertEqual("", self.at.metadata("10.88.0.5"))

    def test_what_is_told_of_a_guest_can_be_read_by_nobody_else(self) -> None:
        server = self.server("vm")
        self.driver.prepare_networks(server)
        file = self.at.instances / server.uuid / "told.json"
        self.assertEqual(0o600, file.stat().st_mode & 0o777)

    def test_a_build_that_fails_leaves_no_card_and_no_address(self) -> None:
        server = self.server("vm")
        # QEMU cannot write its console there.
        (self.at.instances / server.uuid / "console.log").mkdir(parents=True)
        self.assertRaises(BuildFailed, self.spawned, server)
        self.driver.destroy(server.uuid)
        self.assertEqual([], self.at.taps())
        self.assertEqual([], self.at.files())
        self.assertEqual("10.88.0.2", self.spawned(self.server("next")))

    def test_a_card_that_cannot_be_noted_is_not_given(self) -> None:
        server = self.server("vm")
        (self.at.instances / server.uuid).mkdir()
        (self.at.instances / server.uuid / "told.json.new").symlink_to("/dev/full")
        error = self.assertRaises(BuildFailed, self.driver.prepare_networks, server)
        self.assertIn("No space left", error.in_full)
        self.assertEqual("10.88.0.2", self.spawned(self.server("next")))

    def test_a_full_range_is_a_reason_to_try_elsewhere(self) -> None:
        for number in range(5):
            self.driver.prepare_networks(self.server(f"vm-{number}"))
        error = self.assertRaises(BuildFailed, self.driver.prepare_networks, self.server("vm"))
        self.assertIn("No address is free", error.message)

    def test_a_network_that_somebody_stopped_is_up_at_the_next_look(self) -> None:
        connection = libvirt.open(self.at.uri)
        self.addCleanup(connection.close)
        connection.networkLookupByName(NAME).destroy()
        self.driver.nodes()
        self.assertTrue(connection.networkLookupByName(NAME).isActive())

    def test_a_range_is_changed_as_long_as_nobody_has_an_address(self) -> None:
        self.at.range = "10.89.0.0/29"
        self.again()
        server = self.server("vm")
        self.assertEqual("10.89.0.2", self.spawned(server))
        self.driver.close()
        self.at.range = "10.88.0.0/29"
        error = self.assertRaises(Invalid, self.at.new_driver)
        self.assertIn("guests have addresses of another", error.message)
        self.at.range = "10.89.0.0/29"
        self.again()
        self.driver.destroy(server.uuid)
        self.at.range = "10.88.0.0/29"
        self.again()

    def test_a_host_that_cannot_listen_says_so_when_it_starts(self) -> None:
        self.driver.close()
        # In the tests' own network nobody has the metadata service's address.
        make = super(NetworkedWorld, self.at).new_driver
        error = self.assertRaises(Invalid, make)
        self.assertIn("[network] provider is libvirt, and this host cannot", error.message)
        self.assertIn("169.254.169.254", error.message)
        self.again()


class NetworkFailureTest(QemuCase):
    """Builds with cards that come to nothing, and a service that is restarted."""

    kind = NetworkedWorld

    def server(self) -> Instance:
        """Return a server that wants a card."""
        return msgspec.structs.replace(self.world.deaf("vm"), wishes=_AUTO)

    def assert_nothing_left(self, server: Instance) -> None:
        """See ``QemuCase``. Its address is free, and no tap is there."""
        super().assert_nothing_left(server)
        self.assertEqual([], self.world.taps())
        (card,) = self.driver.prepare_networks(self.server())
        self.assertEqual("10.88.0.2", card.address)

    def test_a_server_has_its_address_while_it_is_there(self) -> None:
        self.serve(self.driver)
        server = self.until_active(self.cell.build(self.server()))
        self.assertEqual(["10.88.0.2"], [card.address for card in server.nics])
        self.cell.delete(server)
        self.until_deleted(server)
        self.assert_nothing_left(server)

    def test_a_guest_that_does_not_start_leaves_nothing(self) -> None:
        server = self.server()
        (self.world.instances / server.uuid / "console.log").mkdir(parents=True)
        self.serve(self.driver)
        self.cell.build(server)
        self.assert_failed(server, "The hypervisor refused")

    def test_a_delete_during_the_download_leaves_nothing(self) -> None:
        server = self.server()
        self.world.images.hold()
        self.serve(self.driver)
        self.cell.build(server)
        self.until_downloading()
        self.cell.delete(server)
        self.world.images.flow()
        self.until_deleted(server)
        self.assert_nothing_left(server)

    def test_a_build_whose_report_was_lost_with_its_service_is_reported_with_its_address(
        self,
    ) -> None:
        host = self.serve(self.driver)
        server = self.until_active(self.cell.build(self.server()))
        self.end(host)
        lost = {"task_state": TaskState.SPAWNING, "vm_state": VmState.BUILDING, "nics": None}
        instances.update(self.cell.database, server.uuid, lost)
        self.assertEqual((), self.cell.get(server).nics)
        self.driver = self.world.driver = self.world.new_driver()
        self.serve(self.driver)
        self.assertEqual(server.nics, self.until_active(server).nics)
