"""The reshaper over HTTP: inventories that move between providers, with what is allocated of them."""

from kilonova.db.placement_reshape import NewInventories, reshape
from kilonova.placement.allocations import read_claim
from kilonova.placement.inventories import check, read
from kilonova.placement.names import check_classes, custom_classes
from kilonova.placement.schemas import RESHAPER, since
from kilonova.placement.wire import Answer, Asked


def change(asked: Asked) -> Answer:
    """``POST /reshaper``: all of it, or nothing."""
    body = asked.body(since(asked.version, RESHAPER))
    inventories = {}
    for uuid, given in body["inventories"].items():
        wanted = {name: read(values) for name, values in given["inventories"].items()}
        check(uuid, wanted, asked.version)
        generation = int(given["resource_provider_generation"])
        inventories[uuid.lower()] = NewInventories(generation=generation, inventories=wanted)
    claims = [read_claim(asked, consumer, one) for consumer, one in body["allocations"].items()]
    classes = {name for one in inventories.values() for name in one.inventories}
    classes |= {n for claim in claims for by_class in claim.allocation.values() for n in by_class}
    check_classes(asked.database, classes, "malformed reshaper data")
    had = {name for one in inventories.values() for name in one.inventories}
    reshape(asked.database, inventories, claims, custom_classes(had))
    return Answer(status=204)
