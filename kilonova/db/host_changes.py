"""What changed among a cell's hosts since somebody looked last, so that a look costs what happened.

Compute nodes are found by ``updated_at``, which the cell's database sets by its own clock: the clocks of
those who write and of those who look do not matter. What no time tells is found by counting. Of services,
only those are read that are not as they should be: enabled, and heard of lately.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, ProviderUuid
from kilonova.db.cell_schema import ComputeNode, StoredService
from kilonova.db.engine import Database
from kilonova.db.hosts import COMPUTE
from kilonova.db.statements import among, database_now, table_of

_nodes = table_of(ComputeNode)
_services = table_of(StoredService)
_decode = msgspec.json.Decoder(NodeReport).decode

_OVERLAP = timedelta(seconds=5)
"""How long before the last look a change may have been made whose transaction had not ended by then."""
_AT_ONCE = 500


class SeenNode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A compute node's report, and when its database took it."""

    host: HostName
    changed_at: datetime
    report: NodeReport


class Unusual(msgspec.Struct, frozen=True, kw_only=True):
    """A compute service that is disabled, forced down, or was not heard of lately."""

    enabled: bool
    forced_down: bool
    disabled_reason: str | None
    last_seen: datetime | None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found. ``at`` is the database's time before it, from which the next look goes on.

    ``unusual`` are all of them, every time: each other service is as it should be.
    """

    at: datetime
    changed: dict[ProviderUuid, SeenNode]
    gone: frozenset[ProviderUuid]
    unusual: dict[HostName, Unusual]


_PULSE = sa.select(database_now(), sa.func.count()).select_from(_nodes)
_STAMPS = sa.select(_nodes.c.provider_uuid, _nodes.c.updated_at)
_STAMPS_SINCE = _STAMPS.where(_nodes.c.updated_at >= sa.bindparam("since"))
_REPORTS = sa.select(
    _nodes.c.provider_uuid, _nodes.c.host, _nodes.c.updated_at, _nodes.c.report
).where(among(_nodes.c.provider_uuid, "providers"))
# No index on last_seen, which every sign of life would have to keep: this reads the few thousand rows of a
# cell's services once a look, and sends only what is found.
_UNUSUAL = sa.select(
    _services.c.host,
    _services.c.enabled,
    _services.c.forced_down,
    _services.c.disabled_reason,
    _services.c.last_seen,
).where(
    _services.c.binary == COMPUTE,
    sa.or_(
        _services.c.enabled.is_(False),
        _services.c.forced_down.is_(True),
        _services.c.last_seen.is_(None),
        _services.c.last_seen < sa.bindparam("silent_before"),
    ),
)


def look(
    cell_db: Database,
    known: Mapping[ProviderUuid, datetime],
    since: datetime | None,
    silent_before: datetime,
) -> Look:
    """Return what changed since the look that ended with ``since``, or compare everything without it.

    ``known`` are the nodes that are known, with their ``changed_at``. In the steady state it is three
    SELECTs, whose answers are no larger than what changed.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """

    def read(connection: sa.Connection) -> Look:
        at, count = connection.execute(_PULSE).one()
        gone: frozenset[ProviderUuid] = frozenset()
        stamps = _stamps(connection, since - _OVERLAP) if since is not None else {}
        if since is None or count != len(known.keys() | stamps.keys()):
            stamps = _stamps(connection, None)
            gone = frozenset(known.keys() - stamps)
        changed = [uuid for uuid, when in stamps.items() if known.get(uuid) != when]
        unusual = connection.execute(_UNUSUAL, {"silent_before": silent_before}).all()
        return Look(
            at=at,
            changed=_reports(connection, changed),
            gone=gone,
            unusual={
                row.host: Unusual(
                    enabled=row.enabled,
                    forced_down=row.forced_down,
                    disabled_reason=row.disabled_reason,
                    last_seen=row.last_seen,
                )
                for row in unusual
            },
        )

    return cell_db.query(read)


def _stamps(connection: sa.Connection, since: datetime | None) -> dict[ProviderUuid, datetime]:
    if since is None:
        rows = connection.execute(_STAMPS).all()
    else:
        rows = connection.execute(_STAMPS_SINCE, {"since": since}).all()
    return {row[0]: row[1] for row in rows}


def _reports(
    connection: sa.Connection, providers: Sequence[ProviderUuid]
) -> dict[ProviderUuid, SeenNode]:
    found: dict[ProviderUuid, SeenNode] = {}
    for first in range(0, len(providers), _AT_ONCE):
        asked = {"providers": providers[first : first + _AT_ONCE]}
        for uuid, host, changed_at, report in connection.execute(_REPORTS, asked).all():
            found[uuid] = SeenNode(host=host, changed_at=changed_at, report=_decode(report))
    return found
