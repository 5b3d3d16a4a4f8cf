"""Services: ``/os-services``. Only compute services are changed; the others run where they run."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from kilonova.api import notices, parameters
from kilonova.api.fleet import Fleet
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import BOOLEAN, HOST, SHORT, TEXT, closed, values
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import hosts as views
from kilonova.core.clock import utcnow
from kilonova.core.errors import Invalid, KilonovaError, NotFound
from kilonova.core.host import Service
from kilonova.core.ids import HostName
from kilonova.db import aggregates
from kilonova.db.hosts import COMPUTE
from kilonova.rpc.notifications.services import by_service, of_service

LOG = logging.getLogger(__name__)

_RULE = "os_compute_api:os-services"

_BY_HOST = {"host": HOST, "binary": SHORT, "disabled_reason": SHORT}
_ACT = Schemas(
    {
        ALWAYS: closed(_BY_HOST, "host", "binary"),
        Since.FORCED_DOWN: closed(_BY_HOST | {"forced_down": BOOLEAN}, "host", "binary"),
    }
)
_UPDATE = Schemas(
    {
        Since.UUIDS_OF_HOSTS: closed(
            {
                "status": {"enum": ["enabled", "disabled"]},
                "disabled_reason": SHORT,
                "forced_down": BOOLEAN,
            }
        )
    }
)
_LIST_QUERY = parameters.queries(
    {ALWAYS: {"host": values(TEXT), "binary": values(TEXT)}}, strict=Since.STRICT_LISTS
)


def fleet_of(asked: Asked) -> Fleet:
    """Return the hosts of all cells."""
    return Fleet(asked.services.api_db, asked.services.cells)


def is_up(asked: Asked, service: Service) -> bool:
    """Whether a service gave a sign of life lately."""
    return service.is_up(utcnow(), asked.services.conf.service_down_time)


def zone_of(asked: Asked, service: Service, zones: dict[HostName, str]) -> str:
    """Return the zone that a service is in; ``zones`` are those of hosts that are in one."""
    if service.binary != COMPUTE:
        return views.INTERNAL_ZONE
    default: str = asked.services.conf.default_availability_zone
    return zones.get(service.host, default)


def seen(asked: Asked, service: Service, zones: dict[HostName, str]) -> views.SeenService:
    """Return a service with its zone and whether it is up."""
    zone = zone_of(asked, service, zones)
    return views.SeenService(service=service, zone=zone, up=is_up(asked, service))


def list_services(asked: Asked) -> Answer:
    """Answer the services; from 2.69 on, of cells that do not answer, what is known of them."""
    binary, host = asked.one("binary") or None, asked.one("host") or None
    services, silent = fleet_of(asked).services(binary=binary, host=host)
    zones = aggregates.zones_of_hosts(asked.services.api_db)
    shown = [_view(asked, service, zones) for service in services]
    if asked.version in Since.DOWN_CELLS:
        shown += [views.unknown_service(COMPUTE, name) for name in silent]
    return Answer({"services": shown})


def _view(asked: Asked, service: Service, zones: dict[HostName, str]) -> dict[str, Any]:
    return views.service(seen(asked, service, zones), asked.version)


def act(asked: Asked, service_id: str) -> Answer:
    """Enable, disable or force down the service of a host and binary (up to 2.52)."""
    body = asked.body
    reason = body.get("disabled_reason")
    shown: dict[str, Any] = {"host": body["host"], "binary": body["binary"]}
    if service_id == "enable":
        change: dict[str, Any] = {"enabled": True, "disabled_reason": None}
        shown["status"] = "enabled"
    elif service_id in {"disable", "disable-log-reason"}:
        if service_id == "disable":
            reason = None
        elif reason is None:
            raise Invalid("Missing disabled_reason field")
        change = {"enabled": False, "disabled_reason": reason}
        shown |= {"status": "disabled"} | ({"disabled_reason": reason} if reason else {})
    elif service_id == "force-down" and asked.version in Since.FORCED_DOWN:
        if "forced_down" not in body:
            raise Invalid("Missing forced_down field")
        change = {"forced_down": parameters.is_true(body["forced_down"])}
        shown |= change
    else:
        raise NotFound("Unknown action")
    _only_compute(body["binary"])
    change_compute(asked, body["host"], change)
    return Answer({"service": shown})


def change_compute(asked: Asked, host: str, change: Mapping[str, Any]) -> Service:
    """Set fields of a host's compute service, and tell who is to know.

    Raises:
        NotFound: there is no such host.
    """
    changed = fleet_of(asked).change_compute(host, change)
    if "enabled" in change:
        _mirror(asked, changed)
    _tell(asked, "update", changed)
    return changed


def _mirror(asked: Asked, service: Service) -> None:
    """Let Placement offer a host to new servers or not, before this is answered.

    If it cannot be told now, the converger does, and schedulers see it when they next look at the hosts.
    """
    try:
        for provider in fleet_of(asked).providers_at(service.host):
            asked.services.placement.set_disabled(provider, not service.enabled)
    except KilonovaError as error:
        LOG.warning("Placement does not know yet what %s is: %s", service.host, error)


def _tell(asked: Asked, what: str, service: Service) -> None:
    """Notify of what was done to a service, in its own name."""
    notices.tell(asked, f"service.{what}", lambda: of_service(service), by_service(service))


def _only_compute(binary: str) -> None:
    if binary != COMPUTE:
        raise Invalid(
            f"Updating a {binary} service is not supported. Only {COMPUTE} services can be updated."
        )


def update(asked: Asked, service_id: str) -> Answer:
    """Enable, disable or force down a service by its UUID (from 2.53 on)."""
    _check_uuid(service_id)
    body, change = asked.body, {}
    if body.get("status") == "enabled":
        if "disabled_reason" in body:
            raise Invalid("Specifying 'disabled_reason' with status 'enabled' is invalid.")
        change = {"enabled": True, "disabled_reason": None}
    elif body.get("status") == "disabled":
        change = {"enabled": False, "disabled_reason": body.get("disabled_reason")}
    if "forced_down" in body:
        change["forced_down"] = parameters.is_true(body["forced_down"])
    if not change:
        raise Invalid(
            "No updates were requested. Fields 'status' or 'forced_down' should be given."
        )
    service = fleet_of(asked).service(service_id)
    _only_compute(service.binary)
    changed = change_compute(asked, service.host, change)
    zones = aggregates.zones_of_hosts(asked.services.api_db)
    return Answer({"service": _view(asked, changed, zones)})


def _check_uuid(text: str) -> None:
    try:
        UUID(text)
    except ValueError as error:
        raise Invalid(f"Invalid uuid {text}") from error


def delete(asked: Asked, service_id: str) -> Answer:
    """Remove a service whose host has no servers."""
    if asked.version in Since.UUIDS_OF_HOSTS:
        _check_uuid(service_id)
    elif parameters.number_of(service_id) is None:
        raise Invalid(f"id must be an integer, not {service_id}")
    _tell(asked, "delete", fleet_of(asked).delete_service(service_id))
    return Answer(status=204)


_ONE = "/os-services/{service_id}"

ROUTES = (
    Route("GET", "/os-services", f"{_RULE}:list", list_services, query=_LIST_QUERY),
    Route("PUT", _ONE, f"{_RULE}:update", act, body=_ACT, when=Since.UUIDS_OF_HOSTS.before),
    Route("PUT", _ONE, f"{_RULE}:update", update, body=_UPDATE, when=Since.UUIDS_OF_HOSTS),
    Route("DELETE", _ONE, f"{_RULE}:delete", delete),
)
