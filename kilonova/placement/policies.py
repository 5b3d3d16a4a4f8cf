"""Placement's policy rules, under the names and with the defaults that operators' policy files know."""

from collections.abc import Callable
from functools import cache
from time import monotonic

import msgspec
from oslo_config import cfg
from oslo_policy import policy

from kilonova.core.context import RequestContext
from kilonova.core.ids import RequestId

_ANY = RequestId("")

_LEGACY = policy.DeprecatedRule(
    name="rule:admin_api",
    check_str="role:admin",
    deprecated_reason="Services have a role of their own, and projects read what is theirs.",
    deprecated_since="1.0",
)
"""What held for everything; with ``[oslo_policy] enforce_new_defaults = false`` it still does."""

_BASE: tuple[tuple[str, str, str, bool], ...] = (
    ("admin_api", "role:admin", "An administrator.", False),
    ("service_api", "role:service", "Another service.", True),
    ("admin_or_service_api", "role:admin or role:service", "Either; what most rules ask.", True),
    (
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "Who reads what its own project has.",
        True,
    ),
    (
        "admin_or_project_reader_or_service_api",
        "role:admin or rule:project_reader_api or role:service",
        "Any of them.",
        True,
    ),
)

_MOST = "rule:admin_or_service_api"
_READER = "rule:admin_or_project_reader_or_service_api"
_SERVICE = "rule:service_api"

_PROVIDER = "/resource_providers/{uuid}"
_INVENTORY = f"{_PROVIDER}/inventories/{{resource_class}}"

_RULES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("resource_classes:list", _MOST, "List resource classes.", ("GET /resource_classes",)),
    ("resource_classes:create", _MOST, "Make a resource class.", ("POST /resource_classes",)),
    ("resource_classes:show", _MOST, "Show a resource class.", ("GET /resource_classes/{name}",)),
    (
        "resource_classes:update",
        _MOST,
        "Rename a resource class, or make sure that it is there.",
        ("PUT /resource_classes/{name}",),
    ),
    (
        "resource_classes:delete",
        _MOST,
        "Delete a resource class.",
        ("DELETE /resource_classes/{name}",),
    ),
    ("traits:list", _MOST, "List traits.", ("GET /traits",)),
    ("traits:show", _MOST, "Tell whether a trait is there.", ("GET /traits/{name}",)),
    ("traits:update", _MOST, "Make sure that a trait is there.", ("PUT /traits/{name}",)),
    ("traits:delete", _MOST, "Delete a trait.", ("DELETE /traits/{name}",)),
    ("resource_providers:list", _MOST, "List providers.", ("GET /resource_providers",)),
    ("resource_providers:create", _MOST, "Make a provider.", ("POST /resource_providers",)),
    ("resource_providers:show", _MOST, "Show a provider.", (f"GET {_PROVIDER}",)),
    ("resource_providers:update", _MOST, "Rename or move one.", (f"PUT {_PROVIDER}",)),
    ("resource_providers:delete", _MOST, "Delete a provider.", (f"DELETE {_PROVIDER}",)),
    (
        "resource_providers:inventories:list",
        _MOST,
        "List what a provider has.",
        (f"GET {_PROVIDER}/inventories",),
    ),
    (
        "resource_providers:inventories:create",
        _MOST,
        "Add the inventory of one class to a provider.",
        (f"POST {_PROVIDER}/inventories",),
    ),
    ("resource_providers:inventories:show", _MOST, "Show one inventory.", (f"GET {_INVENTORY}",)),
    (
        "resource_providers:inventories:update",
        _MOST,
        "Replace what a provider has, of one class or of all.",
        (f"PUT {_PROVIDER}/inventories", f"PUT {_INVENTORY}"),
    ),
    (
        "resource_providers:inventories:delete",
        _MOST,
        "Delete what a provider has, of one class or of all.",
        (f"DELETE {_PROVIDER}/inventories", f"DELETE {_INVENTORY}"),
    ),
    (
        "resource_providers:traits:list",
        _MOST,
        "List a provider's traits.",
        (f"GET {_PROVIDER}/traits",),
    ),
    (
        "resource_providers:traits:update",
        _MOST,
        "Replace a provider's traits.",
        (f"PUT {_PROVIDER}/traits",),
    ),
    (
        "resource_providers:traits:delete",
        _MOST,
        "Take all traits from a provider.",
        (f"DELETE {_PROVIDER}/traits",),
    ),
    (
        "resource_providers:aggregates:list",
        _MOST,
        "List a provider's aggregates.",
        (f"GET {_PROVIDER}/aggregates",),
    ),
    (
        "resource_providers:aggregates:update",
        _MOST,
        "Replace a provider's aggregates.",
        (f"PUT {_PROVIDER}/aggregates",),
    ),
    (
        "resource_providers:usages",
        _MOST,
        "Show what is used of a provider.",
        (f"GET {_PROVIDER}/usages",),
    ),
    (
        "resource_providers:allocations:list",
        _MOST,
        "List who uses a provider.",
        (f"GET {_PROVIDER}/allocations",),
    ),
    ("usages", _READER, "Show what a project uses.", ("GET /usages",)),
    ("allocations:manage", _MOST, "Replace what many consumers hold.", ("POST /allocations",)),
    (
        "allocations:list",
        _MOST,
        "Show what a consumer holds.",
        ("GET /allocations/{consumer_uuid}",),
    ),
    (
        "allocations:update",
        _MOST,
        "Replace what a consumer holds.",
        ("PUT /allocations/{consumer_uuid}",),
    ),
    (
        "allocations:delete",
        _MOST,
        "Free what a consumer holds.",
        ("DELETE /allocations/{consumer_uuid}",),
    ),
    (
        "allocation_candidates:list",
        _MOST,
        "Ask who has room.",
        ("GET /allocation_candidates",),
    ),
    (
        "reshaper:reshape",
        _SERVICE,
        "Move inventories between providers, with what is allocated of them.",
        ("POST /reshaper",),
    ),
)

_OWN = policy.DocumentedRuleDefault(
    name="kilonova:placement:claims",
    check_str=_MOST,
    description="Claim for many consumers, each by itself, and free others.",
    operations=[{"method": "POST", "path": "/kilonova/v1/claims"}],
    scope_types=["project"],
)


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule, for enforcement and for the sample file."""
    base = [
        policy.RuleDefault(
            name,
            check,
            description=description,
            scope_types=["project"],
            deprecated_rule=_LEGACY if legacy else None,
        )
        for name, check, description, legacy in _BASE
    ]
    rules = [
        policy.DocumentedRuleDefault(
            name=f"placement:{name}",
            check_str=check,
            description=description,
            operations=[dict(zip(("method", "path"), o.split(), strict=True)) for o in operations],
            scope_types=["project"],
        )
        for name, check, description, operations in _RULES
    ]
    return [*base, *rules, _OWN]


def enforcer_for(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return an enforcer of these rules under a configuration."""
    enforcer = policy.Enforcer(conf)
    # Every base rule has a deprecated form; a line for each of them in the log says nothing new.
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(list_rules())
    return enforcer


_REMEMBERED = 1.0
"""Seconds for which an answer holds. A changed policy file takes so long to be heard of."""
_MOST_ANSWERS = 10_000


class Policy:
    """Who may do what; remembers its answers for a moment, since the same few services ask all the time."""

    def __init__(self, enforcer: policy.Enforcer, clock: Callable[[], float] = monotonic) -> None:
        self._enforcer = enforcer
        self._clock = clock
        self._answers: dict[tuple[str, str, RequestContext], bool] = {}
        self._forgotten_at = 0.0

    def allows(self, rule: str, project_id: str, context: RequestContext) -> bool:
        """Whether a rule lets the one who asks touch what is of a project."""
        now = self._clock()
        if now >= self._forgotten_at or len(self._answers) >= _MOST_ANSWERS:
            self._answers = {}
            self._forgotten_at = now + _REMEMBERED
        who = msgspec.structs.replace(context, request_id=_ANY, global_request_id="", trace="")
        answer = self._answers.get((rule, project_id, who))
        if answer is None:
            answer = self._answers[rule, project_id, who] = self._ask(rule, project_id, context)
        return answer

    def _ask(self, rule: str, project_id: str, context: RequestContext) -> bool:
        target = {"project_id": project_id, "user_id": context.user_id}
        credentials = {
            "user_id": context.user_id,
            "project_id": context.project_id,
            "roles": list(context.roles),
            "system_scope": context.system_scope or None,
        }
        return bool(self._enforcer.enforce(rule, target, credentials))


@cache
def get_enforcer() -> policy.Enforcer:
    """Return the enforcer that oslo.policy's command line tools ask for."""
    conf = cfg.ConfigOpts()
    conf([], project="kilonova")
    return enforcer_for(conf)
