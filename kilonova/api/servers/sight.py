"""What the asker may see of servers, by policy and microversion."""

from kilonova.api.microversions import Since
from kilonova.api.routing import Asked
from kilonova.api.views.servers import Sight
from kilonova.core.server_group import GroupRule
from kilonova.db import server_groups

_ADMIN_FIELDS = "os_compute_api:os-extended-server-attributes"
_EXTRA_SPECS = "os_compute_api:servers:show:flavor-extra-specs"
_HOST_STATUS = "os_compute_api:servers:show:host_status"


def sight_of(asked: Asked, *, show: bool = True) -> Sight:
    """Return what the asker sees; ``show`` for one server, not a list."""
    api_db = asked.services.api_db

    def groups(rule: GroupRule | None) -> list[str]:
        # A group may be deleted before its servers.
        there = rule is not None and server_groups.is_there(api_db, rule.group_uuid)
        return [rule.group_uuid] if rule is not None and there else []

    sees_status = asked.version in Since.HOST_STATUS and asked.allows(_HOST_STATUS)
    return Sight(
        version=asked.version,
        links=asked.links,
        admin_fields=asked.allows(_ADMIN_FIELDS),
        extra_specs=asked.version in Since.FLAVOR_EMBEDDED and asked.allows(_EXTRA_SPECS),
        host_status=asked.services.host_statuses.of if sees_status else None,
        show=show,
        groups=groups,
    )
