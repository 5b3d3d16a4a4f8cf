"""How many more servers a project's quota, and that of a server group, have room for."""

from kilonova.core.instance import Instance
from kilonova.core.quota import UNLIMITED, Amount, Limits
from kilonova.db import quotas, server_groups
from kilonova.db.engine import Database


def room_for(api_db: Database, template: Instance, limits: Limits, most: int) -> int:
    """Return how many servers like ``template`` there is room for: ``most``, or fewer."""
    flavor, group = template.flavor, template.wishes.group
    used = quotas.used_by(api_db, template.project_id)
    each = Amount(instances=1, cores=flavor.vcpus, ram=flavor.memory_mb)
    rooms: list[int] = [
        (getattr(limits, name) - getattr(used, name)) // getattr(each, name)
        for name in Amount.__struct_fields__
        if getattr(limits, name) != UNLIMITED and getattr(each, name)
    ]
    if group is not None and limits.server_group_members != UNLIMITED:
        members = server_groups.count_members(api_db, group.group_uuid)
        rooms.append(limits.server_group_members - members)
    return min([most, *rooms])
