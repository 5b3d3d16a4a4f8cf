"""The hardware that flavors and images ask for, and what is refused before any host is asked."""

import msgspec
import testtools

from kilonova.core.asked import Malformed
from kilonova.core.guest_cells import CellOfGuest
from kilonova.core.hardware import CpuTopology, Hardware, Limits, Rng, Tpm, hardware_of
from tests.instances import FLAVOR, IMAGE

BAD = (
    ({"hw:machine_type": "q35' foo='bar"}, "hw:machine_type"),
    ({"hw:cpu_policy": "tight"}, "hw:cpu_policy"),
    ({"hw:cpu_max_sockets": "1", "hw:cpu_max_cores": "1", "hw:cpu_max_threads": "1"}, "4 VCPUs"),
    ({"hw:cpu_sockets": "0"}, "hw:cpu_sockets"),
    ({"hw:cpu_sockets": "1e3"}, "hw:cpu_sockets"),
    ({"hw:numa_nodes": "3"}, "4 VCPUs cannot be split"),
    ({"hw:numa_nodes": "2", "hw:numa_cpus.0": "0", "hw:numa_cpus.1": "0-3"}, "hw:numa_cpus"),
    ({"hw:numa_nodes": "2", "hw:numa_mem.0": "1", "hw:numa_mem.1": "2"}, "hw:numa_mem"),
    ({"hw:numa_nodes": "100"}, "at most 64"),
    ({"hw:cpu_policy": "mixed"}, "hw:cpu_dedicated_mask"),
    ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-9"}, "more than the 4 VCPUs"),
    ({"hw:mem_page_size": "huge"}, "hw:mem_page_size"),
    ({"hw:mem_page_size": "0"}, "hw:mem_page_size"),
    ({"hw:mem_encryption": "true"}, "cannot be had"),
    ({"hw:pmem": "6GB"}, "cannot be had"),
    ({"hw:watchdog_action": "explode"}, "hw:watchdog_action"),
    ({"hw:tpm_model": "tpm-tis"}, "without hw:tpm_version"),
    ({"hw:tpm_version": "1.2", "hw:tpm_model": "tpm-crb"}, "tpm-crb"),
    ({"hw:serial_port_count": "9"}, "at most 4"),
    ({"os:secure_boot": "perhaps"}, "os:secure_boot"),
    ({"quota:cpu_shares": "1"}, "from 2 to 262144"),
    ({"quota:cpu_quota": "5"}, "neither -1"),
    ({"quota:disk_read_bytes_sec": "-1"}, "quota:disk_read_bytes_sec"),
    ({"quota:disk_total_iops_sec": "9", "quota:disk_read_iops_sec": "1"}, "excludes"),
    ({"quota:vif_inbound_peak": "9"}, "quota:vif_inbound_average"),
    ({"hw_rng:rate_bytes": "many"}, "hw_rng:rate_bytes"),
)
BAD_IMAGES = (
    ({"hw_disk_bus": "floppy"}, "hw:disk_bus"),
    ({"hw_disk_bus": "ide", "hw_machine_type": "pc-q35-7.2"}, "does not have"),
    ({"hw_disk_bus": "ide", "os_secure_boot": "required"}, "does not have"),
    ({"hw_firmware_type": "bios", "os_secure_boot": "required"}, "bios"),
    ({"hw_video_model": "cga"}, "hw:video_model"),
    ({"hw_video_ram": "16"}, "hw_video:ram_max_mb allows 0"),
    ({"hw_vif_model": "x" * 500}, "hw:vif_model"),
)


def asked(specs: dict[str, str], properties: dict[str, str] | None = None) -> Hardware:
    """Return the hardware of a flavor of 4 VCPUs and 4096 MiB."""
    flavor = msgspec.structs.replace(FLAVOR, vcpus=4, memory_mb=4096, extra_specs=specs)
    return hardware_of(flavor, msgspec.structs.replace(IMAGE, properties=properties or {}))


class HardwareTest(testtools.TestCase):
    """Pure, from words to values."""

    def test_who_asks_for_nothing_gets_the_usual(self) -> None:
        self.assertEqual(Hardware(), asked({}))
        self.assertEqual(Hardware(), hardware_of(FLAVOR, None))

    def test_what_no_host_could_make_is_refused_with_a_short_sentence_that_names_it(self) -> None:
        for specs, words in BAD:
            error = self.assertRaises(Malformed, asked, specs)
            self.assertIn(words, error.message)
        for properties, words in BAD_IMAGES:
            error = self.assertRaises(Malformed, asked, {}, properties)
            self.assertIn(words, error.message)
            self.assertGreater(200, len(error.message))

    def test_a_flavor_counts_before_an_image(self) -> None:
        found = asked({"hw:watchdog_action": "pause"}, {"hw_watchdog_action": "reset"})
        self.assertEqual("pause", found.watchdog)
        self.assertEqual("reset", asked({}, {"hw_watchdog_action": "reset"}).watchdog)
        self.assertIsNone(asked({"hw:watchdog_action": "disabled"}).watchdog)

    def test_processors_are_arranged_as_preferred_within_what_is_allowed(self) -> None:
        for specs, sockets, cores, threads in (
            ({"hw:cpu_sockets": "2"}, 2, 2, 1),
            ({"hw:cpu_cores": "4"}, 1, 4, 1),
            ({"hw:cpu_threads": "2"}, 2, 1, 2),
            ({"hw:cpu_cores": "2", "hw:cpu_threads": "2"}, 1, 2, 2),
            ({"hw:cpu_max_sockets": "1"}, 1, 4, 1),
            ({"hw:cpu_max_sockets": "2", "hw:cpu_sockets": "4"}, 2, 2, 1),
            ({"hw:cpu_sockets": "3"}, 4, 1, 1),
        ):
            arranged = CpuTopology(sockets=sockets, cores=cores, threads=threads)
            self.assertEqual(arranged, asked(specs).topology, specs)

    def test_a_flavor_of_very_many_processors_is_arranged_at_once(self) -> None:
        flavor = msgspec.structs.replace(FLAVOR, vcpus=2**31 - 1, extra_specs={"hw:cpu_cores": "7"})
        self.assertEqual(2**31 - 1, hardware_of(flavor, None).topology.sockets)

    def test_numa_cells_have_the_cpus_and_the_memory_that_are_named(self) -> None:
        found = asked({"hw:numa_nodes": "2", "hw:numa_cpus.0": "0", "hw:numa_cpus.1": "1-3",
                       "hw:numa_mem.0": "1024", "hw:numa_mem.1": "3072"}).cells  # fmt: skip
        cells = (
            CellOfGuest(cpus=frozenset((0,)), memory_mb=1024),
            CellOfGuest(cpus=frozenset((1, 2, 3)), memory_mb=3072),
        )
        self.assertEqual(cells, found.cells)
        self.assertEqual(frozenset(), found.pinned)

    def test_a_page_size_is_kibibytes_whatever_its_unit(self) -> None:
        for text, page in (
            ("2048", "2048"), ("2MB", "2048"), ("1GB", "1048576"), ("1G", "1048576"),
            ("2MiB", "2048"), ("4kB", "4"), ("large", "large"), ("any", "any"),
        ):  # fmt: skip
            self.assertEqual(page, asked({"hw:mem_page_size": text}).cells.page, text)

    def test_quotas_are_read_each_into_its_place(self) -> None:
        found = asked(
            {
                "quota:cpu_shares": "512",
                "quota:cpu_quota": "-1",
                "quota:disk_write_bytes_sec": "1000",
                "quota:disk_read_iops_sec": "0",
                "quota:vif_outbound_average": "10",
                "quota:vif_outbound_burst": "20",
            }
        ).limits
        expected = Limits(
            cpu={"shares": 512, "quota": -1},
            disk={"write_bytes_sec": 1000},
            outbound={"average": 10, "burst": 20},
        )
        self.assertEqual(expected, found)

    def test_a_secure_boot_is_uefi_on_the_machine_that_can(self) -> None:
        for found in (
            asked({"os:secure_boot": "required"}),
            asked({}, {"os_secure_boot": "required", "hw_firmware_type": "uefi"}),
        ):
            self.assertEqual((True, True, "q35"), (found.uefi, found.secure_boot, found.machine))
        self.assertFalse(asked({}, {"os_secure_boot": "optional"}).secure_boot)

    def test_the_rest_is_read_from_where_it_is_said(self) -> None:
        found = asked(
            {"hw:tpm_version": "2.0", "hw_rng:rate_bytes": "5", "hw_rng:rate_period": "7"},
            {"hw_vif_model": "e1000", "hw_qemu_guest_agent": "yes", "os_type": "windows"},
        )
        self.assertEqual(Tpm(version="2.0", model="tpm-tis"), found.tpm)
        self.assertEqual(Rng(rate=5, period=7), found.rng)
        self.assertEqual(("e1000", True, True), (found.nic_model, found.guest_agent, found.windows))
        self.assertIsNone(asked({"hw_rng:allowed": "no"}).rng)

    def test_queues_are_of_paravirtual_cards_alone(self) -> None:
        many = {"hw_vif_multiqueue_enabled": "true"}
        self.assertEqual(4, asked({}, many).nic_queues)
        self.assertEqual(1, asked({}, many | {"hw_vif_model": "e1000"}).nic_queues)
