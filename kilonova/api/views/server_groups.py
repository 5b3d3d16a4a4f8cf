"""Server groups as the API shows them, at each microversion."""

from typing import Any

from kilonova.api.versions import Version
from kilonova.api.views.fields import Field, shown
from kilonova.core.server_group import ServerGroup


def _rules(group: ServerGroup) -> dict[str, int]:
    limit = group.max_server_per_host
    return {} if limit is None else {"max_server_per_host": limit}


_FIELDS: tuple[Field[ServerGroup], ...] = (
    Field("id", lambda group: group.uuid),
    Field("name", lambda group: group.name),
    Field("policies", lambda group: [group.policy], until=(2, 63)),
    Field("metadata", lambda _: {}, until=(2, 63)),
    Field("policy", lambda group: group.policy, since=(2, 64)),
    Field("rules", _rules, since=(2, 64)),
    Field("members", lambda group: list(group.members)),
    Field("project_id", lambda group: group.project_id, since=(2, 13)),
    Field("user_id", lambda group: group.user_id, since=(2, 13)),
)


def full(group: ServerGroup, version: Version) -> dict[str, Any]:
    """Return a server group."""
    return shown(_FIELDS, group, version)
