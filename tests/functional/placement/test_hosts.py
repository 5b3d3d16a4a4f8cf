"""What a host makes of its resource provider, through the client and a served Placement."""

import tempfile
from pathlib import Path

import testtools

from kilonova.core.errors import InventoryInUse
from kilonova.core.ids import InstanceUuid, ProviderUuid
from kilonova.core.scheduling import Inventory
from kilonova.placement.client import Claim
from tests.functional.compute.small_cell import SmallCell

HOST = ProviderUuid("aaaaaaaa-0000-4000-8000-000000000001")
SERVER = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000001")


class HostsProviderTest(testtools.TestCase):
    """A host of 1000 MB of which 600 are used."""

    def setUp(self) -> None:
        """Serve Placement, make the provider, claim."""
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        cell = SmallCell(Path(scratch.name))
        self.addCleanup(cell.stop)
        self.placement = cell.placement
        self.assertTrue(self._offer(MEMORY_MB=1000, VCPU=8))
        self.assertEqual({}, self._claim(SERVER, 600))

    def _offer(self, **totals: int) -> bool:
        inventory = {name: Inventory(total=total) for name, total in totals.items()}
        return self.placement.ensure_provider(HOST, "host", inventory, ["COMPUTE_NODE"])

    def _claim(self, consumer: InstanceUuid, memory: int) -> dict[InstanceUuid, str]:
        allocation = {HOST: {"MEMORY_MB": memory}}
        claim = Claim(consumer=consumer, project_id="p", user_id="u", allocation=allocation)
        return self.placement.claim([claim])

    def test_a_host_that_lost_memory_in_use_is_full_until_enough_is_freed(self) -> None:
        other = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000002")
        self.assertFalse(self._offer(MEMORY_MB=500, VCPU=4))
        self.assertIn("capacity 600, used 600", self._claim(other, 1)[other])
        self.assertFalse(self._offer(MEMORY_MB=500, VCPU=4))
        self.assertEqual({}, self._claim(SERVER, 300))
        self.assertTrue(self._offer(MEMORY_MB=500, VCPU=4))
        self.assertIn("capacity 500, used 300", self._claim(other, 201)[other])
        self.assertEqual({}, self._claim(other, 200))

    def test_an_operators_traits_stay_and_those_that_nobody_knows_are_left_out(self) -> None:
        def said(*traits: str) -> set[str]:
            inventory = {"MEMORY_MB": Inventory(total=1000), "VCPU": Inventory(total=8)}
            self.assertTrue(self.placement.ensure_provider(HOST, "host", inventory, traits))
            found: list[str] = self.placement._ask("GET", path).json()["traits"]
            return set(found)

        path = f"/resource_providers/{HOST}/traits"
        self.placement._ask("PUT", "/traits/CUSTOM_SSD")
        own = {"CUSTOM_SSD", "HW_NUMA_ROOT", "COMPUTE_STATUS_DISABLED"}
        held = self.placement._ask("GET", path).json()
        body = {"resource_provider_generation": held["resource_provider_generation"]}
        body["traits"] = sorted({"COMPUTE_NODE", *own})
        self.placement._ask("PUT", path, body)
        avx = ("COMPUTE_NODE", "HW_CPU_X86_AVX", "COMPUTE_OF_TOMORROW")
        self.assertEqual({"COMPUTE_NODE", "HW_CPU_X86_AVX", *own}, said(*avx))
        self.assertEqual({"COMPUTE_NODE", *own}, said("COMPUTE_NODE"))

    def test_a_class_in_use_cannot_go_away(self) -> None:
        with self.assertRaises(InventoryInUse):
            self._offer(VCPU=8)
