"""Server groups as the API shows them, at each microversion."""

from typing import Any

from kilonova.api.microversions import Since, Version
from kilonova.api.views.fields import Field, shown
from kilonova.core.server_group import ServerGroup


def _rules(group: ServerGroup) -> dict[str, int]:
    limit = group.max_server_per_host
    return {} if limit is None else {"max_server_per_host": limit}


_FIELDS: tuple[Field[ServerGroup], ...] = (
    Field("id", lambda group: group.uuid),
    Field("name", lambda group: group.name),
    Field("policies", lambda group: [group.policy], when=Since.GROUP_RULES.before),
    Field("metadata", lambda _: {}, when=Since.GROUP_RULES.before),
    Field("policy", lambda group: group.policy, when=Since.GROUP_RULES),
    Field("rules", _rules, when=Since.GROUP_RULES),
    Field("members", lambda group: list(group.members)),
    Field("project_id", lambda group: group.project_id, when=Since.GROUP_OWNERS),
    Field("user_id", lambda group: group.user_id, when=Since.GROUP_OWNERS),
)


def full(group: ServerGroup, version: Version) -> dict[str, Any]:
    """Return a server group."""
    return shown(_FIELDS, group, version)
