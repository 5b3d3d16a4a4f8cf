"""Rules of desired servers, which are no part of the Compute API."""

from kilonova.api.policies.base import ADMIN, MEMBER, READER, Rule

_ALL = "/kilonova/v1/desired"
_ONE = _ALL + "/{desired_id}"

RULES = (
    Rule("kilonova:desired:create", MEMBER, "Desire servers.", (("POST", _ALL),)),
    Rule("kilonova:desired:list", READER, "List desired servers.", (("GET", _ALL),)),
    Rule(
        "kilonova:desired:list:all_projects",
        ADMIN,
        "List the desired servers of all projects.",
        (("GET", _ALL),),
    ),
    Rule("kilonova:desired:show", READER, "Show desired servers.", (("GET", _ONE),)),
    Rule("kilonova:desired:update", MEMBER, "Scale or replace them.", (("PUT", _ONE),)),
    Rule("kilonova:desired:delete", MEMBER, "Desire them no more.", (("DELETE", _ONE),)),
)
