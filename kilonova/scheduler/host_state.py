"""What the scheduler makes of a compute node's report, its service and its aggregates. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kilonova.core.aggregate import HostAggregate
from kilonova.core.ids import CellUuid, ProviderUuid
from kilonova.core.scheduling import Figures, HostState
from kilonova.db.host_changes import SeenNode, Unusual
from kilonova.scheduler.multipliers import multipliers_of

LIVES = datetime.max
"""When a host was heard of last that shows signs of life: each of them is not followed."""

_FIGURES = Figures.__struct_fields__


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is in. Its cell may take no new servers, or not answer: be ``disabled``, or ``lost``."""

    cell_uuid: CellUuid
    default_zone: str
    aggregates: Sequence[HostAggregate] = ()
    disabled: bool = False
    lost: bool = False


def host_state(
    provider: ProviderUuid, node: SeenNode, unusual: Unusual | None, around: Surroundings
) -> HostState:
    """Return a host's state. Without anything unusual it is enabled and lives."""
    report = node.report
    zones = (one.zone for one in around.aggregates if one.zone is not None)
    version = str(report.hypervisor_version)
    return HostState(
        host=node.host,
        node=report.node,
        cell_uuid=around.cell_uuid,
        provider_uuid=provider,
        enabled=not around.disabled and (unusual is None or unusual.enabled),
        forced_down=unusual is not None and unusual.forced_down,
        unreachable=around.lost,
        disabled_reason=_why_disabled(unusual, around),
        last_seen=unusual.last_seen if unusual else LIVES,
        availability_zone=next(zones, around.default_zone),
        capabilities={"hypervisor_version": version} | report.capabilities,
        supported=report.supported,
        aggregates=tuple(around.aggregates),
        host_ip=report.host_ip,
        hypervisor_version=report.hypervisor_version,
        figures=Figures(**{name: getattr(report, name) for name in _FIGURES}),
        servers=report.servers,
        busy=report.busy,
        failed_builds=report.failed_builds,
        metrics=report.metrics,
        image_properties=report.image_properties,
        pci=report.pci,
        numa=report.numa,
        multipliers=multipliers_of(around.aggregates),
    )


def _why_disabled(unusual: Unusual | None, around: Surroundings) -> str | None:
    if around.disabled:
        return "its cell is disabled"
    return unusual.disabled_reason if unusual else None
