"""Host aggregates: ``/os-aggregates``."""

import logging
from contextlib import ExitStack

from kilonova.api import notices, parameters
from kilonova.api.compute_services import fleet_of
from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import HOST, NAME, PRINTABLE, SHORT, ZONE_NAME, closed
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import aggregates as views
from kilonova.core.aggregate import ZONE, HostAggregate, ZoneConflict, uuids_with
from kilonova.core.clock import utcnow
from kilonova.core.errors import Conflict, Invalid, KilonovaError
from kilonova.core.ids import HostName
from kilonova.db import aggregates
from kilonova.db.aggregates import Change
from kilonova.rpc.notifications import aggregates as payloads
from kilonova.rpc.notifications.notification import Payload

LOG = logging.getLogger(__name__)

_RULE = "os_compute_api:os-aggregates"

_NAMES = {"name": NAME, ZONE: ZONE_NAME}
_NEW_NAMES = {
    "name": SHORT | {"pattern": PRINTABLE, "description": "printable characters"},
    ZONE: ZONE_NAME,
}
_CREATE = Schemas({ALWAYS: closed({"aggregate": closed(_NAMES, "name")}, "aggregate")})
_UPDATE = Schemas({ALWAYS: closed({"aggregate": closed(_NEW_NAMES, minProperties=1)}, "aggregate")})
_ONE_HOST = closed({"host": HOST}, "host")
_ACTION = Schemas(
    {
        ALWAYS: closed(
            {
                "add_host": _ONE_HOST,
                "remove_host": _ONE_HOST,
                "set_metadata": closed(
                    {"metadata": parameters.items("string", "null")}, "metadata"
                ),
            },
            minProperties=1,
            maxProperties=1,
        )
    }
)


def number_of(text: str) -> int:
    """Return the number that a path names.

    Raises:
        Invalid: it is none.
    """
    number = parameters.number_of(text)
    if number is None:
        raise Invalid(f"id must be an integer, not {text}")
    return number


def list_aggregates(asked: Asked) -> Answer:
    """Answer every aggregate."""
    found = aggregates.list_aggregates(asked.services.api_db)
    return Answer({"aggregates": [views.full(one, asked.version) for one in found]})


def show(asked: Asked, aggregate_id: str) -> Answer:
    """Answer one aggregate."""
    found = aggregates.get(asked.services.api_db, number_of(aggregate_id))
    return _answer(asked, found)


def _answer(asked: Asked, aggregate: HostAggregate) -> Answer:
    return Answer({"aggregate": views.full(aggregate, asked.version)})


def create(asked: Asked) -> Answer:
    """Make an aggregate, and a zone if one is named."""
    wanted = asked.body["aggregate"]
    name, zone = wanted["name"], wanted.get(ZONE)
    with notices.told(
        asked,
        "aggregate.create",
        lambda: payloads.wanted(name, zone),
        lambda: payloads.of_aggregate(made),
    ):
        made = aggregates.create(asked.services.api_db, name, zone, utcnow())
    return Answer({"aggregate": views.created(made, asked.version)})


def update(asked: Asked, aggregate_id: str) -> Answer:
    """Rename an aggregate, or make it another zone."""
    wanted = asked.body["aggregate"]
    name = wanted["name"].strip() if "name" in wanted else None
    if name == "":
        raise Invalid(
            f"Invalid input for field/attribute name. Value: {wanted['name']}. It is only spaces"
        )
    zone = {ZONE: wanted[ZONE]} if ZONE in wanted else {}
    return _rezone(asked, aggregate_id, Change(name=name, metadata=zone))


def _rezone(asked: Asked, aggregate_id: str, wanted: Change) -> Answer:
    try:
        return _answer(asked, _change(asked, aggregate_id, wanted))
    except ZoneConflict as error:
        # Clients know this refusal as a bad request here, and as a conflict where hosts are moved.
        raise Invalid(error.message) from error


def _change(asked: Asked, aggregate_id: str, wanted: Change) -> HostAggregate:
    number, api_db = number_of(aggregate_id), asked.services.api_db
    before = aggregates.get(api_db, number)
    moved: set[HostName] = set()
    if ZONE in wanted.metadata and wanted.metadata[ZONE] != before.zone:
        moved |= set(before.hosts)
    if before.zone is not None:
        moved |= {host for host in (wanted.add_host, wanted.remove_host) if host is not None}
    fleet = fleet_of(asked)
    with_servers = fleet.with_servers(moved)
    if wanted.add_host is not None:
        # A host that is new may not be mapped yet.
        fleet.knows(wanted.add_host)
    with ExitStack() as stack:
        for event_type in _event_types(wanted):
            told = notices.told(
                asked,
                event_type,
                lambda: payloads.of_aggregate(before),
                lambda: payloads.of_aggregate(changed),
            )
            stack.enter_context(told)
        changed = aggregates.change(api_db, number, wanted, utcnow(), with_servers)
    return changed


def _event_types(wanted: Change) -> list[str]:
    """Return what a change is called in notifications."""
    if wanted.add_host is not None:
        return ["aggregate.add_host"]
    if wanted.remove_host is not None:
        return ["aggregate.remove_host"]
    named = ["aggregate.update_prop"] if wanted.name is not None else []
    return [*named, "aggregate.update_metadata"] if wanted.metadata else named


def delete(asked: Asked, aggregate_id: str) -> Answer:
    """Remove an aggregate that has no hosts."""
    api_db, number = asked.services.api_db, number_of(aggregate_id)

    def gone() -> Payload:
        return payloads.of_aggregate(aggregates.get(api_db, number))

    try:
        with notices.told(asked, "aggregate.delete", gone):
            aggregates.delete(api_db, number)
    except Conflict as error:
        raise Invalid(error.message) from error
    return Answer()


def act(asked: Asked, aggregate_id: str) -> Answer:
    """Add or remove a host, or change the metadata."""
    action, wanted = next(iter(asked.body.items()))
    asked.authorize(f"{_RULE}:{action}")
    if action == "set_metadata":
        metadata = wanted["metadata"]
        _check_zone(metadata.get(ZONE))
        return _rezone(asked, aggregate_id, Change(metadata=metadata))
    host = HostName(wanted["host"])
    change = Change(add_host=host) if action == "add_host" else Change(remove_host=host)
    changed = _change(asked, aggregate_id, change)
    _mirror(asked, host)
    return _answer(asked, changed)


def _mirror(asked: Asked, host: HostName) -> None:
    """Tell Placement which aggregates a host is in. If it cannot be told now, the converger does."""
    services = asked.services
    try:
        groups = aggregates.list_aggregates(services.api_db)
        wanted, ours = uuids_with(groups, host), [group.uuid for group in groups]
        for provider in fleet_of(asked).providers_at(host):
            services.placement.join(provider, wanted, among=ours)
    except KilonovaError as error:
        LOG.warning("The aggregates of %s are not in Placement yet: %s", host, error)


def _check_zone(zone: str | None) -> None:
    if zone is not None and (not zone.strip() or zone != zone.strip() or ":" in zone):
        raise Invalid(
            f"Invalid input for field/attribute {ZONE}. Value: {zone}. "
            "It must not be empty, begin or end with a space, or hold a colon."
        )


_ONE = "/os-aggregates/{aggregate_id}"

ROUTES = (
    Route("GET", "/os-aggregates", f"{_RULE}:index", list_aggregates),
    Route("POST", "/os-aggregates", f"{_RULE}:create", create, body=_CREATE),
    Route("GET", _ONE, f"{_RULE}:show", show),
    Route("PUT", _ONE, f"{_RULE}:update", update, body=_UPDATE),
    Route("DELETE", _ONE, f"{_RULE}:delete", delete),
    # Each action has a rule of its own.
    Route("POST", _ONE + "/action", None, act, body=_ACTION),
)
