"""Flavors: ``/flavors``."""

import uuid
from typing import Any

from kilonova.api import notices, parameters
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import BOOLEAN, NUMBER, TEXT, closed, values
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import flavors as views
from kilonova.core.errors import Invalid
from kilonova.core.flavor import Flavor
from kilonova.core.ids import FlavorId, ProjectId
from kilonova.core.name_pattern import NamePattern
from kilonova.db import flavors
from kilonova.db.flavors import FlavorQuery, SortKey
from kilonova.rpc.notifications.flavors import of_flavor
from kilonova.rpc.notifications.notification import Payload

_MANAGE = "os_compute_api:os-flavor-manage"
_SEE_EXTRA_SPECS = "os_compute_api:os-flavor-extra-specs:index"

_GREATEST_FACTOR = 3.40282e38
_DESCRIPTION = {
    "type": ["string", "null"],
    "maxLength": 65535,
    "pattern": parameters.PRINTABLE,
    "description": "printable characters",
}
_FIELDS = {
    "name": parameters.NAME,
    "id": {
        "type": ["string", "number", "null"],
        "minLength": 1,
        "maxLength": 255,
        "pattern": r"^(?! )[a-zA-Z0-9. _-]+(?<! )\Z",
        "description": "letters, digits, spaces, dots, hyphens and underscores, no space at the edges",
    },
    "ram": NUMBER,
    "vcpus": NUMBER,
    "disk": NUMBER,
    "swap": NUMBER,
    "OS-FLV-EXT-DATA:ephemeral": NUMBER,
    "rxtx_factor": {
        "type": ["number", "string"],
        "pattern": r"^[0-9]+(\.[0-9]+)?\Z",
        "description": "a decimal number",
    },
    "os-flavor-access:is_public": BOOLEAN,
}

_LATE_FIELDS = {key: field for key, field in _FIELDS.items() if key != "rxtx_factor"}


def _create_schema(fields: parameters.Schema) -> parameters.Schema:
    return closed({"flavor": closed(fields, "name", "ram", "vcpus", "disk")}, "flavor")


_CREATE = Schemas(
    {
        ALWAYS: _create_schema(_FIELDS),
        Since.FLAVOR_DESCRIPTION: _create_schema(_FIELDS | {"description": _DESCRIPTION}),
        Since.FLAVOR_NAMES: _create_schema(_LATE_FIELDS | {"description": _DESCRIPTION}),
    }
)
_UPDATE = Schemas(
    {
        Since.FLAVOR_DESCRIPTION: closed(
            {"flavor": closed({"description": _DESCRIPTION}, "description")}, "flavor"
        )
    }
)

_SORT_KEYS: dict[str, SortKey] = {
    "flavorid": "flavor_id",
    "id": "id",
    "name": "name",
    "vcpus": "vcpus",
    "memory_mb": "memory_mb",
    "root_gb": "root_gb",
    "ephemeral_gb": "ephemeral_gb",
    "swap": "swap_mb",
    "rxtx_factor": "rxtx_factor",
    "is_public": "is_public",
    "disabled": "disabled",
    "description": "description",
    # These are the same for every flavor, or follow the order of creation.
    "created_at": "id",
    "updated_at": "id",
    "vcpu_weight": "id",
}
_LISTED_BY = parameters.PAGE | {
    "is_public": values(TEXT),
    "minRam": values(TEXT),
    "minDisk": values(TEXT),
    "sort_key": values({"enum": list(_SORT_KEYS)}),
    "sort_dir": values({"enum": ["asc", "desc"]}),
}
_LATE_SORT_KEYS = [key for key in _SORT_KEYS if key != "rxtx_factor"]
_LIST_QUERY = parameters.queries(
    {
        ALWAYS: _LISTED_BY,
        Since.FLAVOR_NAMES: _LISTED_BY
        | {"name": values(TEXT), "sort_key": values({"enum": _LATE_SORT_KEYS})},
    },
    strict=Since.STRICT_LISTS,
)


def visible_to(asked: Asked) -> ProjectId | None:
    """Return whose private flavors the asker sees: None means everybody's."""
    return None if asked.is_admin else asked.context.project_id


def _links(asked: Asked, flavor: Flavor) -> list[dict[str, str]]:
    return asked.links(f"/flavors/{flavor.flavor_id}")


def _full(asked: Asked, flavor: Flavor) -> dict[str, Any]:
    shown = asked.version in Since.FLAVOR_EXTRA_SPECS and asked.allows(_SEE_EXTRA_SPECS)
    return views.full(flavor, asked.version, _links(asked, flavor), with_extra_specs=shown)


def list_flavors(asked: Asked) -> Answer:
    """Answer a page of flavors without details."""
    found = _listed(asked)
    shown = [views.brief(flavor, asked.version, _links(asked, flavor)) for flavor in found]
    return _page(asked, "/flavors", found, shown)


def list_detailed(asked: Asked) -> Answer:
    """Answer a page of whole flavors."""
    found = _listed(asked)
    return _page(asked, "/flavors/detail", found, [_full(asked, flavor) for flavor in found])


def _page(
    asked: Asked, path: str, found: tuple[Flavor, ...], shown: list[dict[str, Any]]
) -> Answer:
    body: dict[str, Any] = {"flavors": shown}
    if links := next_links(asked, path, page(asked)[0], [flavor.flavor_id for flavor in found]):
        body["flavors_links"] = links
    return Answer(body)


def _listed(asked: Asked) -> tuple[Flavor, ...]:
    limit, marker = page(asked)
    admin, name = asked.is_admin, asked.one("name")
    # Only administrators may ask for others than the public ones and those of their project.
    public = _is_public(asked.one("is_public")) if admin else True
    wanted = FlavorQuery(
        project=asked.context.project_id if public else None,
        is_public=None if public else public,
        disabled=None if admin else False,
        min_ram=_least(asked, "minRam"),
        min_disk=_least(asked, "minDisk"),
        name=NamePattern(name) if name and asked.version in Since.FLAVOR_NAMES else None,
        sort_key=_SORT_KEYS[asked.one("sort_key") or "flavorid"],
        descending=asked.one("sort_dir") == "desc",
        marker=None if marker is None else FlavorId(marker),
        limit=limit,
    )
    return flavors.list_flavors(asked.services.api_db, wanted)


def _is_public(text: str | None) -> bool | None:
    if text is None:
        return True
    if text.lower() == "none":
        return None
    if text.lower() in {"1", "t", "true", "on", "y", "yes"}:
        return True
    if text.lower() in {"0", "f", "false", "off", "n", "no"}:
        return False
    raise Invalid(f"Invalid is_public filter [{text}]")


def _least(asked: Asked, name: str) -> int | None:
    text = asked.one(name)
    if text is None:
        return None
    try:
        return max(-1, min(int(text), parameters.MOST))
    except ValueError as error:
        raise Invalid(f"Invalid {name} filter [{text}]") from error


def show(asked: Asked, flavor_id: str) -> Answer:
    """Answer one flavor."""
    found = flavors.get(asked.services.api_db, flavor_id, visible_to(asked))
    return Answer({"flavor": _full(asked, found)})


def create(asked: Asked) -> Answer:
    """Make a flavor; without an id it gets a UUID."""
    wanted = asked.body["flavor"]
    given = wanted.get("id")
    made = Flavor(
        flavor_id=FlavorId(str(uuid.uuid4()) if given is None else str(given)),
        name=wanted["name"],
        memory_mb=parameters.whole(wanted["ram"], "ram", low=1),
        vcpus=parameters.whole(wanted["vcpus"], "vcpus", low=1),
        root_gb=parameters.whole(wanted["disk"], "disk"),
        ephemeral_gb=parameters.whole(
            wanted.get("OS-FLV-EXT-DATA:ephemeral", 0), "OS-FLV-EXT-DATA:ephemeral"
        ),
        swap_mb=parameters.whole(wanted.get("swap", 0), "swap"),
        rxtx_factor=_factor(wanted.get("rxtx_factor", 1.0)),
        is_public=parameters.is_true(wanted.get("os-flavor-access:is_public", True)),
        description=wanted.get("description"),
    )
    flavors.create(asked.services.api_db, made)
    notices.tell(asked, "flavor.create", lambda: of_flavor(made))
    return Answer({"flavor": _full(asked, made)})


def _factor(value: str | float) -> float:
    factor = float(value)
    if not 0 < factor <= _GREATEST_FACTOR:
        raise Invalid(
            f"Invalid input for field/attribute rxtx_factor. Value: {value}. "
            f"It must be over 0 and at most {_GREATEST_FACTOR}"
        )
    return factor


def update(asked: Asked, flavor_id: str) -> Answer:
    """Set a flavor's description."""
    description = asked.body["flavor"]["description"]
    changed = flavors.describe(asked.services.api_db, flavor_id, description)
    tell_update(asked, flavor_id)
    return Answer({"flavor": _full(asked, changed)})


def tell_update(asked: Asked, flavor_id: str) -> None:
    """Notify of a flavor that is different now, or that others may use."""

    def payload() -> Payload:
        api_db = asked.services.api_db
        changed = flavors.get(api_db, flavor_id, None)
        return of_flavor(changed, flavors.projects_of(api_db, changed.flavor_id))

    notices.tell(asked, "flavor.update", payload)


def delete(asked: Asked, flavor_id: str) -> Answer:
    """Remove a flavor."""
    api_db = asked.services.api_db
    gone = notices.told_gone(
        asked, "flavor.delete", lambda: of_flavor(flavors.get(api_db, flavor_id, None))
    )
    with gone:
        flavors.delete(api_db, flavor_id)
    return Answer(status=202)


ROUTES = (
    Route("GET", "/flavors", "os_compute_api:flavors", list_flavors, query=_LIST_QUERY),
    Route("POST", "/flavors", f"{_MANAGE}:create", create, body=_CREATE),
    Route("GET", "/flavors/detail", "os_compute_api:flavors", list_detailed, query=_LIST_QUERY),
    Route("GET", "/flavors/{flavor_id}", "os_compute_api:flavors", show),
    Route(
        "PUT",
        "/flavors/{flavor_id}",
        f"{_MANAGE}:update",
        update,
        body=_UPDATE,
        when=Since.FLAVOR_DESCRIPTION,
    ),
    Route("DELETE", "/flavors/{flavor_id}", f"{_MANAGE}:delete", delete),
)
