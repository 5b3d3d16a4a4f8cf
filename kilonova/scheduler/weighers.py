"""Weighers: how good is each host that passed. Pure functions.

A weigher takes the request, the hosts that passed and the moment of the decision, and returns one raw score
for each host; the ranking scales every weigher's scores to 0..1 and multiplies them. A score of a host
depends on no other host.
"""

from collections.abc import Callable, Sequence

from kilonova.core.scheduling import RequestSpec
from kilonova.scheduler.filters import Concerns, Moment, every
from kilonova.scheduler.fit import Fit

Weigher = Callable[[RequestSpec, Sequence[Fit], Moment], list[float]]


def about(concerns: Concerns) -> Callable[[Weigher], Weigher]:
    """Say for which requests a weigher can tell hosts apart at all; for others it is not asked."""

    def mark(weigh: Weigher) -> Weigher:
        weigh.concerns = concerns  # type: ignore[attr-defined]
        return weigh

    return mark


def concerns(weigh: Weigher, spec: RequestSpec) -> bool:
    """Whether a weigher can tell hosts apart for this request."""
    return bool(getattr(weigh, "concerns", every)(spec))


def _free(name: str, fits: Sequence[Fit]) -> list[float]:
    return [float(fit.free.get(name, 0)) for fit in fits]


def ram(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Free memory."""
    return _free("MEMORY_MB", fits)


def cpu(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Free VCPUs."""
    return _free("VCPU", fits)


def disk(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Free disk."""
    return _free("DISK_GB", fits)


def io_ops(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Servers that are being built or changed."""
    return [float(fit.host.busy) for fit in fits]


def num_instances(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Servers on the host."""
    return [float(fit.host.servers) for fit in fits]


def build_failure(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Fewer builds that failed there lately score higher."""
    return [-float(fit.host.failed_builds) for fit in fits]


def hypervisor_version(_spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """The hypervisor's version."""
    return [float(fit.host.hypervisor_version) for fit in fits]


def pci(spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Free PCI devices are good for a server that asks for some, and are left alone by the others."""
    sign = 1.0 if "pci_passthrough:alias" in spec.flavor.extra_specs else -1.0
    return [sign * sum(pool.free for pool in fit.host.pci) if fit.host.pci else 0.0 for fit in fits]


def metrics(_spec: RequestSpec, fits: Sequence[Fit], moment: Moment) -> list[float]:
    """What the host reports, each metric by its own weight; one that it does not report counts nothing."""
    weights = moment.metric_weights.items()
    if not weights:
        return [0.0] * len(fits)
    return [sum(fit.host.metrics.get(name, 0.0) * n for name, n in weights) for fit in fits]


@about(lambda spec: spec.image is not None and bool(spec.image.properties))
def image_properties(spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """Servers on the host whose images have the same properties, one for each property."""
    wanted = [
        f"{key}={value}" for key, value in (spec.image.properties if spec.image else {}).items()
    ]
    return [float(sum(fit.host.image_properties.get(one, 0) for one in wanted)) for fit in fits]


@about(lambda spec: spec.group is not None and spec.group.policy == "soft-affinity")
def soft_affinity(_spec: RequestSpec, fits: Sequence[Fit], moment: Moment) -> list[float]:
    """More servers of the group score higher."""
    return [float(moment.members.get(fit.host.host, 0)) for fit in fits]


@about(lambda spec: spec.group is not None and spec.group.policy == "soft-anti-affinity")
def soft_anti_affinity(_spec: RequestSpec, fits: Sequence[Fit], moment: Moment) -> list[float]:
    """Fewer servers of the group score higher."""
    return [-float(moment.members.get(fit.host.host, 0)) for fit in fits]


@about(lambda spec: spec.moves_from is not None)
def cross_cell(spec: RequestSpec, fits: Sequence[Fit], _moment: Moment) -> list[float]:
    """The cell in which the server is scores higher than the others."""
    return [1.0 if fit.host.cell_uuid == spec.moves_from else 0.0 for fit in fits]
