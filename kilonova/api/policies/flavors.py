"""Rules of flavors, their extra specs and who may use the private ones."""

from kilonova.api.policies.base import ADMIN, ANYBODY, READER, Rule

_MANAGE = "os_compute_api:os-flavor-manage"
_ACCESS = "os_compute_api:os-flavor-access"
_SPECS = "os_compute_api:os-flavor-extra-specs"
_ONE = "/flavors/{flavor_id}"
_ALL_SPECS = _ONE + "/os-extra_specs"
_ONE_SPEC = _ALL_SPECS + "/{key}"

RULES = (
    Rule(
        "os_compute_api:flavors",
        ANYBODY,
        "List and show flavors.",
        (("GET", "/flavors"), ("GET", "/flavors/detail"), ("GET", _ONE)),
    ),
    Rule(f"{_MANAGE}:create", ADMIN, "Create a flavor.", (("POST", "/flavors"),)),
    Rule(f"{_MANAGE}:update", ADMIN, "Describe a flavor.", (("PUT", _ONE),)),
    Rule(f"{_MANAGE}:delete", ADMIN, "Delete a flavor.", (("DELETE", _ONE),)),
    Rule(_ACCESS, ADMIN, "List who may use a flavor.", (("GET", _ONE + "/os-flavor-access"),)),
    Rule(
        f"{_ACCESS}:add_tenant_access",
        ADMIN,
        "Let a project use a flavor.",
        (("POST", _ONE + "/action"),),
    ),
    Rule(
        f"{_ACCESS}:remove_tenant_access",
        ADMIN,
        "Take a flavor from a project.",
        (("POST", _ONE + "/action"),),
    ),
    Rule(
        f"{_SPECS}:index",
        READER,
        "List extra specs, and see them in flavors.",
        (("GET", _ALL_SPECS), ("GET", _ONE), ("GET", "/flavors/detail")),
    ),
    Rule(f"{_SPECS}:show", READER, "Show an extra spec.", (("GET", _ONE_SPEC),)),
    Rule(f"{_SPECS}:create", ADMIN, "Add extra specs.", (("POST", _ALL_SPECS),)),
    Rule(f"{_SPECS}:update", ADMIN, "Set an extra spec.", (("PUT", _ONE_SPEC),)),
    Rule(f"{_SPECS}:delete", ADMIN, "Remove an extra spec.", (("DELETE", _ONE_SPEC),)),
)
