"""What a host offers to Placement."""

import testtools
from oslo_config import cfg

from kilonova.compute.inventory import (
    Capacity,
    count_properties,
    inventory,
    provider_uuid,
    set_apart,
)
from kilonova.core import settings
from kilonova.core.errors import Invalid
from kilonova.core.ids import HostName, ImageId, NodeName
from kilonova.core.image import Image
from kilonova.core.scheduling import Inventory

HAS = Capacity(vcpus=8, memory_mb=16384, disk_gb=100)


def configuration(**options: object) -> cfg.ConfigOpts:
    """Return a configuration with these options of ``[DEFAULT]``."""
    conf = settings.new_config()
    conf([], project="kilonova", default_config_files=[])
    for name, value in options.items():
        conf.set_override(name, value)
    return conf


class InventoryTest(testtools.TestCase):
    """Totals, reserves and ratios."""

    def test_a_host_offers_all_that_it_has_at_its_ratios(self) -> None:
        conf = configuration(
            reserved_host_memory_mb=0,
            cpu_allocation_ratio=16.0,
            ram_allocation_ratio=1.5,
            disk_allocation_ratio=0.5,
        )
        self.assertEqual(
            {
                "VCPU": Inventory(total=8, reserved=0, max_unit=8, allocation_ratio=16.0),
                "MEMORY_MB": Inventory(
                    total=16384, reserved=0, max_unit=16384, allocation_ratio=1.5
                ),
                "DISK_GB": Inventory(total=100, reserved=0, max_unit=100, allocation_ratio=0.5),
            },
            inventory(conf, HAS),
        )

    def test_what_is_kept_for_the_host_is_reserved(self) -> None:
        conf = configuration(
            reserved_host_cpus=2, reserved_host_memory_mb=1000, reserved_host_disk_mb=2048
        )
        offered = inventory(conf, HAS)
        self.assertEqual(
            {"VCPU": 2, "MEMORY_MB": 1000, "DISK_GB": 2},
            {name: one.reserved for name, one in offered.items()},
        )

    def test_mediated_devices_are_offered_each_once(self) -> None:
        has = Capacity(vcpus=8, memory_mb=1024, disk_gb=1, vgpus=4)
        offered = inventory(configuration(cpu_allocation_ratio=4.0), has)
        self.assertEqual(4, offered["VGPU"].capacity)

    def test_a_part_of_a_gibibyte_is_reserved_whole(self) -> None:
        for mebibytes, gibibytes in ((0, 0), (1, 1), (1024, 1), (1025, 2)):
            conf = configuration(reserved_host_disk_mb=mebibytes)
            self.assertEqual(gibibytes, inventory(conf, HAS)["DISK_GB"].reserved)

    def test_no_more_is_reserved_than_there_is(self) -> None:
        conf = configuration(reserved_host_cpus=100, reserved_host_memory_mb=100_000)
        offered = inventory(conf, HAS)
        self.assertEqual((8, 16384), (offered["VCPU"].reserved, offered["MEMORY_MB"].reserved))

    def test_what_a_host_does_not_have_is_left_out(self) -> None:
        has = Capacity(vcpus=8, memory_mb=16384, disk_gb=0)
        self.assertEqual({"VCPU", "MEMORY_MB"}, set(inventory(configuration(), has)))


class ProviderUuidTest(testtools.TestCase):
    """The name of a node's resource provider."""

    def test_it_is_a_uuid_that_no_restart_changes(self) -> None:
        made = provider_uuid(HostName("host"), NodeName("node"))
        self.assertEqual("83d099a2-e69c-590a-b4c0-cd077db520f8", made)

    def test_no_two_nodes_share_one(self) -> None:
        pairs = [("a", "b"), ("b", "a"), ("a", "a"), ("ab", ""), ("a", "c")]
        made = {provider_uuid(HostName(host), NodeName(node)) for host, node in pairs}
        self.assertEqual(len(pairs), len(made))


class SetApartTest(testtools.TestCase):
    """CPUs for servers that want their own."""

    def _apart(self, text: str | None) -> frozenset[int]:
        conf = configuration()
        conf.set_override("cpu_dedicated_set", text, "compute")
        return set_apart(conf, 8)

    def test_those_that_the_host_has_are_set_apart(self) -> None:
        self.assertEqual(frozenset(), self._apart(None))
        self.assertEqual({2, 4, 7}, self._apart("2-4,^3,7,100"))
        self.assertRaises(Invalid, self._apart, "all")

    def test_they_are_offered_whole_as_pcpu_and_no_longer_as_vcpu(self) -> None:
        has = Capacity(vcpus=8, memory_mb=1024, disk_gb=1, pcpus=3)
        offered = inventory(configuration(cpu_allocation_ratio=4.0), has)
        self.assertEqual(
            {"VCPU": 20, "PCPU": 3},
            {name: offered[name].capacity for name in ("VCPU", "PCPU")},
        )


class CountPropertiesTest(testtools.TestCase):
    """What the images of a host's servers are like."""

    def test_servers_are_counted_by_each_property_of_their_images(self) -> None:
        both, one = {"a": "1", "b": "2"}, {"a": "1"}
        images = [Image(image_id=ImageId("i"), properties=p) for p in (both, one, {})]
        self.assertEqual({"a=1": 2, "b=2": 1}, count_properties([*images, None]))
