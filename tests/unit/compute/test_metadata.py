"""What a guest is told of itself: OpenStack's documents, EC2's values, and the paths to them."""

import base64
import json
from io import BytesIO
from typing import Any

import msgspec
import pycdlib
import testtools
from falcon import testing

from kilonova.compute.addresses import AddressBook, range_of
from kilonova.compute.libvirt import config_drive
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import InjectedFile, KeyPair, Wishes
from kilonova.core.share import Share
from kilonova.core.tagged_devices import Placed
from kilonova.core.volume import Volume
from kilonova.http.metadata import openstack, service
from kilonova.http.metadata.openstack import Told
from tests.instances import instance

HOSTILE = "<&\"'\\]]>\u00e9\u2028\n../../../etc"
SCRIPT = b"#!/bin/sh\necho \x00\xff\n"
WISHES = Wishes(
    user_data=base64.b64encode(SCRIPT).decode(),
    key_pair=KeyPair(name=HOSTILE, kind="ssh", fingerprint="aa", public_key="ssh-rsa AAAA ann"),
    files=(InjectedFile(path="/etc/motd", contents=base64.b64encode(b"hello").decode()),),
    config_drive=True,
    admin_pass="s3cret",
    reservation_id="r-1",
    launch_index=2,
)
SERVER = instance(
    "vm",
    uuid=InstanceUuid("3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21"),
    wishes=WISHES,
    metadata={"role": HOSTILE},
)
NIC = AddressBook(range_of("192.0.2.0/29")).take(SERVER.uuid)
TOLD = Told(instance=SERVER, nics=(NIC,), seed=b"entropy")
VERSIONS = ("2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06",
            "2017-02-22", "2018-08-27", "2020-10-14", "latest")  # fmt: skip


def document(version: str, name: str) -> Any:
    """Return a JSON document."""
    return json.loads(openstack.documents(TOLD, version)[name]())


class OpenStackTest(testtools.TestCase):
    """OpenStack's tree."""

    def test_the_newest_meta_data_tell_everything(self) -> None:
        self.assertEqual(
            {
                "uuid": SERVER.uuid,
                "name": "vm",
                "hostname": "vm",
                "availability_zone": "nova",
                "launch_index": 2,
                "meta": {"role": HOSTILE},
                "project_id": "demo",
                "random_seed": base64.b64encode(b"entropy").decode(),
                "public_keys": {HOSTILE: "ssh-rsa AAAA ann"},
                "keys": [{"name": HOSTILE, "type": "ssh", "data": "ssh-rsa AAAA ann"}],
                "admin_pass": "s3cret",
                "files": [{"content_path": "/content/0000", "path": "/etc/motd"}],
                "devices": [],
                "dedicated_cpus": [],
            },
            document("latest", "meta_data.json"),
        )

    def test_an_older_version_has_what_it_had(self) -> None:
        names = {version: set(openstack.documents(TOLD, version)) for version in VERSIONS}
        self.assertEqual({"meta_data.json", "user_data"}, names["2012-08-10"])
        self.assertEqual(names["2012-08-10"] | {"vendor_data.json"}, names["2013-10-17"])
        self.assertEqual(names["2013-10-17"] | {"network_data.json"}, names["2015-10-15"])
        self.assertEqual(names["2015-10-15"] | {"vendor_data2.json"}, names["2016-10-06"])
        self.assertEqual(names["2016-10-06"], names["latest"])
        first = document("2012-08-10", "meta_data.json")
        self.assertNotIn("random_seed", first)
        self.assertNotIn("project_id", first)
        self.assertIn("random_seed", document("2013-04-04", "meta_data.json"))

    def test_a_server_that_told_nothing_has_no_user_data_and_no_key(self) -> None:
        told = Told(instance=instance("plain"))
        self.assertNotIn("user_data", openstack.documents(told, "latest"))
        self.assertNotIn("public_keys", openstack.meta_data(told))
        self.assertNotIn("admin_pass", openstack.meta_data(told))
        self.assertEqual({}, openstack.contents(told))

    def test_devices_with_tags_are_told_with_where_they_are(self) -> None:
        volume = Volume(volume_id="7c1b1f5e-9a0b-4a3c-8f2e-1d2c3b4a5968", tag="data")
        other = Volume(volume_id="1d2c3b4a-9a0b-4a3c-8f2e-7c1b1f5e5968", tag="gone")
        server = msgspec.structs.replace(SERVER, volumes=(volume, other))
        card = msgspec.structs.replace(NIC, mac="52:54:0A:4D:00:05", tag=HOSTILE)
        told = Told(instance=server, nics=(card, NIC))
        nowhere = {"bus": "none", "address": "none"}
        nic = {"type": "nic", "mac": card.mac, "tags": [HOSTILE]}
        disk = {"type": "disk", "serial": volume.volume_id, "tags": ["data"]}
        gone = {"type": "disk", "serial": other.volume_id, "tags": ["gone"]}
        found = openstack.meta_data(told)["devices"]
        self.assertEqual([nic | nowhere, disk | nowhere, gone | nowhere], found)
        placed = (
            Placed(key=volume.volume_id[:20], bus="pci", address="0000:00:05.0", path="/dev/vdb"),
            Placed(key=card.mac.lower(), bus="pci", address="0000:00:03.0"),
        )
        found = openstack.meta_data(msgspec.structs.replace(told, placed=placed))["devices"]
        self.assertEqual(
            [
                nic | {"bus": "pci", "address": "0000:00:03.0"},
                disk | {"bus": "pci", "address": "0000:00:05.0", "path": "/dev/vdb"},
            ],
            found,
        )
        self.assertNotIn("devices", openstack.meta_data(told, "2015-10-15"))

    def test_a_guest_finds_its_shares_by_their_tags(self) -> None:
        share = Share(uuid="u", share_id="s", tag="data", protocol="NFS", export="h:/e")
        told = Told(instance=instance(shares=(share,)))
        expected = {
            "type": "share",
            "share_id": "s",
            "tag": "data",
            "bus": "none",
            "address": "none",
        }
        self.assertEqual([expected], openstack.meta_data(told)["devices"])
        self.assertEqual([], openstack.meta_data(told, "2020-10-14")["devices"])

    def test_a_guest_is_told_which_vcpus_have_cpus_of_their_own(self) -> None:
        specs = {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0"}
        flavor = msgspec.structs.replace(SERVER.flavor, vcpus=3, extra_specs=specs)
        told = Told(instance=msgspec.structs.replace(SERVER, flavor=flavor))
        self.assertEqual([1, 2], openstack.meta_data(told)["dedicated_cpus"])
        self.assertNotIn("dedicated_cpus", openstack.meta_data(told, "2018-08-27"))

    def test_a_card_is_a_link_whose_network_gives_it_its_address(self) -> None:
        found = document("latest", "network_data.json")
        (link,), (network,) = found["links"], found["networks"]
        self.assertEqual((NIC.mac, "bridge"), (link["ethernet_mac_address"], link["type"]))
        self.assertEqual((link["id"], "ipv4_dhcp"), (network["link"], network["type"]))
        self.assertEqual([{"type": "dns", "address": "192.0.2.1"}], found["services"])
        bare = openstack.network_data(())
        self.assertEqual({"links": [], "networks": [], "services": []}, bare)


class ServiceTest(testtools.TestCase):
    """Both trees over HTTP, to who asks from the guest's address."""

    def setUp(self) -> None:
        super().setUp()
        app = service.create_app(lambda asked: TOLD if asked.remote_addr == NIC.address else None)
        self.client = testing.TestClient(app)

    def get(self, path: str, address: str = NIC.address) -> Any:
        """Return the answer to a guest."""
        return self.client.simulate_get(path, remote_addr=address)

    def test_a_guest_is_known_by_its_address_alone(self) -> None:
        path = "/openstack/latest/meta_data.json"
        self.assertEqual(SERVER.uuid, self.get(path).json["uuid"])
        self.assertEqual(404, self.get(path, "192.0.2.3").status_code)
        forged = {"X-Forwarded-For": NIC.address, "X-Instance-ID": SERVER.uuid}
        answer = self.client.simulate_get(path, remote_addr="192.0.2.3", headers=forged)
        self.assertEqual(404, answer.status_code)

    def test_openstacks_tree_is_listed_and_read(self) -> None:
        self.assertEqual(list(VERSIONS), self.get("/openstack").text.split("\n"))
        self.assertIn("meta_data.json", self.get("/openstack/2012-08-10/").text.split("\n"))
        self.assertEqual(SCRIPT, self.get("/openstack/latest/user_data").content)
        self.assertEqual(b"hello", self.get("/openstack/content/0000").content)
        answer = self.get("/openstack/latest/network_data.json")
        self.assertEqual("application/json", answer.headers["content-type"])

    def test_ec2s_tree_is_listed_and_read(self) -> None:
        self.assertIn("2009-04-04", self.get("/").text.split("\n"))
        self.assertEqual({"meta-data", "user-data"}, self.names("/latest"))
        self.assertLessEqual(
            {"instance-id", "placement/", "public-keys/"}, self.names("/latest/meta-data/")
        )
        for path, value in (
            ("instance-id", "i-3f0d6c1e"),
            ("local-ipv4", NIC.address),
            ("hostname", "vm"),
            ("ami-launch-index", "2"),
            ("placement/availability-zone", "nova"),
            ("public-keys", f"0={HOSTILE}"),
            ("public-keys/0", "openssh-key"),
            ("public-keys/0/openssh-key", "ssh-rsa AAAA ann"),
            ("block-device-mapping/root", "/dev/vda"),
            ("instance-type", "m1.tiny"),
        ):
            for version in ("latest", "2009-04-04", "1.0"):
                self.assertEqual(value, self.get(f"/{version}/meta-data/{path}").text, path)
        self.assertEqual(SCRIPT, self.get("/latest/user-data").content)

    def names(self, path: str) -> set[str]:
        """Return what a list has, a mark behind what has more below it left out of the first level."""
        found = self.get(path).text.split("\n")
        return {name.rstrip("/") if path == "/latest" else name for name in found}

    def test_what_is_not_there_is_not_found_and_nothing_is_changed(self) -> None:
        for path in (
            "/nothing", "/openstack/latest/nothing", "/openstack/1999-01-01", "/latest/meta-data/x",
            "/openstack/content/0001", "/openstack/content/../latest/meta_data.json",
            "/latest/meta-data/hostname/more", "/openstack/latest/meta_data.json/more",
            "/../../etc/passwd", "/openstack/content/..%2f..%2fetc",
        ):  # fmt: skip
            self.assertEqual(404, self.get(path).status_code, path)
        answer = self.client.simulate_post(
            "/openstack/latest/meta_data.json", remote_addr=NIC.address
        )
        self.assertEqual(405, answer.status_code)


class ConfigDriveTest(testtools.TestCase):
    """The same on a disk."""

    def read(self, drive: bytes, path: str, kind: str) -> bytes:
        """Return a file of an ISO image, by its name in one of the ways that names are in it."""
        iso = pycdlib.PyCdlib()
        iso.open_fp(BytesIO(drive))
        found = BytesIO()
        iso.get_file_from_iso_fp(found, **{kind: path})
        iso.close()
        return found.getvalue()

    def test_every_version_is_there_for_unix_and_for_windows(self) -> None:
        drive = config_drive.config_drive(SERVER, (NIC,))
        self.assertEqual(b"config-2", drive[32808:32816])
        for kind in ("rr_path", "joliet_path"):
            for version in VERSIONS:
                path = f"/openstack/{version}/meta_data.json"
                self.assertEqual(SERVER.uuid, json.loads(self.read(drive, path, kind))["uuid"])
                self.assertEqual(SCRIPT, self.read(drive, f"/openstack/{version}/user_data", kind))
            for name in ("network_data.json", "vendor_data.json", "vendor_data2.json"):
                self.assertIsInstance(
                    json.loads(self.read(drive, f"/openstack/latest/{name}", kind)), dict
                )
            self.assertEqual(b"hello", self.read(drive, "/openstack/content/0000", kind))
            found = json.loads(self.read(drive, "/ec2/latest/meta-data.json", kind))
            self.assertEqual("i-3f0d6c1e", found["instance-id"])

    def test_user_data_of_64_kib_take_their_room_once(self) -> None:
        text = base64.b64encode(bytes(range(256)) * 192).decode()
        large = msgspec.structs.replace(
            SERVER, wishes=msgspec.structs.replace(WISHES, user_data=text)
        )
        drive = config_drive.config_drive(large, ())
        self.assertEqual(48 << 10, len(self.read(drive, "/openstack/latest/user_data", "rr_path")))
        self.assertGreater(512 << 10, len(drive))

    def test_each_drive_has_entropy_of_its_own(self) -> None:
        seeds = {
            json.loads(self.read(drive, "/openstack/latest/meta_data.json", "rr_path"))[
                "random_seed"
            ]
            for drive in (config_drive.config_drive(SERVER, ()) for _ in range(3))
        }
        self.assertEqual(3, len(seeds))
        self.assertEqual({512}, {len(base64.b64decode(seed)) for seed in seeds})
