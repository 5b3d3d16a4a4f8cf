"""Reshaping: inventories that move from provider to provider with what is allocated of them, at once."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from kilonova.core.errors import GenerationConflict, NoSuchProvider, NotFound
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_claims, placement_inventories, placement_names
from kilonova.db.engine import Database
from kilonova.db.placement_claims import Claim
from kilonova.db.placement_providers import next_generation, touch


class NewInventories(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is to have, by class, and the generation that the caller read it with."""

    generation: int
    inventories: Mapping[str, Inventory]


def reshape(
    database: Database,
    inventories: Mapping[str, NewInventories],
    claims: Sequence[Claim],
    custom: Collection[str] = (),
) -> None:
    """Give providers new inventories and consumers new allocations, or change nothing at all.

    ``custom`` are the classes that are not standard.

    Raises:
        NoSuchProvider: naming a provider that does not exist.
        GenerationConflict: a provider or a consumer is not as the caller read it.
        InventoryInUse: an inventory that goes away is still allocated, or has less than is allocated.
        NoCapacity: what consumers are to hold does not fit into what providers are to have.
        Invalid: a custom class is not there.
    """

    def work(connection: sa.Connection) -> None:
        placement_names.hold(connection, "class", custom)
        before = {}
        # What is to be had is added first and what goes away last, so that allocations can move between.
        for uuid in sorted(inventories):
            wanted = inventories[uuid]
            try:
                grow = bool(wanted.inventories)
                next_generation(connection, uuid, wanted.generation, grow=grow)
            except NotFound as error:
                raise NoSuchProvider(
                    f"Resource provider {uuid} in inventories not found"
                ) from error
            before[uuid] = placement_inventories.write(connection, uuid, wanted.inventories)
        placement_claims.exchange(connection, claims)
        for uuid in sorted(inventories):
            placement_inventories.check_use(connection, uuid, before[uuid])
            placement_inventories.drop_others(connection, uuid, inventories[uuid].inventories)
        # Each of the steps is a generation, as a client that counts them expects.
        touch(connection, inventories, grow=True)

    with placement_claims.explained(database):
        try:
            database.write(work)
        except exc.IntegrityError as error:
            raise GenerationConflict("A consumer was made by another request.") from error
