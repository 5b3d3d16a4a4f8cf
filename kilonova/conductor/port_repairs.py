"""Ports that outlived their servers: made for a server, and left when it went while the network service
was away.

Only those of servers that a cell positively knows to be deleted go: another deployment may have ports at
the same network service, marked as ours are.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CellUuid, InstanceUuid
from kilonova.db import cells, instances
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.http.network_cards import OURS, release
from kilonova.http.networks import Networks

LOG = logging.getLogger(__name__)

_EVERY = 300.0
"""Seconds from one look at all ports to the next."""
_AT_ONCE = 1000


class PortRepairs:
    """Finds such ports and lets go of them."""

    def __init__(self, networks: Networks | None, api_db: Database, all_cells: Cells) -> None:
        self._networks = networks
        self._api_db = api_db
        self._cells = all_cells
        self._looked_at = -_EVERY

    def repair(self) -> int:
        """Look, if it is time to; return of how many servers ports were let go of.

        Raises:
            NetworkUnavailable: the network service does not answer.
        """
        if self._networks is None or time.monotonic() - self._looked_at < _EVERY:
            return 0
        ports = self._networks.ports(description=OURS, fields=["id", "device_id"])
        uuids = sorted({InstanceUuid(port["device_id"]) for port in ports})
        gone = []
        for start in range(0, len(uuids), _AT_ONCE):
            gone += self._deleted(uuids[start : start + _AT_ONCE])
        for uuid in gone:
            LOG.warning("Ports of %s have outlived it; they are removed", uuid)
            release(self._networks, uuid)
        self._looked_at = time.monotonic()
        return len(gone)

    def _deleted(self, uuids: Sequence[InstanceUuid]) -> list[InstanceUuid]:
        """Return those of these servers that are deleted."""
        by_cell: defaultdict[CellUuid, list[InstanceUuid]] = defaultdict(list)
        for uuid, cell in cells.cells_of(self._api_db, uuids).items():
            by_cell[cell].append(uuid)
        gone = []
        for cell, mapped in by_cell.items():
            database = self._cells.database(cell)
            try:
                there = instances.known(database, mapped)
                for uuid in mapped:
                    if uuid not in there:
                        found = instances.get(database, uuid, with_deleted=True)
                        gone += [uuid] if found is not None and found.deleted else []
            except DatabaseUnavailable as error:
                LOG.warning("Ports of servers of cell %s are not looked at: %s", cell, error)
        return gone
