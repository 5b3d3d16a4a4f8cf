"""Block devices of requests: read in both forms, checked together, put in order, named."""

from typing import Any

import msgspec
import testtools

from kilonova.core.block_devices import (
    amounts,
    boots_from_volume,
    check,
    free_name,
    local_names,
    of_image,
    over,
    requested,
    root_device,
    volumes_of,
    with_volume,
)
from kilonova.core.errors import Invalid
from kilonova.core.instance import Instance, Wishes
from kilonova.core.volume import Volume
from tests.instances import FLAVOR, IMAGE, instance

UUID = "3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21"
LOCAL = {"source_type": "image", "destination_type": "local", "boot_index": 0, "uuid": UUID}
MADE = {"source_type": "image", "destination_type": "volume", "boot_index": 0, "uuid": UUID}
BLANK = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}
DATA = {"source_type": "volume", "uuid": UUID, "destination_type": "volume"}


def read(*devices: dict[str, Any]) -> Any:
    """Return devices of the newer form as they are read."""
    return requested({"block_device_mapping_v2": list(devices)})


class ReadTest(testtools.TestCase):
    """What a request says."""

    def test_the_newer_form_says_everything(self) -> None:
        (device,) = read(
            MADE
            | {"volume_size": "5", "delete_on_termination": "True", "disk_bus": "scsi", "tag": "t"}
            | {"volume_type": "fast", "device_name": "/dev/sda", "device_type": "lun"}
        )
        self.assertEqual(
            ("image", "volume", 0, UUID, 5, True, "scsi", "t", "fast", "/dev/sda", "lun"),
            (
                *(device.source_type, device.destination_type, device.boot_index, device.uuid),
                *(device.volume_size, device.delete_on_termination, device.disk_bus, device.tag),
                *(device.volume_type, device.device_name, device.device_type),
            ),
        )

    def test_what_is_left_out_is_usual(self) -> None:
        for device, destination in (
            ({"source_type": "volume", "uuid": UUID}, "volume"),
            ({"source_type": "snapshot", "uuid": UUID}, "volume"),
            ({"source_type": "blank"}, "local"),
        ):
            (found,) = read(device)
            self.assertEqual((destination, None), (found.destination_type, found.boot_index))
        for index in (-1, "-1", None, ""):
            self.assertIsNone(read(DATA | {"boot_index": index})[0].boot_index)

    def test_a_device_that_is_to_be_left_out_is(self) -> None:
        self.assertEqual((), read(DATA | {"no_device": True}))

    def test_the_older_form_means_the_same(self) -> None:
        found = requested(
            {
                "block_device_mapping": [
                    {"device_name": "/dev/vda", "volume_id": UUID, "delete_on_termination": "1"},
                    {"device_name": "vdb", "snapshot_id": UUID, "volume_size": "3"},
                    {"device_name": "vdc", "virtual_name": "swap", "volume_size": 64},
                    {"device_name": "vdd", "virtual_name": "ephemeral0", "volume_size": 1},
                    {"device_name": "vde", "no_device": ""},
                    {"device_name": "vdf", "no_device": "true"},
                ][:4]
            }
        )
        self.assertEqual(
            [
                ("volume", "volume", 0, UUID, None, True, None),
                ("snapshot", "volume", None, UUID, 3, False, None),
                ("blank", "local", None, None, 64, False, "swap"),
                ("blank", "local", None, None, 1, False, None),
            ],
            [
                (
                    *(d.source_type, d.destination_type, d.boot_index, d.uuid),
                    *(d.volume_size, d.delete_on_termination, d.guest_format),
                )
                for d in found
            ],
        )

    def test_what_means_nothing_is_refused(self) -> None:
        for body, words in (
            ({"block_device_mapping": [{}], "block_device_mapping_v2": [DATA]}, "syntaxes"),
            ({"block_device_mapping": [{"device_name": "vda"}]}, "Missing device UUID"),
            ({"block_device_mapping_v2": [{"source_type": "volume"}]}, "Missing device UUID"),
            ({"block_device_mapping_v2": [DATA | {"destination_type": "local"}]}, "not supported"),
            ({"block_device_mapping_v2": [DATA | {"volume_type": "fast"}]}, "volume_type"),
        ):
            self.assertIn(words, str(self.assertRaises(Invalid, requested, body)))


class CheckTest(testtools.TestCase):
    """What devices are together."""

    def test_a_boot_order_is_whole_and_begins_with_a_root(self) -> None:
        second = BLANK | {"boot_index": 1}
        for devices, has_image in (
            ((), True),
            ((LOCAL,), True),
            ((DATA | {"boot_index": 0}, second), False),
            ((second,), True),
            ((BLANK, DATA), True),
        ):
            check(read(*devices), has_image=has_image)
        for devices, has_image in (
            ((), False),
            ((DATA,), False),
            ((second,), False),
            ((DATA | {"boot_index": 0}, BLANK | {"boot_index": 0}), False),
            ((LOCAL, BLANK | {"boot_index": 2}), True),
        ):
            refused = self.assertRaises(Invalid, check, read(*devices), has_image=has_image)
            self.assertIn("Boot sequence", str(refused))

    def test_what_no_host_could_make_is_refused(self) -> None:
        for device, words in (
            (MADE, "non-zero size"),
            (BLANK | {"volume_size": None}, "non-zero size"),
            (LOCAL | {"boot_index": 1}, "Mapping image to local"),
            (BLANK | {"disk_bus": "floppy"}, "disk_bus"),
        ):
            devices = read(device)
            refused = self.assertRaises(Invalid, check, devices, has_image=True)
            self.assertIn(words, str(refused))
        twice = read(DATA, DATA)
        self.assertIn(
            "more than once", str(self.assertRaises(Invalid, check, twice, has_image=True))
        )


class NamesTest(testtools.TestCase):
    """What disks are called."""

    def server(self, *devices: dict[str, Any], **changed: Any) -> Instance:
        wishes = Wishes(block_devices=read(*devices), config_drive=True)
        return instance(wishes=wishes, **changed)

    def test_volumes_come_behind_what_is_the_hosts_and_keep_their_names(self) -> None:
        flavor = msgspec.structs.replace(FLAVOR, ephemeral_gb=1, swap_mb=64)
        server = self.server(flavor=flavor)
        local = {"root": "vda", "ephemeral0": "vdb", "swap": "vdc", "config-2": "vdd"}
        self.assertEqual(local, local_names(server))
        server = with_volume(server, Volume(volume_id="one"))
        server = with_volume(server, Volume(volume_id="two"))
        self.assertEqual(["/dev/vde", "/dev/vdf"], [v.device for v in server.volumes])
        self.assertEqual(local, local_names(server))
        left = msgspec.structs.replace(server, volumes=server.volumes[1:])
        after = with_volume(left, Volume(volume_id="three", bus="scsi"))
        self.assertEqual(["/dev/vdf", "/dev/sda"], [v.device for v in after.volumes])

    def test_a_root_volume_is_the_first_disk(self) -> None:
        server = self.server(MADE | {"volume_size": 1})
        self.assertTrue(boots_from_volume(server.wishes))
        server = with_volume(server, Volume(volume_id="root", boot_index=0))
        server = with_volume(server, Volume(volume_id="data"))
        self.assertEqual(["/dev/vda", "/dev/vdc"], [v.device for v in server.volumes])
        self.assertEqual({"config-2": "vdb"}, local_names(server))
        self.assertEqual("/dev/vda", root_device(server))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 64}, amounts(server))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 64, "DISK_GB": 1}, amounts(instance()))

    def test_names_go_on_behind_the_alphabet_and_come_to_an_end(self) -> None:
        names: list[str] = []
        for _ in range(26 + 26 * 26):
            names.append(free_name("vd", names))
        self.assertEqual(
            ("vda", "vdz", "vdaa", "vdzz"), (names[0], names[25], names[26], names[-1])
        )
        self.assertRaises(Invalid, free_name, "vd", names)

    def test_volumes_are_named_in_the_boot_order(self) -> None:
        devices = read(DATA, BLANK | {"boot_index": 1}, LOCAL, MADE | {"boot_index": 0})
        self.assertEqual([0, 1, None], [device.boot_index for device in volumes_of(devices)])


class ImageTest(testtools.TestCase):
    """Images that name the disks of their servers."""

    def test_a_request_replaces_what_an_image_names(self) -> None:
        mapping = (
            '[{"source_type": "snapshot", "snapshot_id": "s1", "boot_index": 0, '
            '"device_name": "/dev/vda", "destination_type": "volume"}, '
            '{"source_type": "snapshot", "snapshot_id": "s2", "device_name": "/dev/vdb"}]'
        )
        image = msgspec.structs.replace(
            IMAGE, properties={"bdm_v2": "true", "block_device_mapping": mapping}
        )
        found = of_image(image)
        self.assertEqual(["s1", "s2"], [device.uuid for device in found])
        merged = over(found, read(LOCAL, DATA | {"device_name": "/dev/vdb"}))
        self.assertEqual(["s1", UUID], [device.uuid for device in merged])
        self.assertEqual((), of_image(IMAGE))
        spoilt = msgspec.structs.replace(
            IMAGE, properties={"bdm_v2": "true", "block_device_mapping": "{"}
        )
        self.assertRaises(Invalid, of_image, spoilt)
