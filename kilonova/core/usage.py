"""How long servers ran in a period, and what that adds up to for a project."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kilonova.core.ids import InstanceUuid, ProjectId


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A server that ran at some time. ``ended_at`` is None while it is there; times are UTC."""

    uuid: InstanceUuid
    name: str
    project_id: ProjectId
    flavor: str
    vcpus: int
    memory_mb: int
    local_gb: int
    state: str
    started_at: datetime
    ended_at: datetime | None = None

    def hours(self, begin: datetime, end: datetime) -> float:
        """Return for how many hours it was there between two times."""
        stop = end if self.ended_at is None else min(end, self.ended_at)
        return max(0.0, (stop - max(begin, self.started_at)).total_seconds() / 3600)

    def uptime(self, now: datetime) -> int:
        """Return for how many seconds it has been there in all."""
        return int(((self.ended_at or now) - self.started_at).total_seconds())


class Total(msgspec.Struct, kw_only=True):
    """What a project used in a period: amounts times hours, and the servers that did."""

    hours: float = 0.0
    vcpu_hours: float = 0.0
    memory_mb_hours: float = 0.0
    local_gb_hours: float = 0.0
    servers: list[Ran] = msgspec.field(default_factory=list)


def totals(servers: Iterable[Ran], begin: datetime, end: datetime) -> dict[ProjectId, Total]:
    """Add up servers by project, in the order in which projects come first."""
    by_project: dict[ProjectId, Total] = {}
    for server in servers:
        total = by_project.setdefault(server.project_id, Total())
        hours = server.hours(begin, end)
        total.hours += hours
        total.vcpu_hours += server.vcpus * hours
        total.memory_mb_hours += server.memory_mb * hours
        total.local_gb_hours += server.local_gb * hours
        total.servers.append(server)
    return by_project
