"""The domain XML of guests, against files that say what it should be (tests/unit/compute/domains)."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.domain_xml import (
    NAMESPACE,
    Record,
    domain_xml,
    record_of,
)
from kilonova.compute.libvirt.elements.place import LocalFile, Pins, Place
from kilonova.core.asked import Malformed
from kilonova.core.errors import BuildFailed
from kilonova.core.flavor import Flavor
from kilonova.core.ids import InstanceUuid, ProjectId, domain_name, uuid_of_domain
from kilonova.core.instance import Instance, Nic
from kilonova.core.local_disks import LocalDisk
from tests.instances import FLAVOR, IMAGE, instance

UUID = InstanceUuid("3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21")
PLACE = Place(
    virt_type="qemu",
    arch="x86_64",
    console_log=f"/var/lib/kilonova/instances/{UUID}/console.log",
    disk=f"/var/lib/kilonova/instances/{UUID}/disk.qcow2",
)
NIC = Nic(
    network="default",
    network_id="8b0a9c5e-0e0c-4f0e-9a53-5d0a4d9e6c11",
    mac="52:54:0a:4d:00:05",
    address="10.77.0.5",
    prefix=24,
    gateway="10.77.0.1",
    dns="10.77.0.1",
)
EPHEMERAL = LocalDisk(kind="ephemeral", size=1 << 30, content="ext4")
SWAP = LocalDisk(kind="swap", size=64 << 20, content="swap", bus="sata")
HOSTILE = "]]>'\"><!--&amp;<domain type='kvm'>\u00e9\u2028"


def server(**changed: object) -> Instance:
    """Return the server of the files."""
    return instance(uuid=UUID, **changed)


def canonical(xml: str) -> str:
    """Return XML without what does not count in it."""
    return ET.canonicalize(xml, strip_text=True, rewrite_prefixes=True)


def of_flavor(**changed: object) -> Flavor:
    """Return a flavor; what is not a field of it is an extra spec, with ``__`` for a colon, or a dot
    before a digit."""
    fields = {name: changed.pop(name) for name in list(changed) if hasattr(FLAVOR, name)}
    specs = {re.sub("__([0-9])", r".\1", name).replace("__", ":"): v for name, v in changed.items()}
    return msgspec.structs.replace(FLAVOR, extra_specs=specs, **fields)


def of_image(**properties: str) -> Instance:
    """Return a server whose image has properties."""
    return server(image=msgspec.structs.replace(IMAGE, properties=properties))


class GoldenTest(testtools.TestCase):
    """Every kind of guest."""

    def assert_golden(self, name: str, xml: str) -> None:
        """Assert that XML is what a file says, but for white space."""
        golden = (Path(__file__).parent / "domains" / f"{name}.xml").read_text()
        self.assertEqual(canonical(golden), canonical(xml))

    def test_an_emulated_guest(self) -> None:
        self.assert_golden("qemu", domain_xml(server(), PLACE))

    def test_a_guest_under_kvm_has_the_hosts_cpu(self) -> None:
        place = msgspec.structs.replace(PLACE, virt_type="kvm")
        flavor = msgspec.structs.replace(FLAVOR, vcpus=4, memory_mb=8192, root_gb=0, swap_mb=1536)
        self.assert_golden("kvm", domain_xml(server(flavor=flavor, epoch=12), place))

    def test_a_config_drive_is_a_second_disk_that_cannot_be_written(self) -> None:
        drive = f"/var/lib/kilonova/instances/{UUID}/config-drive.iso"
        place = msgspec.structs.replace(PLACE, config_drive=drive)
        self.assert_golden("config-drive", domain_xml(server(), place))

    def test_an_image_that_wants_uefi_gets_it(self) -> None:
        self.assert_golden("uefi", domain_xml(of_image(hw_firmware_type="uefi"), PLACE))

    def test_a_secure_boot_has_its_firmware_its_machine_and_a_tpm(self) -> None:
        flavor = of_flavor(
            os__secure_boot="required", hw__tpm_version="2.0", hw__tpm_model="tpm-crb"
        )
        self.assert_golden("secure-boot", domain_xml(server(flavor=flavor), PLACE))

    def test_a_guest_with_numa_cells_huge_pages_and_cpus_of_its_own(self) -> None:
        flavor = of_flavor(
            vcpus=4,
            memory_mb=4096,
            hw__numa_nodes="2",
            hw__numa_cpus__0="0",
            hw__numa_cpus__1="1-3",
            hw__numa_mem__0="1024",
            hw__numa_mem__1="3072",
            hw__cpu_policy="mixed",
            hw__cpu_dedicated_mask="^0",
            hw__mem_page_size="1GB",
            hw__cpu_sockets="2",
            hw__pmu="no",
        )
        pins = Pins(
            cpus={1: 8, 2: 10, 3: 9},
            shared=frozenset((0, 1)),
            emulator=frozenset((0, 1)),
            cells={0: 1, 1: 0},
            pages={0: 1 << 20, 1: 1 << 20},
        )
        devices = ("0000:3b:00.0", "0001:82:1f.7")
        place = msgspec.structs.replace(
            PLACE,
            virt_type="kvm",
            pins=pins,
            devices=devices,
            vgpus=("0f2b5c1e-8d3a-4b6e-9c1d-2e7f5a4b3c6d",),
        )
        self.assert_golden("numa", domain_xml(server(flavor=flavor), place))

    def test_pages_of_two_sizes_are_told_apart_by_cell(self) -> None:
        flavor = of_flavor(vcpus=2, memory_mb=2048, hw__numa_nodes="2", hw__mem_page_size="any")
        pins = Pins(cells={0: 0, 1: 1}, pages={1: 2048})
        place = msgspec.structs.replace(PLACE, pins=pins)
        root = ET.fromstring(domain_xml(server(flavor=flavor), place))
        (page,) = root.findall("memoryBacking/hugepages/page")
        self.assertEqual({"size": "2048", "unit": "KiB", "nodeset": "1"}, page.attrib)

    def test_qemus_own_threads_run_where_the_vcpus_do_unless_something_is_said(self) -> None:
        flavor = of_flavor(vcpus=2, hw__cpu_policy="dedicated")
        for emulator, expected in ((frozenset(), "4,6"), (frozenset({8}), "8")):
            pins = Pins(cpus={0: 6, 1: 4}, emulator=emulator, cells={0: 0})
            place = msgspec.structs.replace(PLACE, pins=pins)
            root = ET.fromstring(domain_xml(server(flavor=flavor), place))
            self.assertEqual(expected, root.find("cputune/emulatorpin").get("cpuset"))
            self.assertIsNone(root.find("vcpu").get("cpuset"))

    def test_a_guest_without_cpus_of_its_own_keeps_off_those_of_others(self) -> None:
        place = msgspec.structs.replace(PLACE, pins=Pins(shared=frozenset({0, 3})))
        root = ET.fromstring(domain_xml(server(), place))
        self.assertEqual("0,3", root.find("vcpu").get("cpuset"))
        self.assertIsNone(root.find("cputune"))

    def test_quotas_are_the_hypervisors_to_enforce(self) -> None:
        flavor = of_flavor(
            quota__cpu_shares="512",
            quota__cpu_period="20000",
            quota__cpu_quota="10000",
            quota__disk_read_bytes_sec="1048576",
            quota__disk_write_iops_sec="100",
            quota__disk_total_bytes_sec="0",
            quota__vif_inbound_average="1024",
            quota__vif_inbound_peak="2048",
            quota__vif_outbound_average="512",
            quota__vif_outbound_burst="4096",
        )
        place = msgspec.structs.replace(
            PLACE, config_drive="/drive.iso", nics=(NIC,), network="kilonova", nic_filter="honest"
        )
        self.assert_golden("quotas", domain_xml(server(flavor=flavor), place))

    def test_devices_are_what_the_image_asks_for(self) -> None:
        image = of_image(
            hw_machine_type="q35",
            hw_disk_bus="scsi",
            hw_scsi_model="lsisas1068",
            hw_vif_model="e1000e",
            hw_video_model="qxl",
            hw_video_ram="32",
            hw_watchdog_action="reset",
            hw_qemu_guest_agent="yes",
            hw_pointer_model="usbtablet",
            hw_serial_port_count="2",
            hw_boot_menu="true",
            os_type="windows",
        ).image
        flavor = of_flavor(
            ephemeral_gb=1,
            swap_mb=64,
            hw_video__ram_max_mb="64",
            hw_rng__rate_bytes="1024",
            hw__sound_model="ich9",
            hide_hypervisor_id="true",
        )
        guest = server(image=image, flavor=flavor)
        local = (LocalFile(disk=EPHEMERAL, path="/e.raw"), LocalFile(disk=SWAP, path="/s.raw"))
        place = msgspec.structs.replace(
            PLACE,
            virt_type="kvm",
            local=local,
            config_drive="/drive.iso",
            console_socket="/console.sock",
            nics=(NIC,),
            network="kilonova",
        )
        self.assert_golden("devices", domain_xml(guest, place))

    def test_an_emulated_guest_of_another_architecture(self) -> None:
        place = msgspec.structs.replace(PLACE, arch="aarch64")
        self.assert_golden("aarch64", domain_xml(server(), place))

    def test_a_flavor_without_entropy_has_none(self) -> None:
        flavor = of_flavor(hw_rng__allowed="false")
        root = ET.fromstring(domain_xml(server(flavor=flavor), PLACE))
        self.assertIsNone(root.find("./devices/rng"))

    def test_a_rescued_guest_starts_from_another_disk_with_its_own_beside_it(self) -> None:
        rescue = f"/var/lib/kilonova/instances/{UUID}/rescue.qcow2"
        place = msgspec.structs.replace(PLACE, rescue=rescue)
        self.assert_golden("rescue", domain_xml(server(), place))

    def test_an_image_with_an_agent_gets_a_channel_to_it(self) -> None:
        def channels(value: str) -> list[str | None]:
            image = msgspec.structs.replace(IMAGE, properties={"hw_qemu_guest_agent": value})
            root = ET.fromstring(domain_xml(server(image=image), PLACE))
            return [target.get("name") for target in root.iterfind("./devices/channel/target")]

        self.assertEqual(["org.qemu.guest_agent.0"], channels("yes"))
        self.assertEqual([], channels("no"))

    def test_a_disk_whose_file_system_refuses_direct_access_is_cached(self) -> None:
        cached = domain_xml(server(), msgspec.structs.replace(PLACE, direct=False))
        self.assertEqual(
            "writeback", ET.fromstring(cached).find("./devices/disk/driver").get("cache")
        )

    def test_the_test_driver_needs_no_devices(self) -> None:
        place = Place(virt_type="test", arch="i686", console_log="/dev/null")
        self.assert_golden("test", domain_xml(server(), place))


SPECS = (
    "hw:machine_type", "hw:cpu_policy", "hw:cpu_sockets", "hw:cpu_max_cores", "hw:numa_nodes",
    "hw:mem_page_size", "hw:watchdog_action", "hw:tpm_version", "hw:tpm_model", "hw:sound_model",
    "hw:serial_port_count", "hw:boot_menu", "hw:pmu", "hw:cpu_thread_policy", "hw:locked_memory",
    "hw:hide_hypervisor_id", "hw:vif_multiqueue_enabled", "hw_rng:allowed", "hw_rng:rate_bytes",
    "hw_video:ram_max_mb", "os:secure_boot", "quota:cpu_shares", "quota:cpu_quota",
    "quota:disk_read_bytes_sec", "quota:vif_inbound_average", "hw:mem_encryption", "hw:pmem",
    "acme:anything",
)  # fmt: skip
PROPERTIES = (
    "hw_machine_type", "hw_disk_bus", "hw_vif_model", "hw_video_model", "hw_video_ram",
    "hw_scsi_model", "hw_firmware_type", "hw_pointer_model", "hw_qemu_guest_agent", "os_type",
    "hw_tpm_version", "os_secure_boot", "hw_cpu_threads", "hw_watchdog_action", "hw_rng_model",
    "hw_boot_menu", "os_command_line", "hw_input_bus", "img_config_drive", "acme_anything",
)  # fmt: skip


class DomainXmlTest(testtools.TestCase):
    """What holds of all of them."""

    def test_what_a_user_typed_stays_text(self) -> None:
        plain = domain_xml(server(), PLACE)
        hostile = server(
            name=HOSTILE, hostname=HOSTILE, description=HOSTILE, project_id=ProjectId(HOSTILE)
        )
        root = ET.fromstring(domain_xml(hostile, PLACE))
        project = root.find(f"./metadata/{{{NAMESPACE}}}instance/{{{NAMESPACE}}}project")
        self.assertEqual(HOSTILE, project.text)
        project.text = "demo"
        # Nothing else differs: no element, no attribute, no text.
        self.assertEqual(canonical(plain), canonical(ET.tostring(root, encoding="unicode")))

    def test_a_hostile_word_in_any_extra_spec_or_property_is_refused_or_stays_text(self) -> None:
        plain = {element.tag for element in ET.fromstring(domain_xml(server(), PLACE)).iter()}
        for hostile in (HOSTILE, "../../etc/passwd", "q35'/><x/>", "1;reboot", "$(id)", "\0"):
            for name in SPECS:
                flavor = msgspec.structs.replace(FLAVOR, extra_specs={name: hostile})
                self.check_harmless(plain, server(flavor=flavor))
            for name in PROPERTIES:
                self.check_harmless(plain, of_image(**{name: hostile}))

    def check_harmless(self, plain: set[str], guest: Instance) -> None:
        """Assert that a guest is refused, or has no element that the plain one lacks."""
        try:
            xml = domain_xml(guest, PLACE)
        except Malformed as error:
            self.assertLess(len(error.message), 300)
        else:
            self.assertEqual(plain, {element.tag for element in ET.fromstring(xml).iter()})

    def test_a_guest_with_cpus_of_its_own_is_not_made_without_them(self) -> None:
        flavor = of_flavor(hw__cpu_policy="dedicated")
        self.assertRaises(BuildFailed, domain_xml, server(flavor=flavor), PLACE)

    def test_paths_stay_text_too(self) -> None:
        place = msgspec.structs.replace(PLACE, disk=HOSTILE, console_log=HOSTILE)
        root = ET.fromstring(domain_xml(server(), place))
        self.assertEqual(HOSTILE, root.find("./devices/disk/source").get("file"))
        self.assertEqual(HOSTILE, root.find("./devices/serial/source").get("path"))

    def test_a_domains_name_tells_whose_it_is(self) -> None:
        self.assertEqual(UUID, uuid_of_domain(domain_name(UUID)))
        self.assertIsNone(uuid_of_domain("test"))
        self.assertIsNone(uuid_of_domain(f"my-{domain_name(UUID)}"))


class RecordTest(testtools.TestCase):
    """What is read back from a domain's metadata."""

    def metadata(self, xml: str) -> str:
        """Return our element of a domain's metadata, as XML."""
        ours = ET.fromstring(xml).find(f"./metadata/{{{NAMESPACE}}}instance")
        return ET.tostring(ours, encoding="unicode")

    def test_the_epoch_and_the_resources_come_back(self) -> None:
        flavor = msgspec.structs.replace(FLAVOR, vcpus=3, memory_mb=512, root_gb=5, swap_mb=1)
        xml = domain_xml(server(epoch=42, flavor=flavor), PLACE)
        self.assertEqual(
            Record(42, {"VCPU": 3, "MEMORY_MB": 512, "DISK_GB": 6}), record_of(self.metadata(xml))
        )

    def test_an_element_without_namespaces_reads_the_same(self) -> None:
        plain = "<instance>\n  <epoch>5</epoch>\n  <resource name='VCPU'>2</resource>\n</instance>"
        self.assertEqual(Record(5, {"VCPU": 2}), record_of(plain))

    def test_an_element_that_tells_nothing_is_no_epoch(self) -> None:
        self.assertEqual(Record(0, {}), record_of("<instance/>"))
        self.assertEqual(Record(0, {}), record_of("<instance><epoch/></instance>"))
