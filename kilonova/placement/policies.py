"""Placement's policy rules, under the names that operators' policy files use."""

from functools import cache

from oslo_config import cfg
from oslo_policy import policy

_ADMIN_OR_SERVICE = "role:admin or role:service"
_READER = "role:admin or role:service or (role:reader and project_id:%(project_id)s)"

_RULES: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "placement:resource_classes:list",
        "",
        "List resource classes.",
        (("GET", "/resource_classes"),),
    ),
    (
        "placement:resource_classes:show",
        "",
        "Show a class.",
        (("GET", "/resource_classes/{name}"),),
    ),
    ("placement:resource_classes:create", "", "Create one.", (("POST", "/resource_classes"),)),
    (
        "placement:resource_classes:update",
        "",
        "Ensure one.",
        (("PUT", "/resource_classes/{name}"),),
    ),
    ("placement:traits:list", "", "List traits.", (("GET", "/traits"),)),
    ("placement:traits:show", "", "Show a trait.", (("GET", "/traits/{name}"),)),
    ("placement:traits:update", "", "Ensure a trait.", (("PUT", "/traits/{name}"),)),
    ("placement:resource_providers:list", "", "List providers.", (("GET", "/resource_providers"),)),
    ("placement:resource_providers:create", "", "Create one.", (("POST", "/resource_providers"),)),
    (
        "placement:resource_providers:show",
        "",
        "Show a provider.",
        (("GET", "/resource_providers/{uuid}"),),
    ),
    (
        "placement:resource_providers:update",
        "",
        "Rename a provider.",
        (("PUT", "/resource_providers/{uuid}"),),
    ),
    (
        "placement:resource_providers:delete",
        "",
        "Delete a provider.",
        (("DELETE", "/resource_providers/{uuid}"),),
    ),
    (
        "placement:resource_providers:inventories:list",
        "",
        "List what a provider has.",
        (("GET", "/resource_providers/{uuid}/inventories"),),
    ),
    (
        "placement:resource_providers:inventories:update",
        "",
        "Replace what a provider has.",
        (("PUT", "/resource_providers/{uuid}/inventories"),),
    ),
    (
        "placement:resource_providers:inventories:show",
        "",
        "Show one inventory.",
        (("GET", "/resource_providers/{uuid}/inventories/{resource_class}"),),
    ),
    (
        "placement:resource_providers:traits:list",
        "",
        "List a provider's traits.",
        (("GET", "/resource_providers/{uuid}/traits"),),
    ),
    (
        "placement:resource_providers:traits:update",
        "",
        "Replace a provider's traits.",
        (("PUT", "/resource_providers/{uuid}/traits"),),
    ),
    (
        "placement:resource_providers:aggregates:list",
        "",
        "List a provider's aggregates.",
        (("GET", "/resource_providers/{uuid}/aggregates"),),
    ),
    (
        "placement:resource_providers:aggregates:update",
        "",
        "Replace a provider's aggregates.",
        (("PUT", "/resource_providers/{uuid}/aggregates"),),
    ),
    (
        "placement:resource_providers:usages",
        "",
        "Show what is used of a provider.",
        (("GET", "/resource_providers/{uuid}/usages"),),
    ),
    (
        "placement:resource_providers:allocations:list",
        "",
        "List who uses a provider.",
        (("GET", "/resource_providers/{uuid}/allocations"),),
    ),
    ("placement:usages", _READER, "Show what a project uses.", (("GET", "/usages"),)),
    ("placement:allocations:manage", "", "Change many at once.", (("POST", "/allocations"),)),
    ("placement:allocations:list", "", "Show one's.", (("GET", "/allocations/{consumer}"),)),
    ("placement:allocations:update", "", "Replace one's.", (("PUT", "/allocations/{consumer}"),)),
    ("placement:allocations:delete", "", "Free one's.", (("DELETE", "/allocations/{consumer}"),)),
    (
        "placement:allocation_candidates:list",
        "",
        "Ask who has room.",
        (("GET", "/allocation_candidates"),),
    ),
    (
        "kilonova:placement:claims",
        "",
        "Claim for many consumers, each by itself, and free others.",
        (("POST", "/kilonova/v1/claims"),),
    ),
)


def list_rules() -> list[policy.DocumentedRuleDefault]:
    """Return every rule, for enforcement and for the sample file."""
    return [
        policy.DocumentedRuleDefault(
            name=name,
            check_str=check or _ADMIN_OR_SERVICE,
            description=description,
            operations=[{"method": method, "path": path} for method, path in operations],
            scope_types=["project"],
        )
        for name, check, description, operations in _RULES
    ]


def enforcer_for(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return an enforcer of these rules under a configuration."""
    enforcer = policy.Enforcer(conf, policy_file=None)
    enforcer.register_defaults(list_rules())
    return enforcer


@cache
def get_enforcer() -> policy.Enforcer:
    """Return the enforcer that oslo.policy's command line tools ask for."""
    conf = cfg.ConfigOpts()
    conf([], project="kilonova")
    return enforcer_for(conf)
