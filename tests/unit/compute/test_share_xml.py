"""The XML of shares, what a host's table of mounts says, and who a host is to a storage."""

from pathlib import Path, PurePath
from xml.etree import ElementTree as ET

import msgspec
import testtools

from kilonova.compute.libvirt.domain_xml import domain_xml
from kilonova.compute.libvirt.elements.shares import with_shares
from kilonova.compute.libvirt.shares import mounted_in
from kilonova.core import share as shares
from kilonova.core.ids import HostName
from kilonova.core.share import AccessWanted, Share, ShareStage
from kilonova.core.states import PowerState
from tests.unit.compute.test_domain_xml import HOSTILE, PLACE, canonical, of_flavor, server

ID = "5e1f0a3c-54a7-4f0b-9c5d-0f6a7b1d2e90"
MOUNTS = PurePath("/var/lib/kilonova/shares")
AT = msgspec.structs.replace(PLACE, mounts=str(MOUNTS))
SHARE = Share(uuid=ID, share_id=ID, tag="data", protocol="NFS", export="192.0.2.1:/exports/data")
OTHER = msgspec.structs.replace(SHARE, share_id="6" + ID[1:], tag="other")
HOST = HostName("host.example.org")


class DomainTest(testtools.TestCase):
    """Guests with shares and without."""

    def test_a_guest_with_a_share_has_memory_that_others_read(self) -> None:
        golden = (Path(__file__).parent / "domains" / "shares.xml").read_text()
        made = domain_xml(server(shares=(SHARE,)), AT)
        self.assertEqual(canonical(golden), canonical(made))

    def test_a_guest_that_is_there_gets_shares_and_loses_them_and_is_as_it_was(self) -> None:
        for flavor in (of_flavor(), of_flavor(hw__mem_page_size="large")):
            plain = domain_xml(server(flavor=flavor), AT)
            one = with_shares(plain, (SHARE,), MOUNTS)
            self.assertEqual(canonical(one), canonical(with_shares(one, (SHARE,), MOUNTS)))
            both = with_shares(one, (OTHER, SHARE), MOUNTS)
            self.assertEqual(["other", "data"], self.tags(both))
            self.assertEqual(["data"], self.tags(with_shares(both, (SHARE,), MOUNTS)))
            self.assertEqual(canonical(plain), canonical(with_shares(both, (), MOUNTS)))

    def tags(self, xml: str) -> list[str]:
        """Return the tags of a domain's shares."""
        return [one.get("dir", "") for one in ET.fromstring(xml).iterfind(".//filesystem/target")]

    def test_huge_pages_stay_huge(self) -> None:
        flavor = of_flavor(hw__mem_page_size="large")
        backing = ET.fromstring(domain_xml(server(flavor=flavor, shares=(SHARE,)), AT))
        found = [part.tag for part in backing.iterfind("memoryBacking/*")]
        self.assertEqual(["hugepages", "source", "access"], found)

    def test_file_systems_that_are_not_ours_stay(self) -> None:
        plain = "<domain><devices><filesystem><alias name='fs0'/></filesystem></devices></domain>"
        self.assertEqual(canonical(plain), canonical(with_shares(plain, (), MOUNTS)))

    def test_what_a_user_typed_stays_text(self) -> None:
        hostile = msgspec.structs.replace(SHARE, tag=HOSTILE)
        for xml in (
            domain_xml(server(shares=(hostile,)), AT),
            with_shares(domain_xml(server(), AT), (hostile,), MOUNTS),
        ):
            self.assertEqual([HOSTILE], self.tags(xml))


class MountsTest(testtools.TestCase):
    """The kernel's table."""

    def test_what_is_mounted_in_a_directory_is_found_without_looking_there(self) -> None:
        table = (
            "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
            f"90 22 0:50 / /srv/my\\040state/shares/{ID} rw,nosuid - nfs4 h:/e rw\n"
            f"91 22 0:50 / /srv/my\\040state/mnt/{ID[1:]} rw - nfs4 h:/e rw\n"
        )
        self.assertEqual({ID}, mounted_in(Path("/srv/my state/shares"), table))
        self.assertEqual(frozenset(), mounted_in(Path("/srv/shares"), table))


class ShareTest(testtools.TestCase):
    """What is shown of a share, and whom it lets in."""

    def test_a_share_is_active_while_its_guest_has_it(self) -> None:
        for stage, power, expected in (
            (ShareStage.ATTACHED, PowerState.SHUTDOWN, "inactive"),
            (ShareStage.ATTACHED, PowerState.NOSTATE, "inactive"),
            (ShareStage.ATTACHED, PowerState.CRASHED, "inactive"),
            (ShareStage.ATTACHED, PowerState.RUNNING, "active"),
            (ShareStage.ATTACHED, PowerState.PAUSED, "active"),
            (ShareStage.ATTACHING, PowerState.SHUTDOWN, "attaching"),
            (ShareStage.DETACHING, PowerState.SHUTDOWN, "detaching"),
            (ShareStage.ERROR, PowerState.RUNNING, "error"),
        ):
            share = msgspec.structs.replace(SHARE, stage=stage)
            self.assertEqual(expected, shares.shown(share, power), (stage, power))

    def test_hosts_are_let_in_by_address_or_by_an_identity_of_their_own(self) -> None:
        ceph = msgspec.structs.replace(SHARE, protocol="CEPHFS")
        wanted = shares.access_for(ceph, HOST, "192.0.2.7")
        self.assertEqual(
            AccessWanted("ip", "192.0.2.7"), shares.access_for(SHARE, HOST, "192.0.2.7")
        )
        self.assertEqual("cephx", wanted.kind)
        # Ceph knows no full stop in it.
        self.assertRegex(wanted.to, "^kilonova-[0-9a-f]{32}$")
        self.assertNotEqual(wanted.to, shares.cephx_identity(HostName("host-example.org")))
        self.assertEqual(
            {wanted, AccessWanted("ip", "192.0.2.7")}, set(shares.all_access(HOST, "192.0.2.7"))
        )
