"""NUMA cells and PCI devices out of libvirt's XML, and how busy the machine is out of /proc."""

import testtools

from kilonova.compute import machine
from kilonova.compute.libvirt.topology import devices_for_guests, host_cells
from kilonova.core.pinning import counted, pooled
from kilonova.core.scheduling import NumaCell, PciPool


def capabilities(*cells: str) -> str:
    """Return capabilities with these cells."""
    inside = "".join(cells)
    return f"<capabilities><host><topology><cells>{inside}</cells></topology></host></capabilities>"


def cell(number: int, siblings: list[str], pages: str = "", memory: int = 8 << 20) -> str:
    """Return a cell whose cores have these CPUs."""
    cpus = "".join(
        f"<cpu id='{cpu}' siblings='{core}'/>" for core in siblings for cpu in core.split(",")
    )
    size = f"<memory unit='KiB'>{memory}</memory>"
    return f"<cell id='{number}'>{size}{pages}<cpus>{cpus}</cpus></cell>"


def device(driver: str, vendor: str = "0x10de", product: str = "0x1db4", node: str = "") -> str:
    """Return a PCI device with a driver, near a NUMA cell or none."""
    near = f"<numa node='{node}'/>" if node else ""
    return (
        f"<device><name>pci_0000</name><driver><name>{driver}</name></driver>"
        f"<capability type='pci'><product id='{product}'/><vendor id='{vendor}'/>{near}"
        "</capability></device>"
    )


class NumaCellsTest(testtools.TestCase):
    """Cells of a host."""

    def test_cpus_are_shared_but_for_those_that_are_set_apart(self) -> None:
        cores = ["0,4", "1,5", "2,6", "3,7"]
        for what, apart, expected in (
            ("none set apart", set(), (8, 0, 0)),
            ("two whole cores", {0, 4, 1, 5}, (4, 2, 0)),
            ("a core and a single CPU of another", {0, 4, 1}, (5, 1, 1)),
            ("only single ones", {0, 1, 2}, (5, 0, 3)),
            ("CPUs that are elsewhere", {90}, (8, 0, 0)),
        ):
            (found,) = counted(host_cells(capabilities(cell(0, cores)), apart))
            counts = (found.cpus, found.whole_cores, found.single_cpus)
            self.assertEqual((expected, 2), (counts, found.threads_per_core), what)

    def test_huge_pages_are_no_memory_for_others(self) -> None:
        pages = (
            "<pages unit='KiB' size='4'>524288</pages><pages unit='KiB' size='2048'>1024</pages>"
            "<pages unit='KiB' size='1048576'>0</pages>"
        )
        (found,) = counted(host_cells(capabilities(cell(3, ["0"], pages)), set()))
        self.assertEqual(
            NumaCell(number=3, cpus=1, memory_mb=8192 - 2048, pages={2048: 1024}), found
        )

    def test_a_host_without_topology_has_no_cells(self) -> None:
        self.assertEqual((), host_cells("<capabilities><host/></capabilities>", set()))


class PciPoolsTest(testtools.TestCase):
    """Devices that are set apart for guests."""

    def test_only_devices_under_vfio_are_counted_by_kind_and_cell(self) -> None:
        listed = [
            device("vfio-pci", node="0"),
            device("vfio-pci", node="0"),
            device("vfio-pci", node="1"),
            device("nvidia", node="0"),
            device("vfio-pci", vendor="0x8086", product="0x154d"),
            "<device><name>pci_1</name><capability type='pci'/></device>",
            "<device><driver><name>vfio-pci</name></driver><capability type='pci'/></device>",
        ]
        self.assertEqual(
            (
                PciPool(alias="10de_1db4", free=2, numa_cell=0),
                PciPool(alias="10de_1db4", free=1, numa_cell=1),
                PciPool(alias="8086_154d", free=1),
            ),
            pooled(devices_for_guests(listed)),
        )


class MachineTest(testtools.TestCase):
    """What the kernel tells."""

    def test_waiting_is_not_being_busy(self) -> None:
        stat = "cpu  100 10 50 800 40 5 5 2 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
        self.assertEqual((172, 1012), machine.cpu_times(stat))

    def test_memory_is_used_that_is_not_available(self) -> None:
        text = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  600 kB\nHugePages:\n"
        self.assertAlmostEqual(0.4, machine.memory_used(text))
        self.assertEqual(0.0, machine.memory_used(""))

    def test_metrics_are_parts_of_one_in_steps(self) -> None:
        load = machine.Load()
        found = load.metrics()
        self.assertEqual({"cpu.percent", "memory.percent"}, set(found))
        for value in found.values():
            self.assertTrue(0 <= value <= 1, found)
            self.assertAlmostEqual(value * 20, round(value * 20), places=6)
