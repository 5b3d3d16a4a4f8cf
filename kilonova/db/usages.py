"""Which servers of a cell ran in a period, deleted ones included."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.flavor import Flavor
from kilonova.core.ids import InstanceUuid, ProjectId
from kilonova.core.usage import Ran
from kilonova.db.cell_schema import StoredInstance
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

_instances = table_of(StoredInstance)


class _Sized(msgspec.Struct, frozen=True):
    """The only part of an instance's document that is read here."""

    flavor: Flavor


_decode = msgspec.json.Decoder(_Sized).decode


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when, of which project (None: of all), and which page of it.

    ``marker`` is the server just before the page; times are UTC without a zone.
    """

    begin: datetime
    end: datetime
    project: ProjectId | None = None
    marker: InstanceUuid | None = None
    limit: int = 1000


def servers_in(cell_db: Database, period: Period) -> tuple[Ran, ...]:
    """Return a page of the servers that were there at some time of the period, in order of UUID."""
    ended = _instances.c.terminated_at
    query = (
        sa.select(
            _instances.c.uuid,
            _instances.c.name,
            _instances.c.project_id,
            _instances.c.vm_state,
            _instances.c.launched_at,
            ended,
            _instances.c.fixed,
        )
        .where(_instances.c.launched_at < period.end, sa.or_(ended.is_(None), ended > period.begin))
        .order_by(_instances.c.uuid)
        .limit(period.limit)
    )
    if period.project is not None:
        query = query.where(_instances.c.project_id == period.project)
    if period.marker is not None:
        query = query.where(_instances.c.uuid > period.marker)
    return tuple(_ran(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def _ran(row: Any) -> Ran:
    flavor = _decode(row.fixed).flavor
    return Ran(
        uuid=row.uuid,
        name=row.name,
        project_id=row.project_id,
        flavor=flavor.name,
        vcpus=flavor.vcpus,
        memory_mb=flavor.memory_mb,
        local_gb=flavor.root_gb + flavor.ephemeral_gb,
        state="terminated" if row.terminated_at else row.vm_state,
        started_at=row.launched_at,
        ended_at=row.terminated_at,
    )
