"""What belongs to a flavor: its extra specs, and the projects that may use a private one."""

from collections.abc import Mapping

from kilonova.api import extra_specs, parameters
from kilonova.api.flavors import tell_update, visible_to
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import SHORT, closed
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import flavors as views
from kilonova.core.errors import Conflict, Invalid, NotFound
from kilonova.core.flavor import Flavor
from kilonova.core.ids import ProjectId
from kilonova.db import flavors

_SPECS = "os_compute_api:os-flavor-extra-specs"
_ACCESS = "os_compute_api:os-flavor-access"

_VALUES = parameters.items("string", "number")
_CREATE = Schemas({ALWAYS: closed({"extra_specs": _VALUES}, "extra_specs")})
_UPDATE = Schemas({ALWAYS: parameters.items("string", "number", minProperties=1, maxProperties=1)})
_TENANT = closed({"tenant": SHORT}, "tenant")
_ACTION = Schemas(
    {
        ALWAYS: closed(
            {"addTenantAccess": _TENANT, "removeTenantAccess": _TENANT},
            minProperties=1,
            maxProperties=1,
        )
    }
)


def _flavor(asked: Asked, flavor_id: str) -> Flavor:
    return flavors.get(asked.services.api_db, flavor_id, visible_to(asked))


def list_specs(asked: Asked, flavor_id: str) -> Answer:
    """Answer a flavor's extra specs."""
    return Answer({"extra_specs": _flavor(asked, flavor_id).extra_specs})


def show_spec(asked: Asked, flavor_id: str, key: str) -> Answer:
    """Answer one extra spec."""
    specs = _flavor(asked, flavor_id).extra_specs
    if key not in specs:
        raise _no_spec(flavor_id, key)
    return Answer({key: specs[key]})


def _no_spec(flavor_id: str, key: str) -> NotFound:
    return NotFound(f"Flavor {flavor_id} has no extra specs with key {key}.")


def add_specs(asked: Asked, flavor_id: str) -> Answer:
    """Add extra specs, or replace those of the same names."""
    _merge(asked, flavor_id, asked.body["extra_specs"])
    return Answer(asked.body)


def set_spec(asked: Asked, flavor_id: str, key: str) -> Answer:
    """Set the extra spec that both the path and the body name."""
    if key not in asked.body:
        raise Invalid(f"Request body and URI mismatch: the body does not name {key}.")
    _merge(asked, flavor_id, asked.body)
    return Answer(asked.body)


def _merge(asked: Asked, flavor_id: str, given: Mapping[str, str | float]) -> None:
    specs = {name: str(value) for name, value in given.items()}
    for name, value in specs.items():
        if len(value) > 255:
            raise Invalid(
                f"extra_specs value of {name} has {len(value)} characters, more than 255."
            )
    if asked.version in Since.EXTRA_SPECS_CHECKED:
        extra_specs.check(specs)
    _flavor(asked, flavor_id)
    flavors.change_extra_specs(asked.services.api_db, flavor_id, lambda old: {**old, **specs})
    tell_update(asked, flavor_id)


def remove_spec(asked: Asked, flavor_id: str, key: str) -> Answer:
    """Remove an extra spec."""

    def without(specs: Mapping[str, str]) -> dict[str, str]:
        if key not in specs:
            raise _no_spec(flavor_id, key)
        return {name: value for name, value in specs.items() if name != key}

    _flavor(asked, flavor_id)
    flavors.change_extra_specs(asked.services.api_db, flavor_id, without)
    tell_update(asked, flavor_id)
    return Answer()


def list_access(asked: Asked, flavor_id: str) -> Answer:
    """Answer who may use a private flavor."""
    flavor = _flavor(asked, flavor_id)
    if flavor.is_public:
        raise NotFound("Access list not available for public flavors.")
    return _access(asked, flavor)


def _access(asked: Asked, flavor: Flavor) -> Answer:
    projects = flavors.projects_of(asked.services.api_db, flavor.flavor_id)
    return Answer(views.access(flavor.flavor_id, projects))


def act(asked: Asked, flavor_id: str) -> Answer:
    """Give a private flavor to a project, or take it away."""
    adds = "addTenantAccess" in asked.body
    asked.authorize(f"{_ACCESS}:{'add' if adds else 'remove'}_tenant_access")
    flavor = _flavor(asked, flavor_id)
    api_db = asked.services.api_db
    if adds:
        if flavor.is_public and asked.version in Since.ACCESS_TO_PRIVATE_ONLY:
            raise Conflict("Can not add access to a public flavor.")
        flavors.allow(api_db, flavor.flavor_id, ProjectId(asked.body["addTenantAccess"]["tenant"]))
    else:
        project = ProjectId(asked.body["removeTenantAccess"]["tenant"])
        flavors.disallow(api_db, flavor.flavor_id, project)
    tell_update(asked, flavor.flavor_id)
    return _access(asked, flavor)


_ALL = "/flavors/{flavor_id}/os-extra_specs"
_ONE = _ALL + "/{key}"

ROUTES = (
    Route("GET", _ALL, f"{_SPECS}:index", list_specs),
    Route("POST", _ALL, f"{_SPECS}:create", add_specs, body=_CREATE),
    Route("GET", _ONE, f"{_SPECS}:show", show_spec),
    Route("PUT", _ONE, f"{_SPECS}:update", set_spec, body=_UPDATE),
    Route("DELETE", _ONE, f"{_SPECS}:delete", remove_spec),
    Route("GET", "/flavors/{flavor_id}/os-flavor-access", _ACCESS, list_access),
    # Each action has a rule of its own.
    Route("POST", "/flavors/{flavor_id}/action", None, act, body=_ACTION),
)
