"""What projects used, as the API shows it."""

from datetime import datetime
from typing import Any

from kilonova.api.views.moments import precise
from kilonova.core.ids import ProjectId
from kilonova.core.usage import Ran, Total
from kilonova.db.usages import Period


def project(
    name: ProjectId, total: Total, period: Period, now: datetime, *, detail: bool
) -> dict[str, Any]:
    """Return what a project used in a period, with ``detail`` server by server."""
    view: dict[str, Any] = {
        "tenant_id": name,
        "start": precise(period.begin),
        "stop": precise(period.end),
        "total_hours": total.hours,
        "total_vcpus_usage": total.vcpu_hours,
        "total_memory_mb_usage": total.memory_mb_hours,
        "total_local_gb_usage": total.local_gb_hours,
    }
    if detail:
        view["server_usages"] = [_server(server, period, now) for server in total.servers]
    return view


def _server(server: Ran, period: Period, now: datetime) -> dict[str, Any]:
    return {
        "instance_id": server.uuid,
        "name": server.name,
        "tenant_id": server.project_id,
        "flavor": server.flavor,
        "vcpus": server.vcpus,
        "memory_mb": server.memory_mb,
        "local_gb": server.local_gb,
        "state": server.state,
        "started_at": precise(server.started_at),
        "ended_at": precise(server.ended_at),
        "hours": server.hours(period.begin, period.end),
        "uptime": server.uptime(now),
    }
