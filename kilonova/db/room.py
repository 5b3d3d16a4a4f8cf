"""How many more servers the quotas of a project, a user in it and a server group have room for."""

from kilonova.core.instance import Instance
from kilonova.core.quota import UNLIMITED, Amount, Limits
from kilonova.db import quotas, server_groups
from kilonova.db.engine import Database


def room_for(api_db: Database, template: Instance, limits: Limits, most: int) -> int:
    """Return how many servers like ``template`` there is room for: ``most``, or fewer."""
    flavor, group = template.flavor, template.wishes.group
    each = Amount(instances=1, cores=flavor.vcpus, ram=flavor.memory_mb)
    rooms = _rooms(each, quotas.used_by(api_db, template.project_id), limits)
    if limits.own is not None:
        used = quotas.used_by(api_db, template.project_id, limits.own.user_id)
        rooms += _rooms(each, used, limits.own.limits)
    if group is not None and limits.server_group_members != UNLIMITED:
        members = server_groups.count_members(api_db, group.group_uuid)
        rooms.append(limits.server_group_members - members)
    return min([most, *rooms])


def _rooms(each: Amount, used: Amount, limits: Limits) -> list[int]:
    """Return how often each limited resource has as much left as is asked for."""
    return [
        (getattr(limits, name) - getattr(used, name)) // getattr(each, name)
        for name in Amount.__struct_fields__
        if getattr(limits, name) != UNLIMITED and getattr(each, name)
    ]
