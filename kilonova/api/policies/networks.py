"""Rules of servers' network cards, addresses and security groups."""

from kilonova.api.policies.base import ADMIN, MEMBER, READER, Rule

_ACTION = (("POST", "/servers/{server_id}/action"),)
_INTERFACES = "/servers/{server_id}/os-interface"
_A = "os_compute_api:os-attach-interfaces"

RULES = (
    Rule(f"{_A}:list", READER, "List a server's network cards.", (("GET", _INTERFACES),)),
    Rule(
        f"{_A}:show",
        READER,
        "Show a server's network card.",
        (("GET", _INTERFACES + "/{port_id}"),),
    ),
    Rule(f"{_A}:create", MEMBER, "Give a server a network card.", (("POST", _INTERFACES),)),
    Rule(
        f"{_A}:delete",
        MEMBER,
        "Take a network card away from a server.",
        (("DELETE", _INTERFACES + "/{port_id}"),),
    ),
    Rule(
        "os_compute_api:os-security-groups:list",
        READER,
        "List the security groups of a server.",
        (("GET", "/servers/{server_id}/os-security-groups"),),
    ),
    Rule("os_compute_api:os-multinic:add", MEMBER, "Give a server a fixed address.", _ACTION),
    Rule("os_compute_api:os-multinic:remove", MEMBER, "Take a fixed address away.", _ACTION),
    Rule("os_compute_api:os-floating-ips:add", MEMBER, "Give a server a floating IP.", _ACTION),
    Rule("os_compute_api:os-floating-ips:remove", MEMBER, "Take a floating IP away.", _ACTION),
    Rule(
        "network:attach_external_network",
        ADMIN,
        "Plug a server into a network that leads outside.",
        (("POST", "/servers"), ("POST", _INTERFACES)),
    ),
)
