"""Rules of how servers are, and of what operators let be done in the background."""

from kilonova.api.policies.base import ADMIN, Rule

_VITALS = "/kilonova/v1/vitals"
_TASKS = "/kilonova/v1/tasks"
_TASK = _TASKS + "/{task_id}"

RULES = (
    Rule("kilonova:vitals:list", ADMIN, "List how servers are.", (("GET", _VITALS),)),
    Rule("kilonova:tasks:create", ADMIN, "Let a task be done.", (("POST", _TASKS),)),
    Rule("kilonova:tasks:list", ADMIN, "List tasks.", (("GET", _TASKS),)),
    Rule("kilonova:tasks:show", ADMIN, "Show how far a task is.", (("GET", _TASK),)),
    Rule(
        "kilonova:tasks:result", ADMIN, "Read what came of a task.", (("GET", _TASK + "/result"),)
    ),
    Rule("kilonova:tasks:cancel", ADMIN, "Cancel a task.", (("DELETE", _TASK),)),
)
