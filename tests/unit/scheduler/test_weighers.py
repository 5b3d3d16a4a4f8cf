"""How good each host is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import testtools

from kilonova.core.ids import CellUuid, HostName
from kilonova.core.scheduling import PciPool, RequestSpec
from kilonova.core.server_group import GroupRule
from kilonova.scheduler import weighers
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.fit import Fit
from kilonova.scheduler.weighers import Weigher, concerns
from tests.unit.scheduler.fleet import MOMENT, fit, flavor, host, image, rooms, spec

MEMBERS = replace(MOMENT, members={HostName("a"): 2, HostName("c"): 1})
METRICS = replace(MOMENT, metric_weights={"heat": -1.0, "speed": 0.5})
PCI_FLAVOR = flavor(extra_specs={"pci_passthrough:alias": "gpu:1"})


def fits(*changes: dict[str, Any]) -> list[Fit]:
    """Return hosts ``a``, ``b``, ... that differ so."""
    return [
        Fit(host=host(name, **changed), free=rooms())
        for name, changed in zip("abcdef", changes, strict=False)
    ]


def grouped(policy: str) -> RequestSpec:
    """Return a request for a server of a group."""
    return spec(group=GroupRule(group_uuid="g", policy=policy))


_PCI = fits({"pci": (PciPool(alias="gpu", free=2), PciPool(alias="nic", free=1))}, {})
_LIKE = {"os_distro=debian": 3, "hw_machine_type=q35": 1}
TABLE: Sequence[tuple[str, Weigher, RequestSpec, Sequence[Fit], list[float], Moment]] = (
    (
        "free memory",
        weighers.ram,
        spec(),
        [fit("a", memory=30), fit("b", memory=9)],
        [30, 9],
        MOMENT,
    ),
    ("free VCPUs", weighers.cpu, spec(), [fit("a", vcpu=1), fit("b", vcpu=2)], [1, 2], MOMENT),
    ("free disk", weighers.disk, spec(), [fit("a", disk=5), fit("b", disk=7)], [5, 7], MOMENT),
    ("busy servers", weighers.io_ops, spec(), fits({}, {"busy": 3}), [0, 3], MOMENT),
    ("servers", weighers.num_instances, spec(), fits({"servers": 9}, {}), [9, 0], MOMENT),
    (
        "failed builds",
        weighers.build_failure,
        spec(),
        fits({"failed_builds": 2}, {}),
        [-2, 0],
        MOMENT,
    ),
    (
        "a newer hypervisor",
        weighers.hypervisor_version,
        spec(),
        fits({"hypervisor_version": 8002002}, {"hypervisor_version": 10000000}),
        [8002002, 10000000],
        MOMENT,
    ),
    ("devices are kept from others", weighers.pci, spec(), _PCI, [-3, 0], MOMENT),
    ("devices are wanted", weighers.pci, spec(flavor=PCI_FLAVOR), _PCI, [3, 0], MOMENT),
    (
        "servers of images of the same kind",
        weighers.image_properties,
        spec(image=image(os_distro="debian", hw_machine_type="q35")),
        fits({"image_properties": _LIKE}, {"image_properties": {"os_distro=sles": 9}}, {}),
        [4, 0, 0],
        MOMENT,
    ),
    (
        "metrics by their weights",
        weighers.metrics,
        spec(),
        fits(
            {"metrics": {"heat": 60.0, "speed": 10.0, "noise": 9.0}},
            {"metrics": {"speed": 4.0}},
            {},
        ),
        [-55, 2, 0],
        METRICS,
    ),
    ("no metric counts", weighers.metrics, spec(), fits({"metrics": {"heat": 1.0}}), [0], MOMENT),
    (
        "beside its group",
        weighers.soft_affinity,
        grouped("soft-affinity"),
        fits({}, {}, {}),
        [2, 0, 1],
        MEMBERS,
    ),
    (
        "away from its group",
        weighers.soft_anti_affinity,
        grouped("soft-anti-affinity"),
        fits({}, {}, {}),
        [-2, 0, -1],
        MEMBERS,
    ),
    (
        "in its cell",
        weighers.cross_cell,
        spec(moves_from=CellUuid("c2")),
        fits({}, {"cell_uuid": CellUuid("c2")}),
        [0, 1],
        MOMENT,
    ),
)


class WeighersTest(testtools.TestCase):
    """Scores of hosts."""

    def test_hosts_score_by_what_each_weigher_counts(self) -> None:
        for what, weigh, request, hosts, expected, moment in TABLE:
            self.assertEqual(expected, weigh(request, hosts, moment), what)
            self.assertTrue(concerns(weigh, request), what)

    def test_a_host_that_has_nothing_of_a_kind_scores_nothing(self) -> None:
        some = fit("h1")
        del some.free["DISK_GB"]
        self.assertEqual([0.0], weighers.disk(spec(), [some], MOMENT))

    def test_weighers_that_cannot_tell_hosts_apart_are_left_out(self) -> None:
        for what, weigh, request in (
            ("no group", weighers.soft_affinity, spec()),
            ("other policy", weighers.soft_affinity, grouped("soft-anti-affinity")),
            ("hard policy", weighers.soft_anti_affinity, grouped("anti-affinity")),
            ("no move", weighers.cross_cell, spec()),
            ("no image", weighers.image_properties, spec()),
            ("an image that says nothing", weighers.image_properties, spec(image=image())),
        ):
            self.assertFalse(concerns(weigh, request), what)
