"""Disks, files and hardware of new servers: what is taken, and what is refused before any host is asked."""

from typing import Any

from kilonova.api.microversions import MAXIMUM
from kilonova.core.clock import utcnow
from kilonova.core.instance import Wishes
from kilonova.db import build_requests
from tests.functional.api.population import Populated
from tests.functional.compute.image_store import ServedImages

NEWEST = ".".join(map(str, MAXIMUM))
BLANK = {"source_type": "blank", "destination_type": "local", "boot_index": -1}
SWAP = BLANK | {"guest_format": "swap"}
FILE = {"path": "/etc/motd", "contents": "aGVs\nbG8="}


class ServerDevicesTest(Populated):
    """With an image store."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return super().options() + images.options + "[quota]\ninstances = 100\ncores = 100\n"

    def setUp(self) -> None:
        super().setUp()
        self.flavor("large", {"OS-FLV-EXT-DATA:ephemeral": 4, "swap": 64})

    def flavor(
        self, flavor_id: str, more: dict[str, Any], specs: dict[str, str] | None = None
    ) -> None:
        """Make a flavor; its extra specs are written as before they were checked."""
        flavor = {"id": flavor_id, "name": flavor_id, "vcpus": 2, "ram": 512, "disk": 1} | more
        self.asked(200, "POST", "/flavors", {"flavor": flavor})
        if specs:
            path = f"/flavors/{flavor_id}/os-extra_specs"
            self.asked(200, "POST", path, {"extra_specs": specs}, version="2.85")

    def body(self, version: str, more: dict[str, Any]) -> dict[str, Any]:
        """Return what makes a server."""
        plain = {"name": "new", "flavorRef": "large", "imageRef": self.image}
        networks = {"networks": "none"} if version == NEWEST else {}
        return {"server": plain | networks | more}

    def create(self, version: str = NEWEST, **more: Any) -> tuple[dict[str, Any], Wishes]:
        """Create a server, and return the answer and what is kept of the request."""
        made = self.asked(202, "POST", "/servers", self.body(version, more), version=version)
        uuid = made["server"]["id"]
        (pending,) = build_requests.take(self.api_db, [uuid], "c9", utcnow())
        return made["server"], pending.instance.wishes

    def refuse(self, status: int, words: str, version: str = NEWEST, **more: Any) -> None:
        """Expect that a server is refused."""
        body = self.body(version, more)
        self.refused(status, words, "POST", "/servers", body, version=version)

    def test_blank_local_disks_are_within_what_the_flavor_has(self) -> None:
        boot = {
            "source_type": "image",
            "destination_type": "local",
            "boot_index": 0,
            "uuid": self.image,
        }
        for good in (
            [BLANK | {"volume_size": 4}],
            [BLANK | {"volume_size": "1"}, BLANK | {"volume_size": 3, "guest_format": "vfat"}],
            [SWAP | {"volume_size": 64}, BLANK],
        ):
            _, wishes = self.create(block_device_mapping_v2=[boot, *good])
            kept = [device.volume_size for device in wishes.block_devices[1:]]
            sizes = [int(str(one["volume_size"])) if "volume_size" in one else None for one in good]
            self.assertEqual(sizes, kept)
        for bad, words in (
            ([BLANK | {"volume_size": 5}], "larger than"),
            ([SWAP | {"volume_size": 65}], "larger than"),
            ([SWAP, SWAP], "One swap"),
            ([BLANK | {"guest_format": "ntfs"}], "guest_format"),
            ([BLANK | {"disk_bus": "<floppy>"}], "disk_bus"),
            ([BLANK | {"destination_type": "volume"}], "block storage"),
            ([{"source_type": "volume", "uuid": self.image}], "block storage"),
        ):
            self.refuse(400, words, block_device_mapping_v2=bad)
        self.refuse(400, "at least 1 GB", block_device_mapping_v2=[BLANK], flavorRef="1")

    def test_hardware_that_no_host_could_make_is_refused(self) -> None:
        for number, (name, value) in enumerate(
            (
                ("hw:cpu_max_sockets", "0"),
                ("hw:numa_nodes", "3"),
                ("quota:cpu_shares", "1"),
                ("hw:machine_type", "pc'/><x"),
                ("hw:mem_encryption", "true"),
            )
        ):
            self.flavor(f"bad-{number}", {}, {name: value})
            words = "VCPUs cannot be split" if name == "hw:numa_nodes" else name
            self.refuse(400, words, flavorRef=f"bad-{number}")

    def test_files_reach_the_guest_on_a_config_drive(self) -> None:
        made, wishes = self.create("2.1", personality=[FILE])
        self.assertTrue(wishes.config_drive)
        kept = [(file.path, file.contents) for file in wishes.files]
        self.assertEqual([("/etc/motd", "aGVsbG8=")], kept)
        self.assertEqual(made["adminPass"], wishes.admin_pass)
        for status, files in (
            (403, [FILE] * 6),
            (403, [FILE | {"contents": "aGVs" * 4096}]),
            (403, [FILE | {"path": "/" + "x" * 255}]),
            (400, [FILE | {"contents": "no base64!"}]),
            (400, [{"path": "/etc/motd"}]),
            (400, [{"contents": ""}]),
        ):
            self.refuse(status, "personality", "2.1", personality=files)
        limits = {"injected_files": 6, "injected_file_content_bytes": 4}
        path = "/os-quota-sets/operators"
        self.asked(200, "PUT", path, {"quota_set": limits}, version="2.56")
        self.refuse(403, "at most 4 bytes", "2.1", personality=[FILE])
        self.create("2.1", personality=[FILE | {"contents": "aGVs"}] * 6)

    def test_devices_of_the_older_form_have_only_its_keys(self) -> None:
        for key in ("uuid", "boot_index", "source_type", "colour"):
            devices = [{"device_name": "vdb", "virtual_name": "swap", key: "0"}]
            self.refuse(400, key, block_device_mapping=devices)

    def test_a_password_is_kept_only_where_a_config_drive_tells_it(self) -> None:
        for drive in (True, False):
            made, wishes = self.create(config_drive=drive, adminPass="s3cret")
            self.assertEqual("s3cret", made["adminPass"])
            self.assertEqual("s3cret" if drive else "", wishes.admin_pass)
