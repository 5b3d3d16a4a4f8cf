"""What a flavor takes of a host."""

import testtools

from kilonova.core.flavor import Flavor, resources
from kilonova.core.ids import FlavorId


def flavor(**changed: int) -> Flavor:
    """Return a flavor of 2 VCPUs, 512 MiB and 10 GiB."""
    sizes = {"vcpus": 2, "memory_mb": 512, "root_gb": 10} | changed
    return Flavor(flavor_id=FlavorId("1"), name="f", **sizes)


class ResourcesTest(testtools.TestCase):
    """By resource class, as Placement is asked."""

    def test_root_ephemeral_and_swap_make_the_disk(self) -> None:
        for changed, disk in (
            ({}, 10),
            ({"ephemeral_gb": 5}, 15),
            ({"swap_mb": 1}, 11),
            ({"swap_mb": 1024}, 11),
            ({"swap_mb": 1025}, 12),
            ({"root_gb": 0, "ephemeral_gb": 1, "swap_mb": 2048}, 3),
        ):
            self.assertEqual(
                {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": disk}, resources(flavor(**changed))
            )

    def test_a_root_disk_on_a_volume_takes_nothing_of_the_hosts(self) -> None:
        asked = resources(flavor(ephemeral_gb=5), boots_from_volume=True)
        self.assertEqual(5, asked["DISK_GB"])

    def test_what_a_flavor_has_none_of_is_not_asked_for(self) -> None:
        self.assertEqual({"VCPU": 2, "MEMORY_MB": 512}, resources(flavor(root_gb=0)))
        self.assertEqual({}, resources(flavor(vcpus=0, memory_mb=0, root_gb=0)))
