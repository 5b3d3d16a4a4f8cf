"""Where the members of a request's server group are, and the agreement of all schedulers on new ones.

Made only for requests that have a group. A member is where its cell says, or on its way to the host that a
scheduler chose for it. Choices are noted in the API database under the group's lock, before anything is
claimed: of schedulers that choose at once the second sees what the first chose, whatever their cells.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from kilonova.core.ids import CELL0, HostName, InstanceUuid
from kilonova.core.scheduling import Decision, RequestSpec
from kilonova.core.server_group import GroupRule, Member, Policy, by_host
from kilonova.db import grouped, server_groups
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.server_groups import Place

_NEAR = 3
"""Hosts with most members that a soft affinity looks at in any case."""
_PATIENCE = 5
"""Times that those with a soft wish give way to others who choose at once."""


class GroupMembers:
    """The members of one group, while a request for more of them is decided."""

    def __init__(self, api_db: Database, cells: Cells, rule: GroupRule) -> None:
        self._api_db = api_db
        self._cells = cells
        self._rule = rule
        self._found: tuple[Member, ...] = ()
        self._looked: tuple[Place, ...] = ()
        self._patience = _PATIENCE

    def look(self, besides: Collection[InstanceUuid]) -> dict[HostName, int]:
        """Read how many members, but for some, are on each host. A group that is deleted has none.

        Raises:
            DatabaseUnavailable: a cell that has members does not answer, so nothing can be decided.
        """
        places = self._looked = server_groups.places_of(self._api_db, self._rule)
        # After the places, so that who was mapped to a cell meanwhile is found in one of the two.
        cells = {place.cell_uuid for place in places} - {None, CELL0}
        self._found = tuple(
            member
            for cell in sorted(filter(None, cells))
            for member in grouped.members_in(self._cells.database(cell), self._rule.group_uuid)
        )
        return by_host(self._rule, standing(self._found, places, besides))

    def choose(self, picked: Sequence[Decision]) -> frozenset[InstanceUuid]:
        """Note the picks that the group's rule still allows; return those that others were quicker than.

        A soft wish forbids nothing; but if others chose since the look, it is better met by another.
        """
        wanted = {d.instance_uuid: d.destination.host for d in picked if d.destination}
        if not wanted:
            return frozenset()

        def judge(places: tuple[Place, ...]) -> dict[InstanceUuid, HostName | None]:
            others = by_host(self._rule, standing(self._found, places, wanted))
            seen = by_host(self._rule, standing(self._found, self._looked, wanted))
            if others != seen and self._patience and not self._rule.is_hard:
                return dict.fromkeys(wanted)
            return admitted(self._rule, wanted, others)

        refused = server_groups.choose(self._api_db, self._rule, judge)
        self._patience -= bool(refused and self._patience)
        return refused

    def let_go(self, uuids: Sequence[InstanceUuid]) -> None:
        """Forget what was chosen for servers that got no host."""
        server_groups.choose(self._api_db, self._rule, lambda _: dict.fromkeys(uuids))


def only_host(spec: RequestSpec, members: Mapping[HostName, int]) -> HostName | None:
    """Return the one host that the rule of a request's group leaves, if there is one."""
    if spec.group and spec.group.policy == Policy.AFFINITY and len(members) == 1:
        return next(iter(members))
    return None


def near_hosts(spec: RequestSpec, members: Mapping[HostName, int]) -> list[HostName]:
    """Return the hosts that a request's group would like best; a sample of many hosts may lack them."""
    if spec.group is None or spec.group.policy != Policy.SOFT_AFFINITY:
        return []
    return sorted(members, key=lambda host: -members[host])[:_NEAR]


def standing(
    found: Iterable[Member], places: Iterable[Place], besides: Collection[InstanceUuid]
) -> list[Member]:
    """Return the members, but for some, each where its cell says, or else where it was to go.

    One that may be moving counts in both places.
    """
    chosen = {p.uuid: Member(p.uuid, p.chosen_host) for p in places if p.cell_uuid != CELL0}
    members = chosen | {member.uuid: member for member in found}
    targets = [
        chosen[member.uuid]
        for member in found
        if member.busy and member.uuid in chosen and chosen[member.uuid].host != member.host
    ]
    return [member for member in (*members.values(), *targets) if member.uuid not in besides]


def admitted(
    rule: GroupRule, wanted: Mapping[InstanceUuid, HostName], others: Mapping[HostName, int]
) -> dict[InstanceUuid, HostName | None]:
    """Return each server's wanted host, or None where the rule is against it, one after the other."""
    members = dict(others)
    admitted: dict[InstanceUuid, HostName | None] = {}
    for uuid, host in wanted.items():
        allowed = rule.allows(host, members)
        admitted[uuid] = host if allowed else None
        if allowed:
            members[host] = members.get(host, 0) + 1
    return admitted
