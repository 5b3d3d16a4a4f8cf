"""Rules of servers, their actions, metadata and instance actions."""

from kilonova.api.policies.base import ADMIN, MANAGER, MEMBER, READER, Rule

_S = "os_compute_api:servers"
_ACTION = (("POST", "/servers/{server_id}/action"),)
_META = "/servers/{server_id}/metadata"
_ACTIONS = "/servers/{server_id}/os-instance-actions"
_TAG = "os_compute_api:os-server-tags"
_TAGS = "/servers/{server_id}/tags"

RULES = (
    Rule(f"{_S}:index", READER, "List servers.", (("GET", "/servers"),)),
    Rule(f"{_S}:detail", READER, "List servers in detail.", (("GET", "/servers/detail"),)),
    Rule(
        f"{_S}:index:get_all_tenants",
        ADMIN,
        "List servers of all projects.",
        (("GET", "/servers"),),
    ),
    Rule(
        f"{_S}:detail:get_all_tenants",
        ADMIN,
        "List servers of all projects in detail.",
        (("GET", "/servers/detail"),),
    ),
    Rule(
        f"{_S}:allow_all_filters",
        ADMIN,
        "Filter lists by everything.",
        (("GET", "/servers"), ("GET", "/servers/detail")),
    ),
    Rule(f"{_S}:show", READER, "Show a server.", (("GET", "/servers/{server_id}"),)),
    Rule(f"{_S}:create", MEMBER, "Create a server.", (("POST", "/servers"),)),
    Rule(
        f"{_S}:create:forced_host",
        ADMIN,
        "Name the host in the availability zone.",
        (("POST", "/servers"),),
    ),
    Rule(
        f"{_S}:create:zero_disk_flavor",
        ADMIN,
        "Create a server whose flavor has no disk and whose image is not on a volume.",
        (("POST", "/servers"),),
    ),
    Rule(
        "compute:servers:create:requested_destination",
        ADMIN,
        "Name the host or the hypervisor.",
        (("POST", "/servers"),),
    ),
    Rule(f"{_S}:update", MEMBER, "Change a server.", (("PUT", "/servers/{server_id}"),)),
    Rule(f"{_S}:delete", MEMBER, "Delete a server.", (("DELETE", "/servers/{server_id}"),)),
    Rule(f"{_S}:start", MEMBER, "Start a server.", _ACTION),
    Rule(f"{_S}:stop", MEMBER, "Stop a server.", _ACTION),
    Rule(f"{_S}:reboot", MEMBER, "Reboot a server.", _ACTION),
    Rule("os_compute_api:os-pause-server:pause", MEMBER, "Pause a server.", _ACTION),
    Rule("os_compute_api:os-pause-server:unpause", MEMBER, "Let a paused server go on.", _ACTION),
    Rule("os_compute_api:os-suspend-server:suspend", MEMBER, "Suspend a server.", _ACTION),
    Rule("os_compute_api:os-suspend-server:resume", MEMBER, "Resume a server.", _ACTION),
    Rule("os_compute_api:os-console-output", MEMBER, "Read the serial console.", _ACTION),
    Rule("os_compute_api:os-lock-server:lock", MEMBER, "Lock a server.", _ACTION),
    Rule("os_compute_api:os-lock-server:unlock", MEMBER, "Unlock a server.", _ACTION),
    Rule(
        "os_compute_api:os-lock-server:unlock:unlock_override",
        ADMIN,
        "Unlock a server that somebody else locked, and act on locked ones.",
        _ACTION,
    ),
    Rule(
        "os_compute_api:os-extended-server-attributes",
        ADMIN,
        "See host, hypervisor and internal names of servers.",
        (("GET", "/servers/{server_id}"), ("GET", "/servers/detail")),
    ),
    Rule(
        f"{_S}:show:flavor-extra-specs",
        READER,
        "See the extra specs of a server's flavor.",
        (
            ("GET", "/servers/{server_id}"),
            ("GET", "/servers/detail"),
            ("PUT", "/servers/{server_id}"),
        ),
    ),
    Rule(
        f"{_S}:show:host_status",
        ADMIN,
        "See the status of a server's host.",
        (("GET", "/servers/{server_id}"), ("GET", "/servers/detail")),
    ),
    Rule("os_compute_api:server-metadata:index", READER, "List metadata.", (("GET", _META),)),
    Rule(
        "os_compute_api:server-metadata:show", READER, "Show an item.", (("GET", _META + "/{key}"),)
    ),
    Rule("os_compute_api:server-metadata:create", MEMBER, "Add metadata.", (("POST", _META),)),
    Rule(
        "os_compute_api:server-metadata:update_all",
        MEMBER,
        "Replace metadata.",
        (("PUT", _META),),
    ),
    Rule(
        "os_compute_api:server-metadata:update",
        MEMBER,
        "Set an item.",
        (("PUT", _META + "/{key}"),),
    ),
    Rule(
        "os_compute_api:server-metadata:delete",
        MEMBER,
        "Remove an item.",
        (("DELETE", _META + "/{key}"),),
    ),
    Rule("os_compute_api:os-instance-actions:list", READER, "List actions.", (("GET", _ACTIONS),)),
    Rule(
        "os_compute_api:os-instance-actions:show",
        READER,
        "Show an action.",
        (("GET", _ACTIONS + "/{request_id}"),),
    ),
    Rule(
        "os_compute_api:os-instance-actions:events",
        ADMIN,
        "See tracebacks and hosts of an action's events.",
        (("GET", _ACTIONS + "/{request_id}"),),
    ),
    Rule(
        "os_compute_api:os-instance-actions:events:details",
        ADMIN,
        "See details of an action's events.",
        (("GET", _ACTIONS + "/{request_id}"),),
    ),
    Rule(
        "os_compute_api:ips:index",
        READER,
        "List addresses.",
        (("GET", "/servers/{server_id}/ips"),),
    ),
    Rule(
        "os_compute_api:ips:show",
        READER,
        "List addresses in one network.",
        (("GET", "/servers/{server_id}/ips/{network}"),),
    ),
    Rule(f"{_TAG}:index", READER, "List tags.", (("GET", _TAGS),)),
    Rule(f"{_TAG}:show", READER, "See whether a server has a tag.", (("GET", _TAGS + "/{tag}"),)),
    Rule(f"{_TAG}:update_all", MEMBER, "Replace tags.", (("PUT", _TAGS),)),
    Rule(f"{_TAG}:update", MEMBER, "Add a tag.", (("PUT", _TAGS + "/{tag}"),)),
    Rule(f"{_TAG}:delete_all", MEMBER, "Remove all tags.", (("DELETE", _TAGS),)),
    Rule(f"{_TAG}:delete", MEMBER, "Remove a tag.", (("DELETE", _TAGS + "/{tag}"),)),
    Rule(
        "os_compute_api:os-migrations:index",
        MANAGER,
        "List migrations.",
        (("GET", "/os-migrations"),),
    ),
    Rule(
        "os_compute_api:servers:migrations:index",
        MANAGER,
        "List a server's live migrations that are in progress.",
        (("GET", "/servers/{server_id}/migrations"),),
    ),
    Rule(
        "os_compute_api:servers:migrations:show",
        ADMIN,
        "Show a live migration that is in progress.",
        (("GET", "/servers/{server_id}/migrations/{migration_id}"),),
    ),
    Rule(
        "compute:server:topology:index",
        READER,
        "Show the NUMA topology of a server.",
        (("GET", "/servers/{server_id}/topology"),),
    ),
)
