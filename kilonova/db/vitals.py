"""How a cell's servers are, as their hosts told last.

A host's word is one document in one row: storing it costs one UPDATE, however many servers it has, and a
list of them two SELECTs.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec
import sqlalchemy as sa

from kilonova.core.fleet_vitals import VitalsQuery, Watched
from kilonova.core.ids import HostName
from kilonova.core.instance import Nic
from kilonova.core.states import TaskState, VmState
from kilonova.core.vitals import HostVitals
from kilonova.db.cell_schema import StoredInstance, StoredVitals
from kilonova.db.engine import Database
from kilonova.db.statements import among, insert_if_absent, table_of

_instances = table_of(StoredInstance)
_vitals = table_of(StoredVitals)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HostVitals).decode
_decode_nics = msgspec.json.Decoder(tuple[Nic, ...]).decode
_AT_ONCE = 500

_CHANGE = sa.update(_vitals).where(_vitals.c.host == sa.bindparam("b_host"))
_TOLD = sa.select(_vitals.c.host, _vitals.c.vitals).where(among(_vitals.c.host, "hosts"))
_COLUMNS = (
    *(_instances.c[name] for name in Watched.__struct_fields__ if name != "addresses"),
    _instances.c.nics,
    _instances.c.access_ipv4,
    _instances.c.access_ipv6,
)


def store(connection: sa.Connection, host: HostName, vitals: HostVitals, now: datetime) -> None:
    """Keep what a host told, within the transaction of a connection."""
    values = {"at": now, "vitals": _encode(vitals)}
    if not connection.execute(_CHANGE, values | {"b_host": host}).rowcount:
        insert_if_absent(connection, _vitals, [values | {"host": host}], "host")


def forget(connection: sa.Connection, host: HostName) -> None:
    """Forget what a host told, within the transaction of a connection."""
    connection.execute(sa.delete(_vitals).where(_vitals.c.host == host))


def list_watched(cell_db: Database, wanted: VitalsQuery) -> tuple[Watched, ...]:
    """Return the servers on hosts, in order of their UUIDs."""
    query = (
        sa.select(*_COLUMNS)
        .where(_instances.c.deleted.is_(False), _instances.c.host.is_not(None))
        .order_by(_instances.c.uuid)
        .limit(wanted.limit)
    )
    if wanted.host is not None:
        query = query.where(_instances.c.host == wanted.host)
    if wanted.project is not None:
        query = query.where(_instances.c.project_id == wanted.project)
    if wanted.after is not None:
        query = query.where(_instances.c.uuid > wanted.after)
    return tuple(_watched(row) for row in cell_db.query(lambda c: c.execute(query).all()))


def _watched(row: "sa.Row[tuple[object, ...]]") -> Watched:
    values = dict(row._mapping)
    task, nics = values["task_state"], values.pop("nics")
    cards = _decode_nics(nics) if nics else ()
    said = (values.pop("access_ipv4"), values.pop("access_ipv6"))
    addresses = dict.fromkeys([*(nic.address for nic in cards), *filter(None, said)])
    values |= {
        "vm_state": VmState(values["vm_state"]),
        "task_state": None if task is None else TaskState(task),
        "addresses": tuple(addresses),
    }
    return Watched(**values)


def told_by(cell_db: Database, hosts: Collection[HostName]) -> dict[HostName, HostVitals]:
    """Return what each of these hosts told last, if it told anything."""
    asked = sorted(hosts)
    found: dict[HostName, HostVitals] = {}
    for first in range(0, len(asked), _AT_ONCE):
        chunk = {"hosts": asked[first : first + _AT_ONCE]}
        rows = cell_db.query(lambda c, some=chunk: c.execute(_TOLD, some).all())  # type: ignore[misc]
        found |= {HostName(row[0]): _decode(row[1]) for row in rows}
    return found
