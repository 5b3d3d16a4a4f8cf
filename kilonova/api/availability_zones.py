"""Availability zones: ``/os-availability-zone``."""

from kilonova.api.compute_services import fleet_of, seen
from kilonova.api.routing import Answer, Asked, Route
from kilonova.api.views import hosts as views
from kilonova.db import aggregates

_RULE = "os_compute_api:os-availability-zone"


def list_brief(asked: Asked) -> Answer:
    """Answer the zones, and whether each is available."""
    return _list(asked, detail=False)


def list_detailed(asked: Asked) -> Answer:
    """Answer the zones with their hosts and services."""
    return _list(asked, detail=True)


def _list(asked: Asked, *, detail: bool) -> Answer:
    services, _silent = fleet_of(asked).services()
    zones = aggregates.zones_of_hosts(asked.services.api_db)
    states = (seen(asked, service, zones) for service in services)
    return Answer(views.zones(states, detail=detail))


ROUTES = (
    Route("GET", "/os-availability-zone", f"{_RULE}:list", list_brief),
    Route("GET", "/os-availability-zone/detail", f"{_RULE}:detail", list_detailed),
)
