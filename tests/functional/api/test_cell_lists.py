"""Lists over several cells: every walk through the pages is the sorted union, whatever it goes by."""

import os
import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import testscenarios
from testtools.content import text_content

from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance, KeyPair, Wishes
from kilonova.core.states import PowerState, VmState
from tests.functional.api.api_case import ADMIN, ANN
from tests.functional.api.cells_case import CELL2, CELL3, CELLS, CellsCase
from tests.functional.db.api_database import NOW, flavor
from tests.functional.db.databases import make

load_tests = testscenarios.load_tests_apply_scenarios

_MARIADB = os.environ.get("KILONOVA_TEST_MARIADB")
_POSTGRESQL = os.environ.get("KILONOVA_TEST_POSTGRESQL")

KEYS: dict[str, Callable[[Instance], Any]] = {
    "created_at": lambda i: i.created_at,
    "updated_at": lambda i: i.updated_at,
    "display_name": lambda i: i.name,
    "display_description": lambda i: i.description,
    "host": lambda i: i.host,
    "vm_state": lambda i: i.vm_state,
    "task_state": lambda i: i.task_state,
    "power_state": lambda i: int(i.power_state),
    "project_id": lambda i: i.project_id,
    "user_id": lambda i: i.user_id,
    "uuid": lambda i: i.uuid,
    "launched_at": lambda i: i.launched_at,
    "availability_zone": lambda i: i.availability_zone,
    "key_name": lambda i: i.wishes.key_pair.name if i.wishes.key_pair else None,
    "instance_type_id": lambda i: i.flavor.flavor_id,
    "locked": lambda i: i.locked_by,
}
"""Sort key of the API -> what it goes by."""

Sort = list[tuple[str, str]]


def expected(servers: Iterable[Instance], sort: Sort) -> list[str]:
    """Return the UUIDs in order: nothing is smallest, and equals go by UUID in the last direction."""
    ordered = list(servers)
    last = sort[-1][1] if sort else "desc"
    keys = sort or [("created_at", "desc")]
    for key, direction in reversed([*keys, ("uuid", last)]):
        value = KEYS[key]
        ordered.sort(
            key=lambda i, v=value: (v(i) is not None, v(i) if v(i) is not None else 0),  # type: ignore[misc]
            reverse=direction == "desc",
        )
    return [server.uuid for server in ordered]


class ExactListsTest(CellsCase):
    """Sixty servers of few values in three cells and cell0, and build requests."""

    scenarios = [("SQLite", {"servers": {}})]
    if _MARIADB and _POSTGRESQL:
        scenarios.append(("three kinds", {"servers": {"cell2": _MARIADB, "cell3": _POSTGRESQL}}))
    servers: dict[str, str] = {}

    def database_url(self, name: str) -> str:
        """Return where a database is."""
        if name in self.servers:
            return make(self.servers[name], name)
        return super().database_url(name)

    def options(self) -> str:
        """Let no cell be left out, however busy the machine is."""
        return "[api]\ncell_timeout = 120\n"

    def setUp(self) -> None:
        super().setUp()
        seed = int(os.environ.get("KILONOVA_TEST_SEED") or random.getrandbits(32))
        self.addDetail("seed", text_content(str(seed)))
        self.chance = random.Random(seed)
        self.all = [self._random() for _ in range(60)]

    def _random(self) -> Instance:
        some = self.chance.choice
        cell = some((*CELLS, CELL2, CELL3, None))
        moment = NOW + timedelta(seconds=some((0, 0, 1, 2.000001, 2.000002)))
        key = KeyPair(name=some(("k", "K")), kind="ssh", fingerprint="", public_key="")
        fields: dict[str, Any] = {
            "uuid": InstanceUuid(f"{self.chance.getrandbits(32):08x}-0000-4000-8000-000000000000"),
            "name": some(("a", "B", "b", "é", "_", "vm")),
            "description": some((None, "x", "X", "ÿ")),
            "project_id": some(("project-a", "project-a", "project-b")),
            "user_id": some(("ann", "Ann")),
            "created_at": moment,
            "flavor": flavor(flavor_id=some(("1", "2"))),
            "wishes": Wishes(key_pair=some((None, key))),
        }
        if cell is not None:
            fields |= {
                "updated_at": moment + timedelta(seconds=some((0, 1))),
                "host": some((None, HostName("h1"), HostName("h2"))),
                "vm_state": some((VmState.ACTIVE, VmState.ERROR, VmState.STOPPED)),
                "task_state": None,
                "power_state": some((PowerState.RUNNING, PowerState.SHUTDOWN)),
                "launched_at": some((None, moment)),
                "availability_zone": some((None, "z1", "Z2")),
                "locked_by": some((None, "owner", "admin")),
                "deleted": some((False, False, False, True)),
            }
        return self.add(cell, **fields)

    def _sort(self) -> Sort:
        keys = self.chance.sample(sorted(KEYS), self.chance.choice((0, 1, 1, 2, 3)))
        return [(key, self.chance.choice(("asc", "desc"))) for key in keys]

    def _walked(self, sort: Sort, *more: tuple[str, str], **how: str) -> list[str]:
        limit = self.chance.choice((4, 7, 25, 1000))
        query = [("limit", str(limit)), *more]
        for key, direction in sort:
            query += [("sort_key", key), ("sort_dir", direction)]
        return [server["id"] for server in self.walk(f"?{urlencode(query)}", **how)]

    def test_every_walk_is_the_sorted_union(self) -> None:
        alive = [server for server in self.all if not server.deleted]
        for _ in range(12):
            sort = self._sort()
            walked = self._walked(sort, ("all_tenants", "1"), token=ADMIN)
            self.assertEqual(expected(alive, sort), walked, sort)

    def test_every_walk_through_what_a_filter_leaves_is_its_sorted_union(self) -> None:
        def changed(server: Instance) -> Any:
            return server.updated_at or server.created_at

        since, before = NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)
        everybody = ("all_tenants", "1")
        filters: list[tuple[list[tuple[str, str]], Callable[[Instance], bool]]] = [
            ([("changes-since", f"{since.isoformat()}Z")], lambda i: changed(i) >= since),
            ([("changes-before", f"{before.isoformat()}Z")], lambda i: changed(i) <= before),
            ([("deleted", "true")], lambda i: i.deleted),
            ([("name", "b")], lambda i: "b" in i.name and not i.deleted),
            ([("status", "ACTIVE")], lambda i: i.vm_state is VmState.ACTIVE and not i.deleted),
            ([("locked", "true")], lambda i: i.locked_by is not None and not i.deleted),
            (
                [("project_id", "project-b")],
                lambda i: i.project_id == "project-b" and not i.deleted,
            ),
        ]
        for asked, fits in filters:
            sort = self._sort()
            walked = self._walked(sort, everybody, *asked, token=ADMIN)
            wanted = [server for server in self.all if fits(server)]
            self.assertEqual(expected(wanted, sort), walked, (asked, sort))

    def test_a_walk_goes_by_mappings_where_a_cell_is_away(self) -> None:
        self.lose(CELL2)
        alive = [server for server in self.all if not server.deleted]
        for sort in ([], [("user_id", "asc")], [("project_id", "desc"), ("created_at", "asc")]):
            walked = self._walked(sort, ("all_tenants", "1"), token=ADMIN)
            self.assertEqual(expected(alive, sort), walked, sort)
        mine = [server for server in alive if server.project_id == "project-a"]
        self.assertEqual(expected(mine, []), self._walked([], token=ANN))
