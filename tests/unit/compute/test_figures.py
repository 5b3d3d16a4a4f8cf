"""What is made of libvirt's statistics of a domain."""

import testtools

from kilonova.compute.libvirt.figures import figures
from kilonova.core.diagnostics import CpuTimes, DiskRole

FOUND = {
    "state.state": 1,
    "cpu.time": 900,
    "cpu.user": 500,
    "cpu.system": 300,
    "vcpu.current": 2,
    "vcpu.0.time": 400,
    "vcpu.0.wait": 7,
    "vcpu.1.time": 500,
    "vcpu.1.wait": 8,
    "balloon.current": 262144,
    "balloon.maximum": 524288,
    "balloon.rss": 204800,
    "balloon.available": 250000,
    "balloon.usable": 147600,
    "balloon.unused": 100000,
    "block.count": 5,
    "block.0.name": "vda",
    "block.0.path": "/srv/vm/disk.qcow2",
    "block.0.capacity": 1000,
    "block.0.allocation": 900,
    "block.0.physical": 300,
    "block.1.path": "/srv/vm/ephemeral0.raw",
    "block.2.path": "/srv/vm/swap.raw",
    "block.3.path": "/srv/vm/config-drive.iso",
    "block.4.path": "/dev/disk/by-path/volume",
    "block.4.allocation": 5,
}


class FiguresTest(testtools.TestCase):
    """Names are those of virConnectGetAllDomainStats."""

    def test_what_libvirt_counts_is_what_is_told(self) -> None:
        found = figures(FOUND, "qemu")
        self.assertEqual(("running", "qemu", (400, 500)),
                         (found.state, found.hypervisor, found.cpu_times))  # fmt: skip
        self.assertEqual(CpuTimes(total=900, user=500, system=300, wait=15), found.cpu_time)
        self.assertEqual(
            (512, 256, 200, 100),
            (
                found.memory_maximum,
                found.memory_used,
                found.memory_resident,
                found.memory_in_guest,
            ),
        )

    def test_disks_are_known_by_their_files(self) -> None:
        disks = figures(FOUND, "qemu").disks
        self.assertEqual(
            [DiskRole.SYSTEM, DiskRole.EPHEMERAL, None, None, DiskRole.PERSISTENT],
            [disk.role for disk in disks],
        )
        self.assertEqual((1000, 300), (disks[0].capacity, disks[0].allocation))
        self.assertEqual((None, 5), (disks[4].capacity, disks[4].allocation))

    def test_what_libvirt_does_not_tell_is_not_known(self) -> None:
        found = figures({"state.state": 5}, "test")
        self.assertEqual(("shutdown", (), ()), (found.state, found.cpu_times, found.disks))
        for nothing in (found.cpu_time, found.memory_resident, found.memory_in_guest):
            self.assertIsNone(nothing)
