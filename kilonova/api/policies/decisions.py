"""Rules of decisions and plans, which are no part of the Compute API."""

from kilonova.api.policies.base import ADMIN, MEMBER, Rule

_DECISIONS = "/kilonova/v1/decisions"
_PLAN = (("POST", "/kilonova/v1/plans"),)

RULES = (
    Rule(
        "kilonova:decisions:list",
        ADMIN,
        "List how the scheduler decided.",
        (("GET", _DECISIONS),),
    ),
    Rule(
        "kilonova:decisions:show",
        ADMIN,
        "Show how the scheduler decided.",
        (("GET", _DECISIONS + "/{decision_id}"),),
    ),
    Rule("kilonova:plans:create", MEMBER, "Ask whether servers would find a host.", _PLAN),
    Rule(
        "kilonova:plans:create:hosts",
        ADMIN,
        "See in a plan which hosts these are, how they scored and what the others lack.",
        _PLAN,
    ),
)
