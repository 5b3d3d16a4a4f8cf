"""What is asked of a server's networks: refused by name, as no network service is configured."""

from kilonova.api.find import find_server
from kilonova.api.routing import Act, Answer, Asked
from kilonova.api.schemas import server_actions as schemas
from kilonova.api.schemas.servers import NO_ARGUMENTS
from kilonova.api.server_tasks import check_unlocked, placed
from kilonova.core.errors import Conflict, Gone, Invalid

_NO_NETWORKS = "no network service is configured"
_GROUPS = "os_compute_api:os-security-groups"


def _change_groups(asked: Asked, server_id: str) -> Answer:
    """``addSecurityGroup`` and ``removeSecurityGroup``."""
    (action,) = asked.body
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    placed(located, action)
    raise Invalid(f"{action}: {_NO_NETWORKS}, so servers have no security groups")


def _inject(asked: Asked, server_id: str) -> Answer:
    """``injectNetworkInfo``."""
    located = find_server(asked, server_id)
    check_unlocked(asked, located.instance)
    placed(located, "injectNetworkInfo")
    raise Conflict(f"injectNetworkInfo: {_NO_NETWORKS}, so there is nothing to inject")


def _reset(asked: Asked, server_id: str) -> Answer:
    """``resetNetwork``: no hypervisor that could do it is left."""
    find_server(asked, server_id)
    raise Gone("resetNetwork: this action is gone from the API.")


ACTS = {
    "addSecurityGroup": Act(f"{_GROUPS}:add", _change_groups, schemas.ADD_SECURITY_GROUP),
    "removeSecurityGroup": Act(f"{_GROUPS}:remove", _change_groups, schemas.REMOVE_SECURITY_GROUP),
    "injectNetworkInfo": Act(
        "os_compute_api:os-admin-actions:inject_network_info", _inject, NO_ARGUMENTS
    ),
    "resetNetwork": Act("os_compute_api:os-admin-actions:reset_network", _reset, NO_ARGUMENTS),
}
