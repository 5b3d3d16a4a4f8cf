"""What is made of two looks at a guest."""

from datetime import datetime, timedelta

import msgspec
import testtools

from kilonova.core.diagnostics import CpuTimes, Diagnostics, DiskFigures, DiskRole, NicFigures
from kilonova.core.host import NodeReport
from kilonova.core.ids import InstanceUuid, NodeName, ProviderUuid
from kilonova.core.vitals import (
    Allowance,
    Amounts,
    CpuUse,
    Sample,
    Share,
    above,
    diagnosed,
    host_vitals,
    is_same_run,
    vitals,
)

UUID = InstanceUuid("11111111-1111-4111-8111-111111111111")
NOON = datetime(2026, 5, 1, 12)
SECOND = 10**9
BARE = Diagnostics(state="running", driver="libvirt", hypervisor="QEMU")


def figures(**changed: object) -> Diagnostics:
    """Return what was measured of a guest with two CPUs."""
    full = msgspec.structs.replace(
        BARE,
        cpu_times=(3 * SECOND, 5 * SECOND),
        cpu_time=CpuTimes(total=9 * SECOND, user=6 * SECOND, system=2 * SECOND, wait=SECOND),
        memory_maximum=512,
        memory_used=512,
        memory_resident=300,
    )
    return msgspec.structs.replace(full, **changed)


def sample(seconds: float, found: Diagnostics) -> Sample:
    """Return a look so long after noon."""
    return Sample(NOON + timedelta(seconds=seconds), 1000 + seconds, found)


LATER = figures(
    cpu_times=(3 * SECOND, 9 * SECOND),
    cpu_time=CpuTimes(total=14 * SECOND, user=10 * SECOND, system=3 * SECOND, wait=SECOND),
)


class VitalsTest(testtools.TestCase):
    """Of one server."""

    def test_cpus_are_told_in_percent_of_all_of_them_together(self) -> None:
        found = vitals(UUID, sample(0, figures()), sample(10, LATER), None)
        # 5 of the 20 seconds that two CPUs had.
        self.assertEqual(CpuUse(total=25.0, user=20.0, system=5.0, wait=0.0), found.cpu)
        self.assertEqual(NOON + timedelta(seconds=10), found.at)

    def test_each_cpu_is_told_by_itself_in_whole_percent(self) -> None:
        found = diagnosed(sample(0, figures()), sample(10, LATER), 77)
        self.assertEqual(((0, 40), 77), (found.cpu_percents, found.uptime))
        told = msgspec.structs.replace(LATER, uptime=5)
        self.assertEqual(5, diagnosed(sample(0, figures()), sample(10, told), 77).uptime)

    def test_one_look_tells_nothing_of_cpus(self) -> None:
        one = sample(0, figures())
        self.assertIsNone(vitals(UUID, one, one, None).cpu)
        self.assertEqual((), diagnosed(one, one, None).cpu_percents)

    def test_what_is_not_measured_is_not_known(self) -> None:
        found = vitals(UUID, sample(0, BARE), sample(10, BARE), None)
        self.assertEqual(
            {"instance_uuid": UUID, "at": "2026-05-01T12:00:10", "state": "running"},
            msgspec.json.decode(msgspec.json.encode(found)),
        )
        partly = msgspec.structs.replace(
            LATER, cpu_time=CpuTimes(total=14 * SECOND, user=10 * SECOND)
        )
        cpu = vitals(UUID, sample(0, figures()), sample(10, partly), None).cpu
        self.assertEqual(CpuUse(total=25.0, user=20.0), cpu)

    def test_a_guests_own_word_on_its_memory_counts_more_than_what_the_host_gave(self) -> None:
        one = sample(0, figures())
        self.assertEqual(Share(300, 512), vitals(UUID, one, one, None).memory)
        said = sample(0, figures(memory_in_guest=90, memory_used=256, swap=(1, 64)))
        found = vitals(UUID, said, said, None)
        self.assertEqual((Share(90, 256), Share(1, 64)), (found.memory, found.swap))

    def test_disks_are_added_up_by_what_they_are_to_the_server(self) -> None:
        def disk(role: DiskRole | None, size: int, taken: int | None) -> DiskFigures:
            return DiskFigures(
                name="vd", role=role, capacity=size << 20, allocation=(taken or 0) << 20,
                read_bytes=1, write_bytes=2,
            )  # fmt: skip

        disks = (
            disk(DiskRole.SYSTEM, 1024, 100),
            disk(DiskRole.PERSISTENT, 10, 1),
            disk(DiskRole.PERSISTENT, 20, 2),
            disk(None, 5, 5),
        )
        nics = (NicFigures(name="a", rx_octets=3, tx_octets=4), NicFigures(name="b", rx_octets=5))
        one = sample(0, figures(disks=disks, nics=nics))
        found = vitals(UUID, one, one, None)
        self.assertEqual(Share(100, 1024), found.system_disk)
        self.assertIsNone(found.ephemeral_disk)
        self.assertEqual(Share(3, 30), found.persistent_disk)
        self.assertEqual(
            (4, 8, 8, 4),
            (found.read_bytes, found.written_bytes, found.received_bytes, found.sent_bytes),
        )

    def test_a_guest_whose_counter_fell_or_that_was_off_runs_anew(self) -> None:
        fresh = figures(cpu_time=CpuTimes(total=1))
        off, paused = figures(state="shutdown"), figures(state="paused")
        for before, now, same in (
            (figures(), LATER, True),
            (figures(), paused, True),
            (paused, LATER, True),
            (figures(), BARE, True),
            (figures(), fresh, False),
            (figures(), off, False),
            (off, LATER, False),
            (off, off, False),
        ):
            self.assertEqual(same, is_same_run(before, now), (before.state, now.state))

    def test_more_than_the_allowance_is_what_running_it_does_not_explain(self) -> None:
        def disk(role: DiskRole, taken: int) -> tuple[DiskFigures, ...]:
            return (DiskFigures(name="vda", role=role, capacity=1600, allocation=taken),)

        system, volume = DiskRole.SYSTEM, DiskRole.PERSISTENT
        for found, expected in (
            (BARE, ()),
            (figures(memory_resident=512 + 256), ()),
            (figures(memory_resident=512 + 257), (Allowance.MEMORY,)),
            (figures(disks=disk(system, 1700)), ()),
            (figures(disks=disk(system, 1701)), (Allowance.DISK,)),
            (figures(disks=disk(volume, 9999)), ()),
            (
                figures(memory_resident=1000, disks=disk(system, 2000) * 2),
                (Allowance.MEMORY, Allowance.DISK),
            ),
        ):
            self.assertEqual(expected, above(found))
        one = sample(0, figures(memory_resident=1000))
        self.assertEqual((Allowance.MEMORY,), vitals(UUID, one, one, None).above)

    def test_a_host_adds_up_what_is_used_beside_what_is_reserved(self) -> None:
        disk = (
            DiskFigures(name="vda", role=DiskRole.SYSTEM, capacity=4 << 30, allocation=3 << 29),
        )
        later = msgspec.structs.replace(LATER, disks=disk)
        one = vitals(UUID, sample(0, figures()), sample(10, later), None)
        node = NodeReport(
            node=NodeName("n"),
            provider_uuid=ProviderUuid("p"),
            hypervisor_type="QEMU",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=8,
            memory_mb=8192,
            disk_gb=100,
            vcpus_used=4,
            memory_mb_used=1024,
            disk_gb_used=8,
        )
        found = host_vitals(NOON, [(one, later), (one, later)], [node])
        self.assertEqual(Amounts(cpus=1.0, memory_mb=600, disk_gb=3), found.used)
        self.assertEqual(Amounts(cpus=4.0, memory_mb=1024, disk_gb=8), found.reserved)
        self.assertEqual((one, one), found.servers)
