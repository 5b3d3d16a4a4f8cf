"""Where the servers are that a request's hints name, or its group has. Asked only where there are some."""

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.scheduling import RequestSpec
from kilonova.db import instances
from kilonova.db.cells import Cells, mapping_of
from kilonova.db.engine import Database
from kilonova.scheduler.filters import hints
from kilonova.scheduler.group_members import GroupMembers
from kilonova.scheduler.neighbour_filters import DIFFERENT, SAME

_MOST = 100
"""Servers that one request may name; the others count as unknown."""


class Neighbours:
    """Looks servers up in the cells."""

    def __init__(self, api_db: Database, cells: Cells) -> None:
        self._api_db = api_db
        self._cells = cells

    def hosts_named_by(self, spec: RequestSpec) -> dict[str, HostName]:
        """Return the host of every server of the same project that the hints name.

        Raises:
            DatabaseUnavailable: nothing can be decided until it is known.
        """
        found: dict[str, HostName] = {}
        named = dict.fromkeys(hints(spec, DIFFERENT) + hints(spec, SAME))
        for uuid in list(named)[:_MOST]:
            host = self._host_of(spec, InstanceUuid(uuid))
            if host is not None:
                found[uuid] = host
        return found

    def group_of(self, spec: RequestSpec) -> GroupMembers | None:
        """Return the members of the request's group, if it has one; nothing is read yet."""
        return GroupMembers(self._api_db, self._cells, spec.group) if spec.group else None

    def _host_of(self, spec: RequestSpec, uuid: InstanceUuid) -> HostName | None:
        mapping = mapping_of(self._api_db, uuid)
        if mapping is None or mapping.cell_uuid is None or mapping.project_id != spec.project_id:
            return None
        instance = instances.get(self._cells.database(mapping.cell_uuid), uuid)
        return instance.host if instance else None
