"""What is known of silent hosts: each step by compare-and-set, and only while the host stays silent.

A sign of life is an UPDATE of the host's service row. Whoever acts on a host's death holds that row, so
that of the two one comes first.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.host_failure import Fence, Verdict
from kilonova.core.ids import HostName
from kilonova.core.instance import Instance
from kilonova.db import hosts
from kilonova.db.cell_schema import HostFence, StoredInstance, StoredService
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

_fences = table_of(HostFence)
_services = table_of(StoredService)
_instances = table_of(StoredInstance)

_COLUMNS = [_fences.c[name] for name in Fence.__struct_fields__]
_LONGEST_WORDS = 2000

_ALL = sa.select(*_COLUMNS).order_by(_fences.c.host)
_DEAD = (
    sa.select(_fences.c.host)
    .join(_services, _services.c.host == _fences.c.host)
    .where(
        _services.c.binary == hosts.COMPUTE,
        _services.c.last_seen == _fences.c.since,
        _fences.c.verdict == Verdict.DEAD,
    )
)

_RAISE = (
    sa.update(_instances)
    .where(
        _instances.c.uuid == sa.bindparam("b_uuid"),
        _instances.c.host == sa.bindparam("b_host"),
        _instances.c.epoch == sa.bindparam("b_epoch"),
        # Whatever began meanwhile set a task: it is not to be disturbed.
        sa.func.coalesce(_instances.c.task_state, "") == sa.bindparam("b_task"),
        _instances.c.deleted.is_(False),
    )
    .values(epoch=_instances.c.epoch + 1)
)


def _fence_of(row: Any) -> Fence:
    return Fence(**row | {"verdict": Verdict(row["verdict"])})


def all_of(cell_db: Database) -> dict[HostName, Fence]:
    """Return what is known, by host."""
    rows = cell_db.query(lambda c: c.execute(_ALL).mappings().all())
    return {row["host"]: _fence_of(dict(row)) for row in rows}


def dead(cell_db: Database) -> frozenset[HostName]:
    """Return the hosts whose fence said that they are off, and that gave no sign of life since."""
    return frozenset(cell_db.query(lambda c: c.execute(_DEAD).scalars().all()))


def surely_dead(cell_db: Database) -> frozenset[HostName]:
    """Return the hosts of which an operator, or a fence, says that they are dead."""
    return hosts.forced_down(cell_db) | dead(cell_db)


def suspect(cell_db: Database, host: HostName, since: datetime, now: datetime) -> None:
    """Take note that nothing was heard of a host since ``since``."""
    row = msgspec.structs.asdict(
        Fence(host=host, since=since, verdict=Verdict.SUSPECTED, changed_at=now)
    )
    cell_db.write(lambda c: insert_if_absent(c, _fences, [row], "host"))


def ask(
    cell_db: Database, seen: Fence, token: str, servers: Sequence[Instance], now: datetime
) -> Fence | None:
    """Become the one who asks a host's fence; None if another is, or the host gave a sign of life.

    With it the epochs of these servers are raised: nothing that the host says of them, or is told, counts
    any more. A server with which something has begun since it was read is left as it is.
    """
    asked = msgspec.structs.replace(
        seen, verdict=Verdict.ASKED, changed_at=now, tries=seen.tries + 1, token=token
    )
    change = _same(seen).values(
        verdict=asked.verdict, changed_at=now, tries=asked.tries, token=token
    )

    def work(connection: sa.Connection) -> Fence | None:
        if not _stays(connection, seen) or not connection.execute(change).rowcount:
            return None
        for server in servers:
            connection.execute(
                _RAISE,
                {
                    "b_uuid": server.uuid,
                    "b_host": seen.host,
                    "b_epoch": server.epoch,
                    "b_task": server.task_state or "",
                },
            )
        return asked

    return cell_db.write(work)


def answer(cell_db: Database, asked: Fence, words: str, now: datetime, *, yes: bool) -> bool:
    """Note what a fence said; False if another asked it since, or the host gave a sign of life."""
    verdict = Verdict.DEAD if yes else Verdict.REFUSED
    change = _same(asked).values(verdict=verdict, changed_at=now, words=words[-_LONGEST_WORDS:])

    def work(connection: sa.Connection) -> bool:
        still = _stays(connection, asked)
        return still and bool(connection.execute(change).rowcount)

    return cell_db.write(work)


def forget(cell_db: Database, seen: Fence) -> bool:
    """Know nothing of a host any more; False if somebody else has learnt something."""
    there = sa.delete(_fences).where(*_sameness(seen))
    return bool(cell_db.write(lambda c: c.execute(there).rowcount))


def holds(connection: sa.Connection, fence: Fence) -> bool:
    """Whether a host is still known to be dead; nothing changes that before this transaction ends."""
    query = sa.select(_fences.c.host).where(*_sameness(fence)).with_for_update()
    return _stays(connection, fence) and connection.execute(query).first() is not None


def _stays(connection: sa.Connection, fence: Fence) -> bool:
    return hosts.stays_silent(connection, hosts.Silence(fence.host, fence.since))


def _sameness(seen: Fence) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _fences.c.host == seen.host,
        _fences.c.since == seen.since,
        _fences.c.verdict == seen.verdict,
        _fences.c.tries == seen.tries,
        _fences.c.token == seen.token,
    )


def _same(seen: Fence) -> sa.Update:
    return sa.update(_fences).where(*_sameness(seen))
