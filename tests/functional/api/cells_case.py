"""A Compute API over three cells, with servers in them."""

import itertools
from typing import Any

import sqlalchemy as sa

from kilonova.core.ids import CELL0, CellUuid, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db import acceptance, build_requests, instances
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.api_schema import CellMapping, InstanceMapping
from kilonova.db.engine import Database
from kilonova.db.statements import table_of
from tests.functional.api.api_case import CELL, ApiCase
from tests.functional.api.population import FLAVOR, REQUEST
from tests.functional.db import servers

CELL2 = CellUuid("22222222-2222-4222-8222-222222222222")
CELL3 = CellUuid("33333333-3333-4333-8333-333333333333")
CELLS = (CELL0, CELL, CELL2, CELL3)

_cells = table_of(CellMapping)
_mappings = table_of(InstanceMapping)
_UNLIMITED = Limits(instances=-1, cores=-1, ram=-1)
_numbers = itertools.count(1)


class CellsCase(ApiCase):
    """Three cells and cell0; ``self.cell_dbs`` are their databases."""

    def setUp(self) -> None:
        super().setUp()
        cell0 = Database(f"sqlite:///{self.directory}/cell0.sqlite")
        self.addCleanup(cell0.dispose)
        self.cell_dbs = {CELL: self.cell_db, CELL0: cell0}
        for uuid, name in ((CELL2, "cell2"), (CELL3, "cell3")):
            database = self.open(name, "cell")
            self.cell_dbs[uuid] = database
            self.add_cell(uuid, name, database.url.render_as_string(hide_password=False))

    def add(self, cell: CellUuid | None, **changed: Any) -> Instance:
        """Write a server of project-a into a cell, or a build request."""
        number = next(_numbers)
        fields: dict[str, Any] = {
            "uuid": InstanceUuid(f"bbbbbbbb-0000-4000-8000-{number:012}"),
            "name": f"vm-{number}",
            "flavor": FLAVOR,
        }
        server = servers.instance(**fields | changed)
        spec = RequestSpec(
            project_id=server.project_id, user_id=server.user_id, flavor=server.flavor, image=None
        )
        accepted = Accepted(instance=server, spec=spec, request_id=REQUEST)
        acceptance.accept(self.api_db, [Lot([accepted], _UNLIMITED)])
        if cell is not None:
            build_requests.take(self.api_db, [server.uuid], "c", server.created_at)
            build_requests.settle(self.api_db, {server.uuid: cell}, "c")
            placed = servers.placed(uuid=server.uuid)
            one = placed.__class__(instance=server, action=placed.action)
            instances.insert(self.cell_dbs[cell], [one])
        if server.deleted:
            build_requests.queue_for_delete(self.api_db, server.uuid)
        return server

    def point(self, cell: CellUuid, url: str) -> None:
        """Say that a cell's database is elsewhere."""
        change = sa.update(_cells).where(_cells.c.uuid == cell).values(database_connection=url)
        self.api_db.write(lambda connection: connection.execute(change))

    def lose(self, cell: CellUuid) -> None:
        """Let a cell's database be away."""
        self.point(cell, f"sqlite:///{self.directory}/nothing/{cell}.sqlite")

    def find(self, cell: CellUuid) -> None:
        """Let it be back."""
        self.point(cell, self.cell_dbs[cell].url.render_as_string(hide_password=False))

    def walk(self, query: str, **how: str) -> list[dict[str, Any]]:
        """Return the servers of all pages, following their links; none is longer than it may be."""
        found: list[dict[str, Any]] = []
        path = f"/servers{query}"
        while path:
            page = self.asked(200, "GET", path, **how)
            found += page["servers"]
            (link,) = page.get("servers_links", [{"href": ""}])
            path = link["href"].partition("/v2.1")[2]
        return found
