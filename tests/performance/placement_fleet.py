"""Fleets of resource providers for the placement benchmark: described as values, and filled in bulk."""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from kilonova.db import placement_schema as schema
from kilonova.db.engine import Database
from kilonova.db.statements import table_of

FLAT = {"VCPU": 64, "MEMORY_MB": 262144, "DISK_GB": 4096}
_TRAITS = ("COMPUTE_NODE", "COMPUTE_STATUS_DISABLED", "HW_CPU_X86_AVX", "HW_CPU_X86_SSE42")
_SHARES = "MISC_SHARES_VIA_AGGREGATE"
_CHUNK = 5_000


class Node(NamedTuple):
    """A provider: totals and what is used of them by class, traits, and aggregates."""

    uuid: str
    stock: dict[str, tuple[int, int]]
    parent: str | None = None
    root: str = ""
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()


def uuid() -> str:
    """Return a random UUID; cheaper than uuid4 by the million."""
    return str(UUID(bytes=os.urandom(16), version=4))


def flat(count: int, *, with_room: float = 1.0) -> Iterator[Node]:
    """Yield hosts, of which a share has room and the others have given all their VCPUs away."""
    chance = random.Random(count)
    for _ in range(count):
        full = chance.random() >= with_room
        stock = {name: (n, n if full and name == "VCPU" else 0) for name, n in FLAT.items()}
        yield Node(uuid(), stock, traits=_TRAITS)


def tree(children: int) -> Iterator[Node]:
    """Yield a root with children that have one unit each."""
    root = uuid()
    yield Node(root, {"PCPU": (64, 0)})
    for _ in range(children):
        yield Node(uuid(), {"SRIOV_NET_VF": (1, 0)}, parent=root, root=root)


def sharing(roots: int, shared: int) -> Iterator[Node]:
    """Yield hosts without disk, all in an aggregate with some storage pools."""
    aggregate = uuid()
    for _ in range(shared):
        pool = {"DISK_GB": (10**6, 0)}
        yield Node(uuid(), pool, traits=(_SHARES,), aggregates=(aggregate,))
    for _ in range(roots):
        yield Node(uuid(), {"VCPU": (64, 0), "MEMORY_MB": (262144, 0)}, aggregates=(aggregate,))


def wipe(database: Database) -> None:
    """Remove every provider and allocation, and what a server keeps of removed rows for a while."""
    tables = schema.PlacementBase.metadata.sorted_tables
    names = [table.name for table in reversed(tables)]
    with database.engine.begin() as connection:
        match database.url.get_backend_name():
            case "postgresql":
                connection.execute(sa.text(f"TRUNCATE {', '.join(names)}"))
            case "sqlite":
                for table in reversed(tables):
                    connection.execute(sa.delete(table))
            case _:
                connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 0"))
                for name in names:
                    connection.execute(sa.text(f"TRUNCATE {name}"))
                connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 1"))


def fill(database: Database, nodes: Iterable[Node]) -> list[str]:
    """Write providers straight into kilonova's tables; return their UUIDs."""
    nodes, uuids = iter(nodes), []
    while chunk := list(islice(nodes, _CHUNK)):
        uuids += [node.uuid for node in chunk]
        rows = {
            schema.Provider: [_provider(node) for node in chunk],
            schema.StoredInventory: [row for node in chunk for row in _inventories(node)],
            schema.ProviderTrait: [
                {"provider_uuid": node.uuid, "trait": name}
                for node in chunk
                for name in node.traits
            ],
            schema.ProviderAggregate: [
                {"provider_uuid": node.uuid, "aggregate_uuid": name}
                for node in chunk
                for name in node.aggregates
            ],
        }
        with database.engine.begin() as connection:
            for mapped, listed in rows.items():
                if listed:
                    connection.execute(sa.insert(table_of(mapped)), listed)
    # What a server does by itself within minutes.
    analyse = {
        "postgresql": "VACUUM ANALYZE",
        "mysql": "ANALYZE TABLE resource_providers, inventories",
    }
    if statement := analyse.get(database.url.get_backend_name()):
        with database.read() as connection:
            connection.execute(sa.text(statement))
    return uuids


def _provider(node: Node) -> dict[str, Any]:
    return {
        "uuid": node.uuid,
        "name": node.uuid,
        "parent_uuid": node.parent,
        "root_uuid": node.root or node.uuid,
    }


def _inventories(node: Node) -> Iterator[dict[str, Any]]:
    for name, (total, used) in node.stock.items():
        yield {
            "provider_uuid": node.uuid,
            "resource_class": name,
            "total": total,
            "reserved": 0,
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": 1.0,
            "capacity": total,
            "used": used,
        }


Ask = Callable[[str, str, Any], Any]
"""(method, path, body) -> the decoded answer."""


def fill_by_api(ask: Ask, nodes: Iterable[Node]) -> list[str]:
    """Make providers in any Placement service, a few at a time; return their UUIDs."""

    def make(node: Node) -> str:
        body: dict[str, Any] = {"uuid": node.uuid, "name": node.uuid}
        if node.parent:
            body["parent_provider_uuid"] = node.parent
        ask("POST", "/resource_providers", body)
        generation = 0
        inventories = {name: {"total": n, "max_unit": n} for name, (n, _) in node.stock.items()}
        for what, value in (
            ("inventories", inventories),
            ("traits", node.traits),
            ("aggregates", node.aggregates),
        ):
            if value:
                path = f"/resource_providers/{node.uuid}/{what}"
                body = {"resource_provider_generation": generation, what: value}
                generation = ask("PUT", path, body)["resource_provider_generation"]
        return node.uuid

    listed = list(nodes)
    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(make, [node for node in listed if not node.parent]))
        return roots + list(pool.map(make, [node for node in listed if node.parent]))
