"""Rules of how servers are, and of what operators let be done in the background."""

from kilonova.api.policies.base import ADMIN, Rule

_VITALS = "/kilonova/v1/vitals"

RULES = (Rule("kilonova:vitals:list", ADMIN, "List how servers are.", (("GET", _VITALS),)),)
