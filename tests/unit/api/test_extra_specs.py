"""Which extra specs are known, and what they may say."""

import testtools

from kilonova.api import extra_specs
from kilonova.core.errors import Invalid


class ExtraSpecsTest(testtools.TestCase):
    """Names and values, from microversion 2.86 on."""

    def test_known_names_with_right_values_pass(self) -> None:
        extra_specs.check(
            {
                "hw:cpu_policy": "dedicated",
                "hw:numa_cpus.1": "0-3,^2",
                "hw:mem_page_size": "2MB",
                "hw_rng:allowed": "True",
                "quota:disk_read_bytes_sec": "10240000",
                "quota:cpu_quota": "-1",
                "resources:VCPU": "2",
                "resources_NET1:CUSTOM_LICENCE": "1",
                "trait:HW_CPU_X86_AVX2": "required",
                "trait1:CUSTOM_GOLD": "forbidden",
                "capabilities:cpu_info:features": "<in> avx",
                "aggregate_instance_extra_specs:ssd": "true",
                "pci_passthrough:alias": "gpu:1, nic:2",
            }
        )

    def test_a_misspelt_name_in_a_known_namespace_is_refused_by_name(self) -> None:
        for name in ("hw:cpu_polcy", "resources:VCPUS", "trait:HW_NOTHING", "quota:x", "os:x"):
            error = self.assertRaises(Invalid, extra_specs.check, {name: "1"})
            self.assertIn(name, str(error))

    def test_a_wrong_value_is_refused_with_what_it_should_be(self) -> None:
        for name, value, wanted in (
            ("hw:cpu_policy", "fast", "dedicated"),
            ("hw:cpu_cores", "many", "whole number"),
            ("hw:cpu_cores", "0", "at least 1"),
            ("hw:redirected_usb_ports", "16", "at most 15"),
            ("hw:boot_menu", "maybe", "boolean"),
            ("trait:CUSTOM_GOLD", "please", "required"),
            ("hw:numa_cpus.0", "first", "form"),
        ):
            error = self.assertRaises(Invalid, extra_specs.check, {name: value})
            self.assertIn(name, str(error))
            self.assertIn(wanted, str(error))

    def test_names_of_an_operators_own_pass(self) -> None:
        extra_specs.check({"acme:tier": "gold", "ssd": "true", "hw": "x"})
