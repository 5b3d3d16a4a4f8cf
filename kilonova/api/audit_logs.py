"""``/os-instance_usage_audit_log``: on which hosts the audit of a period's usage has run.

Hosts here run no audit of whole periods, as usage is read from the servers; so each has still to run it.
"""

from datetime import datetime
from typing import Any

from kilonova.api.compute_services import fleet_of
from kilonova.api.routing import Answer, Asked, Route
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid

_RULE = "os_compute_api:os-instance-usage-audit-log"
_MOMENTS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f")


def index(asked: Asked) -> Answer:
    """Answer how the audit of the last month stands."""
    return Answer({"instance_usage_audit_logs": _log(asked, utcnow())})


def show(asked: Asked, before: str) -> Answer:
    """Answer how that of the last month before a moment stands.

    Raises:
        Invalid: ``before`` is no moment such as 2026-11-21 12:00:00.
    """
    for form in _MOMENTS:
        try:
            moment = datetime.strptime(before, form)
        except ValueError:
            continue
        return Answer({"instance_usage_audit_log": _log(asked, moment)})
    raise Invalid(f"Invalid timestamp for date {before}")


def last_month(before: datetime) -> tuple[datetime, datetime]:
    """Return the begin and the end of the last whole month before a moment."""
    end = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = (
        end.replace(year=end.year - 1, month=12)
        if end.month == 1
        else end.replace(month=end.month - 1)
    )
    return begin, end


def _log(asked: Asked, before: datetime) -> dict[str, Any]:
    services, _ = fleet_of(asked).services()
    hosts = sorted({service.host for service in services if service.topic == "compute"})
    begin, end = last_month(before)
    return {
        "period_beginning": str(begin),
        "period_ending": str(end),
        "num_hosts": len(hosts),
        "num_hosts_done": 0,
        "num_hosts_running": 0,
        "num_hosts_not_run": len(hosts),
        "hosts_not_run": hosts,
        "total_instances": 0,
        "total_errors": 0,
        "overall_status": f"0 of {len(hosts)} hosts done. 0 errors."
        if hosts
        else "ALL hosts done. 0 errors.",
        "log": {},
    }


ROUTES = (
    Route("GET", "/os-instance_usage_audit_log", f"{_RULE}:list", index),
    Route("GET", "/os-instance_usage_audit_log/{before}", f"{_RULE}:show", show),
)
