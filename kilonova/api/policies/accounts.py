"""Rules of what belongs to users and projects: key pairs, server groups, quotas, limits and usage."""

from kilonova.api.policies.base import ADMIN, ANYBODY, MEMBER, OWNER_READER, READER, Rule

_KEYS = "os_compute_api:os-keypairs"
_QUOTAS = "os_compute_api:os-quota-sets"
_CLASSES = "os_compute_api:os-quota-class-sets"
_USAGE = "os_compute_api:os-simple-tenant-usage"
_GROUPS = "os_compute_api:os-server-groups"
_KEY = "/os-keypairs/{name}"
_GROUP = "/os-server-groups/{group_id}"
_QUOTA = "/os-quota-sets/{project_id}"
_CLASS = "/os-quota-class-sets/{name}"

_AUDIT = "os_compute_api:os-instance-usage-audit-log"

RULES = (
    Rule(
        f"{_AUDIT}:list",
        ADMIN,
        "Show how the audit of the last period stands.",
        (("GET", "/os-instance_usage_audit_log"),),
    ),
    Rule(
        f"{_AUDIT}:show",
        ADMIN,
        "Show how the audit of a period stands.",
        (("GET", "/os-instance_usage_audit_log/{before}"),),
    ),
    Rule(f"{_KEYS}:index", OWNER_READER, "List key pairs.", (("GET", "/os-keypairs"),)),
    Rule(f"{_KEYS}:show", OWNER_READER, "Show a key pair.", (("GET", _KEY),)),
    Rule(f"{_KEYS}:create", OWNER_READER, "Create a key pair.", (("POST", "/os-keypairs"),)),
    Rule(f"{_KEYS}:delete", OWNER_READER, "Delete a key pair.", (("DELETE", _KEY),)),
    Rule(f"{_GROUPS}:index", READER, "List server groups.", (("GET", "/os-server-groups"),)),
    Rule(
        f"{_GROUPS}:index:all_projects",
        ADMIN,
        "List the server groups of all projects.",
        (("GET", "/os-server-groups"),),
    ),
    Rule(f"{_GROUPS}:show", READER, "Show a server group.", (("GET", _GROUP),)),
    Rule(f"{_GROUPS}:create", MEMBER, "Create a server group.", (("POST", "/os-server-groups"),)),
    Rule(f"{_GROUPS}:delete", MEMBER, "Delete a server group.", (("DELETE", _GROUP),)),
    Rule(f"{_QUOTAS}:show", READER, "Show a project's quota.", (("GET", _QUOTA),)),
    Rule(
        f"{_QUOTAS}:detail",
        READER,
        "Show a project's quota and what is used of it.",
        (("GET", _QUOTA + "/detail"),),
    ),
    Rule(
        f"{_QUOTAS}:defaults", ANYBODY, "Show the default quota.", (("GET", _QUOTA + "/defaults"),)
    ),
    Rule(f"{_QUOTAS}:update", ADMIN, "Set a project's quota.", (("PUT", _QUOTA),)),
    Rule(f"{_QUOTAS}:delete", ADMIN, "Give a project the default quota.", (("DELETE", _QUOTA),)),
    Rule(f"{_CLASSES}:show", ADMIN, "Show the quota of a class.", (("GET", _CLASS),)),
    Rule(f"{_CLASSES}:update", ADMIN, "Set the quota of a class.", (("PUT", _CLASS),)),
    Rule("os_compute_api:limits", ANYBODY, "Show the limits.", (("GET", "/limits"),)),
    Rule(
        "os_compute_api:limits:other_project",
        ADMIN,
        "Show another project's limits.",
        (("GET", "/limits"),),
    ),
    Rule(
        f"{_USAGE}:list",
        ADMIN,
        "List what all projects used.",
        (("GET", "/os-simple-tenant-usage"),),
    ),
    Rule(
        f"{_USAGE}:show",
        READER,
        "Show what a project used.",
        (("GET", "/os-simple-tenant-usage/{project_id}"),),
    ),
    Rule(
        "os_compute_api:extensions",
        ANYBODY,
        "List extensions.",
        (("GET", "/extensions"), ("GET", "/extensions/{alias}")),
    ),
)
