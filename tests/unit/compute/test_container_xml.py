"""The domain XML of containers, against files that say what it should be (tests/unit/compute/domains)."""

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.container_xml import container_xml
from kilonova.compute.libvirt.domain_xml import record_for, record_of
from kilonova.compute.libvirt.elements.place import Pins
from kilonova.core.asked import Malformed
from kilonova.core.errors import BuildAborted
from kilonova.core.instance import Instance
from tests.instances import instance
from tests.unit.compute.test_domain_xml import (
    HOSTILE,
    NIC,
    PLACE,
    UUID,
    canonical,
    of_flavor,
    of_image,
    server,
)

CONTAINER = msgspec.structs.replace(
    PLACE, virt_type="lxc", disk="/var/lib/kilonova/instances/_c/3f0d6c1e52c4"
)


def full() -> str:
    """Return the XML of a container with everything that one can have."""
    directory = f"/var/lib/kilonova/instances/{UUID}/config-drive"
    place = msgspec.structs.replace(
        CONTAINER,
        config_drive=directory,
        nics=(NIC,),
        network="kilonova",
        nic_filter="kilonova-guest",
        pins=Pins(shared=frozenset({2, 3})),
    )
    image = of_image(os_command="/usr/bin/app --name 'two words'").image
    specs = {"quota__cpu_quota": "25000", "quota__cpu_period": "50000", "quota__cpu_shares": "512"}
    flavor = of_flavor(vcpus=2, quota__vif_inbound_average="1024", **specs)
    return container_xml(server(image=image, flavor=flavor), place)


def program(**properties: str) -> list[str | None]:
    """Return what a container starts with whose image has properties."""
    root = ET.fromstring(container_xml(of_image(**properties), CONTAINER))
    return [root.findtext("os/init"), *(word.text for word in root.iterfind("os/initarg"))]


class GoldenTest(testtools.TestCase):
    """The files."""

    def assert_golden(self, name: str, xml: str) -> None:
        """Assert that XML is what a file says, but for white space."""
        golden = (Path(__file__).parent / "domains" / f"{name}.xml").read_text()
        self.assertEqual(canonical(golden), canonical(xml))

    def test_a_container(self) -> None:
        self.assert_golden("container", container_xml(server(), CONTAINER))

    def test_a_container_with_all_that_one_can_have(self) -> None:
        self.assert_golden("container-full", full())


class ContainerXmlTest(testtools.TestCase):
    """What the files do not show."""

    def test_a_container_starts_with_what_its_image_names(self) -> None:
        self.assertEqual(["/sbin/init"], program())
        self.assertEqual(["/sbin/init"], program(os_command=" "))
        self.assertEqual(["/sbin/init", "a b", "c"], program(os_command_line="'a b' c"))
        self.assertEqual(["/bin/x", "y"], program(os_command="/bin/x y", os_command_line="z"))

    def test_what_is_no_program_is_refused(self) -> None:
        for command in ("bin/x", "'", "/bin/x \x01", "/bin/x '\n'"):
            self.assertRaises(Malformed, program, os_command=command)
        self.assertRaises(Malformed, program, os_command_line="'")

    def test_what_users_typed_stays_text(self) -> None:
        words = program(os_command='/bin/x "<a>&amp;\'"')
        self.assertEqual(["/bin/x", "<a>&amp;'"], words)
        self.assertRaises(Malformed, program, os_command=HOSTILE)

    def test_what_no_container_has_is_refused_in_a_sentence(self) -> None:
        for words, refused in (
            ("CPUs of their own", server(flavor=of_flavor(hw__cpu_policy="dedicated"))),
            ("TPM", server(flavor=of_flavor(hw__tpm_version="2.0"))),
            ("disk rates", server(flavor=of_flavor(quota__disk_read_iops_sec="10"))),
        ):
            error = self.assertRaises(BuildAborted, container_xml, refused, CONTAINER)
            self.assertIn(words, error.message)

    def test_a_container_never_has_more_cpu_than_its_vcpus(self) -> None:
        def quota(**specs: str) -> str | None:
            found = container_xml(server(flavor=of_flavor(vcpus=2, **specs)), CONTAINER)
            return ET.fromstring(found).findtext("cputune/quota")

        self.assertEqual("200000", quota())
        self.assertEqual("200000", quota(quota__cpu_quota="-1"))
        self.assertEqual("200000", quota(quota__cpu_quota="900000"))
        self.assertEqual("20000", quota(quota__cpu_quota="10000"))

    def test_what_a_container_was_given_is_read_back(self) -> None:
        one: Instance = instance(epoch=7)
        root = ET.fromstring(container_xml(one, CONTAINER))
        (ours,) = root.iterfind("metadata/*")
        self.assertEqual(record_for(one), record_of(ET.tostring(ours, encoding="unicode")))
