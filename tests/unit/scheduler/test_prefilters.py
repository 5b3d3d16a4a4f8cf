"""What Placement is asked for a server."""

from typing import Any

import msgspec
import testtools

from kilonova.core.aggregate import HostAggregate
from kilonova.core.candidates import Group, Request
from kilonova.core.ids import ProviderUuid
from kilonova.core.scheduling import RequestSpec
from kilonova.scheduler import prefilters
from kilonova.scheduler.prefilters import Known
from tests.unit.scheduler.fleet import NOW, flavor, image, spec

NOTHING = Known()
BASE = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}


def aggregate(number: int, **metadata: str) -> HostAggregate:
    """Return an aggregate."""
    return HostAggregate(
        number=number, uuid=f"agg-{number}", name=f"a{number}", created_at=NOW, metadata=metadata
    )


def specs(extra: dict[str, str], **changed: Any) -> RequestSpec:
    """Return a request whose flavor has extra specs."""
    return spec(flavor=flavor(extra_specs=extra, **changed))


def group(asked: Request, suffix: str = "") -> Group:
    """Return a group of a request."""
    (found,) = (one for one in asked.groups if one.suffix == suffix)
    return found


def required(asked: Request, suffix: str = "") -> list[str]:
    """Return the traits that a group requires."""
    return sorted(trait for names in group(asked, suffix).required for trait in names)


class ResourcesTest(testtools.TestCase):
    """Amounts, of the host and of groups."""

    def test_amounts_follow_the_flavor_and_what_its_extra_specs_say_of_them(self) -> None:
        for what, request, expected in (
            ("a plain flavor", spec(), BASE),
            ("a volume", spec(boots_from_volume=True), {"VCPU": 1, "MEMORY_MB": 512}),
            ("one more class", specs({"resources:VGPU": "1"}), BASE | {"VGPU": 1}),
            ("another amount", specs({"resources:MEMORY_MB": "1024"}), BASE | {"MEMORY_MB": 1024}),
            (
                "a class taken out",
                specs({"resources:VCPU": "0"}),
                {"MEMORY_MB": 512, "DISK_GB": 10},
            ),
            ("an amount that is none", specs({"resources:VGPU": "some"}), BASE),
            ("a key that is none", specs({"resources": "1", "resources:vgpu": "1"}), BASE),
            (
                "pinned CPUs",
                specs({"hw:cpu_policy": "dedicated"}, vcpus=4),
                {"PCPU": 4, "MEMORY_MB": 512, "DISK_GB": 10},
            ),
            (
                "some pinned",
                specs({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "1-3"}, vcpus=4),
                {"VCPU": 1, "PCPU": 3, "MEMORY_MB": 512, "DISK_GB": 10},
            ),
            ("a policy that is none", specs({"hw:cpu_policy": "tight"}), BASE),
        ):
            self.assertEqual(expected, group(prefilters.request(request, NOTHING)).resources, what)

    def test_groups_with_a_suffix_stand_by_themselves(self) -> None:
        request = specs(
            {
                "resources1:SRIOV_NET_VF": "1",
                "trait1:CUSTOM_PHYSNET_A": "required",
                "resources_GPU:VGPU": "2",
                "trait_GPU:HW_GPU_API_VULKAN": "forbidden",
                "group_policy": "isolate",
            }
        )
        asked = prefilters.request(request, NOTHING)
        self.assertEqual(["", "1", "_GPU"], [one.suffix for one in asked.groups])
        self.assertEqual(BASE, group(asked).resources)
        self.assertEqual({"SRIOV_NET_VF": 1}, group(asked, "1").resources)
        self.assertEqual(["CUSTOM_PHYSNET_A"], required(asked, "1"))
        self.assertEqual({"VGPU": 2}, group(asked, "_GPU").resources)
        self.assertEqual({"HW_GPU_API_VULKAN"}, group(asked, "_GPU").forbidden)
        self.assertTrue(asked.isolate)
        self.assertFalse(prefilters.request(spec(), NOTHING).isolate)

    def test_the_sum_over_all_groups_is_what_a_host_is_measured_by(self) -> None:
        asked = prefilters.request(specs({"resources1:VCPU": "2", "resources2:VGPU": "1"}), NOTHING)
        self.assertEqual(BASE | {"VCPU": 3, "VGPU": 1}, prefilters.resources(asked))


class TraitsTest(testtools.TestCase):
    """Traits of the flavor, the image and the host."""

    def test_flavor_and_image_require_and_forbid(self) -> None:
        request = spec(
            flavor=flavor(
                extra_specs={
                    "trait:HW_CPU_X86_AVX2": "required",
                    "trait:CUSTOM_OLD": "forbidden",
                    "trait:CUSTOM_MAYBE": "perhaps",
                }
            ),
            image=image(**{"trait:HW_CPU_X86_AES": "required", "resources:VGPU": "1"}),
        )
        asked = prefilters.request(request, NOTHING)
        self.assertEqual(["HW_CPU_X86_AES", "HW_CPU_X86_AVX2"], required(asked))
        self.assertEqual({"CUSTOM_OLD", "COMPUTE_STATUS_DISABLED"}, group(asked).forbidden)
        # An image says what it runs on, not how much of it.
        self.assertEqual(BASE, group(asked).resources)

    def test_disabled_hosts_are_never_asked_for(self) -> None:
        forbidden = group(prefilters.request(spec(), NOTHING)).forbidden
        self.assertEqual({"COMPUTE_STATUS_DISABLED"}, forbidden)

    def test_the_type_of_the_image_is_required_where_that_is_enabled(self) -> None:
        enabled = Known(enabled=("image_type",))
        for request, known, expected in (
            (spec(image=image()), enabled, ["COMPUTE_IMAGE_TYPE_QCOW2"]),
            (spec(image=image()), NOTHING, []),
            (spec(image=image(), boots_from_volume=True), enabled, []),
            (spec(), enabled, []),
        ):
            self.assertEqual(expected, required(prefilters.request(request, known)))


class PlaceTest(testtools.TestCase):
    """Aggregates, and the one host."""

    aggregates = (
        aggregate(1, availability_zone="z1"),
        aggregate(2, availability_zone="z1", filter_tenant_id="p, q"),
        aggregate(3, availability_zone="z2"),
        aggregate(4, filter_tenant_id3="p"),
        aggregate(5, filter_tenant_id="o"),
    )

    def _member_of(self, request: RequestSpec, *enabled: str) -> list[list[str]]:
        known = Known(enabled=enabled, aggregates=self.aggregates)
        sets = group(prefilters.request(request, known)).member_of
        return [sorted(uuids) for uuids in sets]

    def test_a_zone_is_asked_for_by_its_aggregates(self) -> None:
        for zone, expected in (
            ("z1", [["agg-1", "agg-2"]]),
            ("z2", [["agg-3"]]),
            # Hosts that no aggregate puts into a zone are in this one.
            ("nova", []),
            (None, []),
        ):
            request = spec(availability_zone=zone)
            self.assertEqual(expected, self._member_of(request, "availability_zone"), zone)
            self.assertEqual([], self._member_of(request), zone)

    def test_a_project_with_aggregates_of_its_own_gets_their_hosts(self) -> None:
        self.assertEqual([["agg-2", "agg-4"]], self._member_of(spec(), "tenant_isolation"))
        self.assertEqual([], self._member_of(spec()))

    def test_zone_and_project_hold_together(self) -> None:
        request = spec(availability_zone="z2")
        self.assertEqual(
            [["agg-3"], ["agg-2", "agg-4"]],
            self._member_of(request, "availability_zone", "tenant_isolation"),
        )

    def test_a_host_that_is_asked_for_is_the_only_tree_that_is_searched(self) -> None:
        asked = prefilters.request(
            specs({"resources1:VGPU": "1"}), Known(only=ProviderUuid("host"))
        )
        self.assertEqual(["host", None], [one.in_tree for one in asked.groups])

    def test_what_is_not_judged_asks_for_room_alone(self) -> None:
        known = Known(
            enabled=("availability_zone",),
            aggregates=(aggregate(1, availability_zone="z1"),),
            only=ProviderUuid("host"),
        )
        extra = {"trait:HW_CPU_X86_VMX": "required", "resources1:VGPU": "1"}
        judged = specs(extra)
        asked = prefilters.request(
            msgspec.structs.replace(judged, availability_zone="z1", unjudged=True), known
        )
        self.assertEqual(
            (
                Group(resources=BASE, in_tree=ProviderUuid("host")),
                Group(suffix="1", resources={"VGPU": 1}),
            ),
            asked.groups,
        )
