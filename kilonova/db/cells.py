"""Cells: the mappings in the API database, and the databases and buses behind them."""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import Conflict, NotFound
from kilonova.core.ids import CELL0, CellUuid, HostName, InstanceUuid, ProjectId
from kilonova.db.api_schema import CellMapping, HostMapping, InstanceMapping
from kilonova.db.cell_database import CellDatabase
from kilonova.db.engine import Database
from kilonova.db.statements import insert_if_absent, table_of

T = TypeVar("T")

_cells = table_of(CellMapping)
_hosts = table_of(HostMapping)
_mappings = table_of(InstanceMapping)


_EVERY_CELL = sa.select(_cells).order_by(_cells.c.uuid)
_HOSTS_IN = sa.select(_hosts.c.host).where(_hosts.c.cell_uuid == sa.bindparam("cell"))


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell's mapping. ``transport_url`` and ``database_connection`` hold passwords."""

    uuid: CellUuid
    name: str
    transport_url: str
    database_connection: str
    disabled: bool = False


def list_cells(api_db: Database) -> tuple[Cell, ...]:
    """Return every cell, cell0 first."""
    rows = api_db.query(lambda c: c.execute(_EVERY_CELL).mappings().all())
    return tuple(Cell(**row) for row in rows)


def find_cell(api_db: Database, name: str) -> Cell:
    """Return a cell by its UUID or its name.

    Raises:
        NotFound: there is no such cell.
    """
    for cell in list_cells(api_db):
        if name in {cell.uuid, cell.name}:
            return cell
    raise NotFound(f"Cell {name} could not be found.")


def create_cell(api_db: Database, cell: Cell) -> None:
    """Write a cell's mapping.

    Raises:
        Conflict: a cell of that name or UUID is there.
    """
    try:
        api_db.write(lambda c: c.execute(sa.insert(_cells).values(msgspec.structs.asdict(cell))))
    except exc.IntegrityError as error:
        raise Conflict(f"There is a cell named {cell.name} or with UUID {cell.uuid}.") from error


def update_cell(api_db: Database, uuid: CellUuid, values: Mapping[str, Any]) -> None:
    """Change fields of a cell's mapping.

    Raises:
        NotFound: there is no such cell.
    """
    change = sa.update(_cells).where(_cells.c.uuid == uuid).values(dict(values))
    if not api_db.write(lambda c: c.execute(change).rowcount):
        raise NotFound(f"Cell {uuid} could not be found.")


def delete_cell(api_db: Database, uuid: CellUuid, *, with_deleted: bool = False) -> None:
    """Remove a cell that no server is in, with the mappings of its hosts.

    ``with_deleted`` forgets the servers that were deleted there; without it, they keep the cell.

    Raises:
        NotFound: there is no such cell.
        Conflict: servers are in it.
    """
    mine = _mappings.c.cell_uuid == uuid

    def work(connection: sa.Connection) -> None:
        if with_deleted:
            gone = sa.and_(mine, _mappings.c.queued_for_delete.is_(True))
            connection.execute(sa.delete(_mappings).where(gone))
        count = sa.select(sa.func.count()).where(mine)
        if servers := connection.execute(count).scalar_one():
            raise Conflict(
                f"Cell {uuid} still has {servers} servers"
                + ("." if with_deleted else ", deleted ones included.")
            )
        connection.execute(sa.delete(_hosts).where(_hosts.c.cell_uuid == uuid))
        if not connection.execute(sa.delete(_cells).where(_cells.c.uuid == uuid)).rowcount:
            raise NotFound(f"Cell {uuid} could not be found.")

    api_db.write(work)


def map_hosts(api_db: Database, cell_uuid: CellUuid, hosts: Collection[HostName]) -> None:
    """Map hosts to a cell; those that are mapped already stay where they are."""
    rows = [{"host": host, "cell_uuid": cell_uuid} for host in sorted(hosts)]
    if rows:
        api_db.write(lambda c: insert_if_absent(c, _hosts, rows, "host"))


def unmap_host(api_db: Database, host: HostName) -> None:
    """Forget which cell a host is in."""
    api_db.write(lambda c: c.execute(sa.delete(_hosts).where(_hosts.c.host == host)))


def mapped_hosts(api_db: Database) -> dict[HostName, CellUuid]:
    """Return the cell of every mapped host."""
    query = sa.select(_hosts.c.host, _hosts.c.cell_uuid)
    return {row[0]: row[1] for row in api_db.query(lambda c: c.execute(query).all())}


def hosts_in(api_db: Database, cell_uuid: CellUuid) -> frozenset[HostName]:
    """Return the hosts that are mapped to a cell."""
    mine = {"cell": cell_uuid}
    return frozenset(api_db.query(lambda c: c.execute(_HOSTS_IN, mine).scalars().all()))


def cell_of_host(api_db: Database, host: HostName) -> CellUuid | None:
    """Return the cell that a host is mapped to, or None."""
    query = sa.select(_hosts.c.cell_uuid).where(_hosts.c.host == host)
    found: CellUuid | None = api_db.query(lambda c: c.execute(query).scalar())
    return found


class InstanceCell(msgspec.Struct, frozen=True):
    """Where a server is. ``cell_uuid`` is None while it is a build request."""

    instance_uuid: InstanceUuid
    project_id: ProjectId
    cell_uuid: CellUuid | None
    queued_for_delete: bool


_MAPPING = sa.select(*(_mappings.c[name] for name in InstanceCell.__struct_fields__)).where(
    _mappings.c.instance_uuid == sa.bindparam("uuid")
)


def mapping_of(api_db: Database, uuid: InstanceUuid) -> InstanceCell | None:
    """Return where a server is, or None."""
    row = api_db.query(lambda c: c.execute(_MAPPING, {"uuid": uuid}).first())
    return None if row is None else InstanceCell(*row)


def cells_of(api_db: Database, uuids: Collection[InstanceUuid]) -> dict[InstanceUuid, CellUuid]:
    """Return the cell of each of these servers that has one."""
    query = sa.select(_mappings.c.instance_uuid, _mappings.c.cell_uuid).where(
        _mappings.c.instance_uuid.in_(uuids), _mappings.c.cell_uuid.is_not(None)
    )
    return {row[0]: row[1] for row in api_db.query(lambda c: c.execute(query).all())}


class Cells:
    """The databases of all cells, opened when first needed and kept.

    The mappings are read again when a cell is asked for that is not known yet. ``patience`` is how many
    seconds those who ask several cells at once wait for one of them.
    """

    def __init__(self, api_db: Database, *, pool_size: int = 10, patience: float = 10.0) -> None:
        self.patience = patience
        self._api_db = api_db
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._known: dict[CellUuid, Cell] = {}
        self._open: dict[str, CellDatabase] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}

    def all(self) -> tuple[Cell, ...]:
        """Return every cell, cell0 first, as last read."""
        if not self._known:
            self.refresh()
        return tuple(self._known.values())

    def refresh(self) -> None:
        """Read the mappings again."""
        self._known = {cell.uuid: cell for cell in list_cells(self._api_db)}

    def get(self, uuid: CellUuid) -> Cell:
        """Return one cell.

        Raises:
            NotFound: there is no such cell.
        """
        if uuid not in self._known:
            self.refresh()
        if uuid not in self._known:
            raise NotFound(f"Cell {uuid} could not be found.")
        return self._known[uuid]

    def database(self, uuid: CellUuid) -> CellDatabase:
        """Return the database of a cell.

        Raises:
            NotFound: there is no such cell.
        """
        url = self.get(uuid).database_connection
        with self._lock:
            if url not in self._open:
                self._open[url] = CellDatabase(url, pool_size=self._pool_size)
            return self._open[url]

    def cell0(self) -> CellDatabase:
        """Return the database of the servers that never got a host."""
        return self.database(CELL0)

    def ask(self, uuid: CellUuid, work: Callable[[Database], T]) -> Future[T]:
        """Begin some work on a cell's database in one of its threads.

        They are as many as a pool has connections, so a cell that hangs takes no more than these.

        Raises:
            NotFound: there is no such cell.
        """
        database = self.database(uuid)
        url = self.get(uuid).database_connection
        with self._lock:
            if url not in self._threads:
                self._threads[url] = ThreadPoolExecutor(self._pool_size, "ask-cell")
            return self._threads[url].submit(work, database)

    def dispose(self) -> None:
        """Close every database."""
        with self._lock:
            for threads in self._threads.values():
                threads.shutdown(wait=False, cancel_futures=True)
            for database in self._open.values():
                database.dispose()
            self._threads.clear()
            self._open.clear()
