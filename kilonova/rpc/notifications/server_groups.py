"""Payloads of ``server_group.create``, ``server_group.delete`` and ``server_group.add_member``."""

from kilonova.core.server_group import ServerGroup
from kilonova.rpc.notifications.notification import Payload, versioned


def of_group(group: ServerGroup) -> Payload:
    """Return the payload of a server group. Where its members are is not looked up."""
    limit = group.max_server_per_host
    data = {
        "uuid": group.uuid,
        "name": group.name,
        "project_id": group.project_id,
        "user_id": group.user_id,
        "policies": [str(group.policy)],
        "policy": str(group.policy),
        "rules": {} if limit is None else {"max_server_per_host": str(limit)},
        "members": list(group.members),
        "hosts": None,
    }
    return versioned("ServerGroupPayload", "1.1", data)
