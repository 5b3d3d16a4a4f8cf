"""Which host may a server run on, by the aggregates that the host is in."""

from collections.abc import Sequence
from typing import Any

from kilonova.core.aggregate import HostAggregate
from kilonova.core.scheduling import HostState
from kilonova.scheduler import aggregate_filters
from tests.unit.scheduler.filter_case import Case, FilterCase, specs
from tests.unit.scheduler.fleet import NOW, flavor, host, image, spec


def member(*metadata: dict[str, str], **changed: Any) -> HostState:
    """Return a host in aggregates of such metadata."""
    aggregates = tuple(
        HostAggregate(number=n, uuid=f"agg-{n}", name=f"a{n}", created_at=NOW, metadata=items)
        for n, items in enumerate(metadata)
    )
    return host(aggregates=aggregates, **changed)


SSD = specs(aggregate_instance_extra_specs__ssd="true")
EXTRA_SPECS: Sequence[Case] = (
    ("nothing asked", spec(), host(), None),
    ("nothing asked of a member", spec(), member({"ssd": "true"}), None),
    ("met", SSD, member({"ssd": "true"}), None),
    ("met without scope", specs(ssd="true"), member({"ssd": "true"}), None),
    ("other scopes are not its affair", specs(capabilities__ssd="true"), host(), None),
    ("met by one of two", SSD, member({"ssd": "false"}, {"ssd": "true"}), None),
    ("met by one of several values", SSD, member({"ssd": "false, true"}), None),
    ("met by an operator", specs(rack=">= 4"), member({"rack": "7"}), None),
    ("all of several", specs(rack="7", ssd="true"), member({"rack": "7"}, {"ssd": "true"}), None),
    (
        "in no aggregate",
        SSD,
        host(),
        (
            "are in no aggregate with ssd true",
            "needs ssd true, the host's aggregates have none",
        ),
    ),
    (
        "in one with another value",
        SSD,
        member({"ssd": "false"}, {"ssd": "maybe"}),
        (
            "are in no aggregate with ssd true",
            "needs ssd true, the host's aggregates have false, maybe",
        ),
    ),
    (
        "one of several not met",
        specs(rack="8", ssd="true"),
        member({"rack": "7", "ssd": "true"}),
        ("are in no aggregate with rack 8", "needs rack 8, the host's aggregates have 7"),
    ),
)
LINUX = spec(image=image(os_type="linux", hw_machine_type="q35"))
IMAGES: Sequence[Case] = (
    ("no image", spec(), member({"os_type": "windows"}), None),
    ("an image that says nothing", spec(image=image()), member({"os_type": "windows"}), None),
    ("no aggregate", LINUX, host(), None),
    ("for the same", LINUX, member({"os_type": "linux"}), None),
    ("for several", LINUX, member({"os_type": "windows,linux"}), None),
    ("keys that are no properties", LINUX, member({"ssd": "true"}), None),
    (
        "for others",
        LINUX,
        member({"os_type": "windows"}),
        (
            "are set apart for other images than os_type=linux",
            "image has os_type=linux, the host's aggregates want windows",
        ),
    ),
    (
        "one of two properties is another",
        LINUX,
        member({"os_type": "linux"}, {"hw_machine_type": "pc"}),
        (
            "are set apart for other images than hw_machine_type=q35",
            "image has hw_machine_type=q35, the host's aggregates want pc",
        ),
    ),
)
APART = ("are set apart for other projects", "")
TENANTS: Sequence[Case] = (
    ("no aggregate", spec(), host(), None),
    ("an aggregate of nobody", spec(), member({"ssd": "true"}), None),
    ("its own", spec(), member({"filter_tenant_id": "p"}), None),
    ("shared with others", spec(), member({"filter_tenant_id": "o, p"}), None),
    (
        "its own under a suffix",
        spec(),
        member({"filter_tenant_id": "o", "filter_tenant_id2": "p"}),
        None,
    ),
    (
        "one of two aggregates",
        spec(),
        member({"filter_tenant_id": "o"}, {"filter_tenant_id": "p"}),
        None,
    ),
    ("another's", spec(), member({"filter_tenant_id": "o"}), APART),
    ("another's and nobody's", spec(), member({"ssd": "true"}, {"filter_tenant_id": "o"}), APART),
    ("a project whose name begins the same", spec(), member({"filter_tenant_id": "pp"}), APART),
)
TYPES: Sequence[Case] = (
    ("no aggregate", spec(), host(), None),
    ("for any flavor", spec(), member({"ssd": "true"}), None),
    ("for this flavor", spec(), member({"instance_type": "f"}), None),
    ("for several flavors", spec(), member({"instance_type": "g, f"}), None),
    (
        "for others",
        spec(flavor=flavor()),
        member({"instance_type": "g,h"}),
        ("are set apart for other flavors", "flavor is f, the host's aggregates want g, h"),
    ),
)


class AggregateFiltersTest(FilterCase):
    """Each filter against its table."""

    def test_a_host_whose_aggregates_lack_what_the_flavor_demands_is_refused(self) -> None:
        name = "AggregateInstanceExtraSpecsFilter"
        self.check(name, aggregate_filters.extra_specs, EXTRA_SPECS)

    def test_a_host_that_is_set_apart_for_other_images_is_refused(self) -> None:
        name = "AggregateImagePropertiesIsolation"
        self.check(name, aggregate_filters.image_isolation, IMAGES)

    def test_a_host_that_is_set_apart_for_other_projects_is_refused(self) -> None:
        name = "AggregateMultiTenancyIsolation"
        self.check(name, aggregate_filters.tenant_isolation, TENANTS)

    def test_a_host_that_is_set_apart_for_other_flavors_is_refused(self) -> None:
        self.check("AggregateTypeAffinityFilter", aggregate_filters.type_affinity, TYPES)
