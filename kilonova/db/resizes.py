"""What servers count for, and what they need of a host, as they change their size.

From the moment a resize is accepted until it is confirmed or reverted, a server counts for the larger of
both sizes: so neither end of it can meet a quota that is exceeded.
"""

from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.flavor import Flavor
from kilonova.core.ids import InstanceUuid
from kilonova.core.quota import Amount, Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db.api_schema import InstanceMapping, QuotaUsage, StoredRequestSpec
from kilonova.db.engine import Database
from kilonova.db.quotas import count
from kilonova.db.statements import table_of

_specs = table_of(StoredRequestSpec)
_mappings = table_of(InstanceMapping)
_usages = table_of(QuotaUsage)

_encode = msgspec.json.Encoder().encode
_decode_spec = msgspec.json.Decoder(RequestSpec).decode


def grow(api_db: Database, uuid: InstanceUuid, flavor: Flavor, limits: Limits) -> None:
    """Count for a server as much as its present and its future flavor need, whichever is more.

    Raises:
        QuotaExceeded: its project has not so much left; nothing was written.
    """

    def work(connection: sa.Connection) -> None:
        row = _sized(connection, uuid)
        if row is None:
            return
        cores = max(0, flavor.vcpus - row.vcpus)
        ram = max(0, flavor.memory_mb - row.memory_mb)
        if cores or ram:
            sizes = (row.vcpus + cores, row.memory_mb + ram)
            connection.execute(_resize(uuid, *sizes))
            count(connection, row.project_id, Amount(cores=cores, ram=ram), limits)

    api_db.write(work)


def resize(api_db: Database, uuid: InstanceUuid, flavor: Flavor) -> None:
    """Count for a server what its flavor needs, and schedule it by that from now on."""
    mine = _specs.c.instance_uuid == uuid

    def work(connection: sa.Connection) -> None:
        row = _sized(connection, uuid)
        if row is None:
            return
        if (row.vcpus, row.memory_mb) != (flavor.vcpus, flavor.memory_mb):
            connection.execute(_resize(uuid, flavor.vcpus, flavor.memory_mb))
            connection.execute(
                sa.update(_usages)
                .where(_usages.c.project_id == row.project_id)
                .values(
                    cores=_usages.c.cores + (flavor.vcpus - row.vcpus),
                    ram=_usages.c.ram + (flavor.memory_mb - row.memory_mb),
                )
            )
        stored = connection.execute(sa.select(_specs.c.spec).where(mine)).scalar()
        if stored is not None:
            spec = msgspec.structs.replace(_decode_spec(stored), flavor=flavor)
            connection.execute(sa.update(_specs).where(mine).values(spec=_encode(spec)))

    api_db.write(work)


def _sized(connection: sa.Connection, uuid: InstanceUuid) -> Any:
    """Return what a server counts for, locked, or None if it counts for nothing any more."""
    columns = (_mappings.c.project_id, _mappings.c.vcpus, _mappings.c.memory_mb)
    counted = _mappings.c.queued_for_delete.is_(False)
    query = sa.select(*columns).where(_mappings.c.instance_uuid == uuid, counted)
    return connection.execute(query.with_for_update()).first()


def _resize(uuid: InstanceUuid, vcpus: int, memory_mb: int) -> sa.Update:
    mine = sa.update(_mappings).where(_mappings.c.instance_uuid == uuid)
    return mine.values(vcpus=vcpus, memory_mb=memory_mb)
