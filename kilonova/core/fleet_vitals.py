"""How the servers of a fleet are, one line each: what operators are told."""

from datetime import datetime

import msgspec

from kilonova.core.ids import HostName, InstanceUuid, ProjectId
from kilonova.core.states import TaskState, VmState, status
from kilonova.core.vitals import Figures, Vitals


class Watched(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a cell's database knows of a server on a host. Times are UTC without a zone."""

    uuid: InstanceUuid
    name: str
    project_id: ProjectId
    host: HostName
    availability_zone: str | None
    vm_state: VmState
    task_state: TaskState | None
    addresses: tuple[str, ...]
    created_at: datetime


class VitalsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which servers on hosts: of a host, of a project, at most ``limit`` in order of their UUIDs from
    behind ``after``."""

    host: HostName | None = None
    project: ProjectId | None = None
    after: InstanceUuid | None = None
    limit: int | None = None


EVERY_SERVER = VitalsQuery()


class Line(Figures, frozen=True, kw_only=True):
    """A server and how it is, as JSON shows it; None is what is not known. Its fields are those of
    ``Watched`` and ``Vitals``, under the names that the Compute API has for them. Sizes are in MiB.
    """

    id: InstanceUuid
    name: str
    project_id: ProjectId
    status: str
    host: HostName
    availability_zone: str | None
    addresses: tuple[str, ...]
    created_at: datetime
    at: datetime | None = None
    power: str | None = None


def line(server: Watched, vitals: Vitals | None) -> Line:
    """Return the line of a server of which this, or nothing, was seen."""
    seen = (
        {}
        if vitals is None
        else {name: getattr(vitals, name) for name in Figures.__struct_fields__}
    )
    return Line(
        id=server.uuid,
        name=server.name,
        project_id=server.project_id,
        status=status(server.vm_state, server.task_state),
        host=server.host,
        availability_zone=server.availability_zone,
        addresses=server.addresses,
        created_at=server.created_at,
        at=None if vitals is None else vitals.at,
        power=None if vitals is None else vitals.state,
        **seen,
    )
