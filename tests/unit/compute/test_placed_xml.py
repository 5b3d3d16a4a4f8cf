"""Where a guest's devices are, as libvirt's XML tells."""

import testtools

from kilonova.compute.libvirt.placed_xml import placed
from kilonova.core.tagged_devices import Placed

XML = """
<domain type="kvm">
  <devices>
    <disk type="file" device="disk">
      <source file="/one/disk.qcow2"/><target dev="vda" bus="virtio"/>
      <serial>3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21</serial>
      <address type="pci" domain="0x0000" bus="0x04" slot="0x0a" function="0x1"/>
    </disk>
    <disk type="file" device="disk">
      <target dev="sda" bus="scsi"/><serial>swap</serial>
      <address type="drive" controller="0" bus="1" target="2" unit="3"/>
    </disk>
    <disk type="file" device="cdrom">
      <target dev="hdc" bus="ide"/><serial>config-2</serial>
      <address type="drive" controller="0" bus="1" target="0" unit="0"/>
    </disk>
    <disk type="file" device="disk">
      <target dev="sdb" bus="usb"/><serial>stick</serial><address type="usb" bus="0" port="2"/>
    </disk>
    <disk type="file" device="disk"><target dev="vdx" bus="virtio"/><serial>new</serial></disk>
    <disk type="file" device="disk">
      <target dev="vdy" bus="virtio"/><address type="pci" bus="0x00" slot="0x0b"/>
    </disk>
    <interface type="network">
      <mac address="52:54:0A:4D:00:05"/>
      <address type="pci" domain="0x0000" bus="0x00" slot="0x03" function="0x0"/>
    </interface>
    <interface type="network"><mac address="52:54:0a:4d:00:06"/></interface>
  </devices>
</domain>
"""


class PlacedTest(testtools.TestCase):
    """Each kind of address."""

    def test_cards_and_disks_that_have_an_address_are_found_by_what_the_guest_sees(self) -> None:
        self.assertEqual(
            (
                Placed(key="52:54:0a:4d:00:05", bus="pci", address="0000:00:03.0"),
                Placed(
                    key="3f0d6c1e-52c4-4d3a-9", bus="pci", address="0000:04:0a.1", path="/dev/vda"
                ),
                Placed(key="swap", bus="scsi", address="0:1:2:3", path="/dev/sda"),
                Placed(key="config-2", bus="ide", address="0:1:0:0", path="/dev/hdc"),
                Placed(key="stick", bus="usb", address="0:2", path="/dev/sdb"),
            ),
            placed(XML),
        )
        self.assertEqual((), placed("<domain/>"))
