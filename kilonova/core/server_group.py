"""Server groups: servers of a project that belong on one host, or on different ones."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from kilonova.core.ids import HostName, InstanceUuid, ProjectId, UserId


class Policy(StrEnum):
    """How the servers of a group stand to each other. The soft ones are wishes: no build fails by them."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


HARD = frozenset({Policy.AFFINITY, Policy.ANTI_AFFINITY})


class GroupRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a group asks of each of its servers; a server carries it from its creation to its end."""

    group_uuid: str
    policy: str
    max_server_per_host: int = 1

    @property
    def is_hard(self) -> bool:
        """Whether a server must not be where the rule does not allow it."""
        return self.policy in HARD

    def allows(self, host: HostName, members: Mapping[HostName, int]) -> bool:
        """Whether one more server may be on a host, when so many others of the group are on each host."""
        if self.policy == Policy.ANTI_AFFINITY:
            return members.get(host, 0) < self.max_server_per_host
        if self.policy == Policy.AFFINITY:
            return bool(members.get(host)) or not any(members.values())
        return True

    def refusal(self) -> str:
        """Return what a tenant is told of a host that is not allowed; it names none."""
        if self.policy == Policy.AFFINITY:
            return "other servers of its server group are on another host"
        return "the host has as many servers of the server group as may be"


class ServerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A server group. ``max_server_per_host`` is None where the user named none; times are UTC.

    ``members`` are the servers that were created in it and are not being deleted, oldest first.
    """

    uuid: str
    name: str
    project_id: ProjectId
    user_id: UserId
    policy: Policy
    max_server_per_host: int | None = None
    created_at: datetime
    members: tuple[InstanceUuid, ...] = ()

    def rule(self) -> GroupRule:
        """Return what it asks of its servers."""
        return GroupRule(
            group_uuid=self.uuid,
            policy=self.policy.value,
            max_server_per_host=self.max_server_per_host or 1,
        )


class Member(msgspec.Struct, frozen=True):
    """A server of a group and its host, if it has one.

    One that is ``leaving`` is being deleted. One that is ``busy`` may be on its way elsewhere, or back.
    """

    uuid: InstanceUuid
    host: HostName | None
    leaving: bool = False
    busy: bool = False


def by_host(rule: GroupRule, members: Iterable[Member]) -> dict[HostName, int]:
    """Return how many members are on each host, as far as they count for a group's rule.

    One that is leaving still keeps others away, but nobody has to follow it.
    """
    follows = rule.policy in (Policy.AFFINITY, Policy.SOFT_AFFINITY)
    hosts = (m.host for m in members if m.host is not None and not (follows and m.leaving))
    return dict(Counter(hosts))
