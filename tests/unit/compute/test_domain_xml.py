"""The domain XML of guests, against files that say what it should be (tests/unit/compute/domains)."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.domain_xml import (
    NAMESPACE,
    Place,
    Record,
    domain_xml,
    record_of,
    vnc_port,
)
from kilonova.core.ids import InstanceUuid, ProjectId, domain_name, uuid_of_domain
from kilonova.core.instance import Instance
from tests.instances import FLAVOR, IMAGE, instance

UUID = InstanceUuid("3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21")
PLACE = Place(
    virt_type="qemu",
    arch="x86_64",
    console_log=f"/var/lib/kilonova/instances/{UUID}/console.log",
    disk=f"/var/lib/kilonova/instances/{UUID}/disk.qcow2",
)
HOSTILE = "]]>'\"><!--&amp;<domain type='kvm'>\u00e9\u2028"


def server(**changed: object) -> Instance:
    """Return the server of the files."""
    return instance(uuid=UUID, **changed)


def canonical(xml: str) -> str:
    """Return XML without what does not count in it."""
    return ET.canonicalize(xml, strip_text=True, rewrite_prefixes=True)


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
        image = msgspec.structs.replace(IMAGE, properties={"hw_firmware_type": "uefi"})
        self.assert_golden("uefi", domain_xml(server(image=image), PLACE))

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

    def test_paths_stay_text_too(self) -> None:
        place = msgspec.structs.replace(PLACE, disk=HOSTILE, console_log=HOSTILE)
        root = ET.fromstring(domain_xml(server(), place))
        self.assertEqual(HOSTILE, root.find("./devices/disk/source").get("file"))
        self.assertEqual(HOSTILE, root.find("./devices/serial/source").get("path"))

    def test_a_domains_name_tells_whose_it_is(self) -> None:
        self.assertEqual(UUID, uuid_of_domain(domain_name(UUID)))
        self.assertIsNone(uuid_of_domain("test"))
        self.assertIsNone(uuid_of_domain(f"my-{domain_name(UUID)}"))


class VncTest(testtools.TestCase):
    """Where a live domain's screen is."""

    def test_a_guest_that_runs_has_a_port_and_another_has_none(self) -> None:
        for graphics, port in (
            ("<graphics type='vnc' port='5903'/>", 5903),
            ("<graphics type='vnc' port='-1'/>", None),
            ("<graphics type='spice' port='5903'/>", None),
            ("", None),
        ):
            xml = f"<domain><devices>{graphics}</devices></domain>"
            self.assertEqual(port, vnc_port(xml), graphics)


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
