"""Filters that go by the metadata of the aggregates that a host is in.

Keys and their meaning: Compute documentation, "Compute schedulers".
"""

from collections.abc import Iterator

from kilonova.core.aggregate import HostAggregate
from kilonova.core.scheduling import HostState, Reason, RequestSpec
from kilonova.scheduler.extra_specs import matches
from kilonova.scheduler.filters import Moment, about, every

_SCOPE = "aggregate_instance_extra_specs"
_TENANTS = "filter_tenant_id"


def values_of(host: HostState, key: str) -> set[str]:
    """Return what the host's aggregates say under a key; each may give several values, by commas."""
    return {
        value.strip()
        for aggregate in host.aggregates
        if key in aggregate.metadata
        for value in aggregate.metadata[key].split(",")
    }


def tenants_of(aggregate: HostAggregate) -> set[str]:
    """Return the projects for which an aggregate is set apart.

    The key may have a suffix, so that an aggregate can name more projects than one value holds.
    """
    return {
        value.strip()
        for key, values in aggregate.metadata.items()
        if key.startswith(_TENANTS)
        for value in values.split(",")
    }


def _told(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def _demands(spec: RequestSpec) -> Iterator[tuple[str, str]]:
    """Yield the keys that the flavor demands of aggregates, with their values."""
    for key, wanted in sorted(spec.flavor.extra_specs.items()):
        scope, colon, name = key.partition(":")
        if not colon:
            yield key, wanted
        elif scope == _SCOPE:
            yield name, wanted


@about(lambda spec: any(_demands(spec)))
def extra_specs(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host's aggregates have what the flavor's extra specs demand of them."""
    for key, wanted in _demands(spec):
        held = values_of(host, key)
        if not any(matches(value, wanted) for value in held):
            return Reason(
                refused_by="AggregateInstanceExtraSpecsFilter",
                sentence=f"are in no aggregate with {key} {wanted}",
                nearest_miss=f"needs {key} {wanted}, the host's aggregates have {_told(held)}",
            )
    return None


@about(lambda spec: spec.image is not None and bool(spec.image.properties))
def image_isolation(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """No aggregate of the host is set apart for other values of the image's properties."""
    properties = spec.image.properties if spec.image else {}
    for key, has in sorted(properties.items()):
        held = values_of(host, key)
        if held and has not in held:
            return Reason(
                refused_by="AggregateImagePropertiesIsolation",
                sentence=f"are set apart for other images than {key}={has}",
                nearest_miss=f"image has {key}={has}, the host's aggregates want {_told(held)}",
            )
    return None


@about(every)
def tenant_isolation(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """No aggregate of the host is set apart for other projects."""
    owners = {project for aggregate in host.aggregates for project in tenants_of(aggregate)}
    if not owners or spec.project_id in owners:
        return None
    return Reason(
        refused_by="AggregateMultiTenancyIsolation", sentence="are set apart for other projects"
    )


@about(every)
def type_affinity(spec: RequestSpec, host: HostState, _moment: Moment) -> Reason | None:
    """The host's aggregates name no flavors, or this one among them."""
    names = values_of(host, "instance_type")
    if not names or spec.flavor.name in names:
        return None
    return Reason(
        refused_by="AggregateTypeAffinityFilter",
        sentence="are set apart for other flavors",
        nearest_miss=f"flavor is {spec.flavor.name}, the host's aggregates want {_told(names)}",
    )
