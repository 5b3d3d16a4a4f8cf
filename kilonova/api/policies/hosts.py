"""Rules of hypervisors, services, host aggregates and availability zones."""

from kilonova.api.policies.base import ADMIN, ANYBODY, Rule

_OLD = "os_compute_api:os-hosts"
_HYPERVISORS = "os_compute_api:os-hypervisors"
_SERVICES = "os_compute_api:os-services"
_AGGREGATES = "os_compute_api:os-aggregates"
_ZONES = "os_compute_api:os-availability-zone"
_ONE = "/os-aggregates/{aggregate_id}"
_ACTION = (("POST", _ONE + "/action"),)

RULES = (
    Rule(f"{_HYPERVISORS}:list", ADMIN, "List hypervisors.", (("GET", "/os-hypervisors"),)),
    Rule(
        f"{_HYPERVISORS}:list-detail",
        ADMIN,
        "List hypervisors in detail.",
        (("GET", "/os-hypervisors/detail"),),
    ),
    Rule(
        f"{_HYPERVISORS}:statistics",
        ADMIN,
        "Add up all hypervisors.",
        (("GET", "/os-hypervisors/statistics"),),
    ),
    Rule(
        f"{_HYPERVISORS}:show",
        ADMIN,
        "Show a hypervisor.",
        (("GET", "/os-hypervisors/{hypervisor_id}"),),
    ),
    Rule(
        f"{_HYPERVISORS}:uptime",
        ADMIN,
        "Show how long a hypervisor has been up.",
        (("GET", "/os-hypervisors/{hypervisor_id}/uptime"),),
    ),
    Rule(
        f"{_HYPERVISORS}:search",
        ADMIN,
        "Find hypervisors by name.",
        (("GET", "/os-hypervisors/{hypervisor_id}/search"),),
    ),
    Rule(
        f"{_HYPERVISORS}:servers",
        ADMIN,
        "List the servers of hypervisors.",
        (("GET", "/os-hypervisors/{hypervisor_id}/servers"),),
    ),
    Rule(f"{_OLD}:list", ADMIN, "List what runs where.", (("GET", "/os-hosts"),)),
    Rule(f"{_OLD}:show", ADMIN, "Show what a host has.", (("GET", "/os-hosts/{host}"),)),
    Rule(f"{_OLD}:update", ADMIN, "Enable or disable a host.", (("PUT", "/os-hosts/{host}"),)),
    *(
        Rule(f"{_OLD}:{rule}", ADMIN, f"{what} a host.", (("GET", f"/os-hosts/{{host}}/{action}"),))
        for rule, action, what in (
            ("start", "startup", "Start"),
            ("shutdown", "shutdown", "Shut down"),
            ("reboot", "reboot", "Reboot"),
        )
    ),
    Rule(f"{_SERVICES}:list", ADMIN, "List services.", (("GET", "/os-services"),)),
    Rule(
        f"{_SERVICES}:update",
        ADMIN,
        "Enable, disable or force down a service.",
        (("PUT", "/os-services/{service_id}"),),
    ),
    Rule(
        f"{_SERVICES}:delete",
        ADMIN,
        "Delete a service.",
        (("DELETE", "/os-services/{service_id}"),),
    ),
    Rule(f"{_AGGREGATES}:index", ADMIN, "List aggregates.", (("GET", "/os-aggregates"),)),
    Rule(f"{_AGGREGATES}:create", ADMIN, "Create an aggregate.", (("POST", "/os-aggregates"),)),
    Rule(f"{_AGGREGATES}:show", ADMIN, "Show an aggregate.", (("GET", _ONE),)),
    Rule(f"{_AGGREGATES}:update", ADMIN, "Rename an aggregate or zone.", (("PUT", _ONE),)),
    Rule(f"{_AGGREGATES}:delete", ADMIN, "Delete an aggregate.", (("DELETE", _ONE),)),
    Rule(f"{_AGGREGATES}:add_host", ADMIN, "Add a host to an aggregate.", _ACTION),
    Rule(f"{_AGGREGATES}:remove_host", ADMIN, "Remove a host from an aggregate.", _ACTION),
    Rule(f"{_AGGREGATES}:set_metadata", ADMIN, "Change an aggregate's metadata.", _ACTION),
    Rule(
        "compute:aggregates:images",
        ADMIN,
        "Let the hosts of an aggregate fetch images.",
        (("POST", _ONE + "/images"),),
    ),
    Rule(
        f"{_ZONES}:list",
        ANYBODY,
        "List availability zones.",
        (("GET", "/os-availability-zone"),),
    ),
    Rule(
        f"{_ZONES}:detail",
        ADMIN,
        "List availability zones with their hosts.",
        (("GET", "/os-availability-zone/detail"),),
    ),
)
