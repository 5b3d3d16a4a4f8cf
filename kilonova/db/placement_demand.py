"""What claims ask of inventories, class by class, and the statements that take it."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from kilonova.core.scheduling import Allocation
from kilonova.db.placement_schema import StoredInventory
from kilonova.db.statements import table_of

_inventories = table_of(StoredInventory)


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one class of one provider.

    ``change`` is what ``used`` grows by, below 0 if more is given back than taken. ``least``, ``most`` and
    ``divisor`` are the smallest single amount, the largest, and the greatest number that divides them all:
    what ``min_unit``, ``max_unit`` and ``step_size`` are compared with. They are 0 if nothing is taken.
    """

    change: int
    least: int = 0
    most: int = 0
    divisor: int = 0


Demands = dict[str, dict[str, Demand]]
"""Provider -> class -> demand."""


def demands(taken: Sequence[Allocation], given: Collection[Allocation]) -> Demands:
    """Return what taking some allocations and giving others back asks of each inventory."""
    amounts: defaultdict[str, defaultdict[str, list[int]]]
    amounts = defaultdict(lambda: defaultdict(list))
    back: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for allocation in taken:
        for provider, by_class in allocation.items():
            for name, amount in by_class.items():
                amounts[provider][name].append(amount)
    for allocation in given:
        for provider, by_class in allocation.items():
            for name, amount in by_class.items():
                back[provider][name] += amount
                # Also where nothing is taken there is a demand.
                amounts[provider][name] += []
    return {
        provider: {
            name: Demand(
                change=sum(each) - back[provider][name],
                least=min(each, default=0),
                most=max(each, default=0),
                divisor=math.gcd(*each),
            )
            for name, each in by_class.items()
        }
        for provider, by_class in amounts.items()
    }


class Taking(NamedTuple):
    """An UPDATE that takes what is wanted of some providers where there is room, and how many rows it then
    changes."""

    statement: sa.Update
    parameters: dict[str, Any]
    rows: int


def taking(wanted: Demands) -> Iterator[Taking]:
    """Yield what takes all that is wanted: one UPDATE for all the providers of which the same is wanted."""
    alike: defaultdict[tuple[tuple[str, Demand], ...], list[str]] = defaultdict(list)
    for provider, by_class in wanted.items():
        alike[tuple(sorted(by_class.items(), key=lambda item: item[0]))].append(provider)
    for shape, providers in alike.items():
        parameters: dict[str, Any] = {"providers": providers}
        for place, (_name, demand) in enumerate(shape):
            parameters[f"change{place}"] = demand.change
            if demand.most:
                parameters[f"least{place}"] = demand.least
                parameters[f"most{place}"] = demand.most
                parameters[f"divisor{place}"] = demand.divisor
        classes = tuple((name, d.change > 0, d.most > 0) for name, d in shape)
        yield Taking(_statement(classes), parameters, len(shape) * len(providers))


@lru_cache(maxsize=1024)
def _statement(classes: tuple[tuple[str, bool, bool], ...]) -> sa.Update:
    """Return the UPDATE for some classes, of each whether its use grows and whether any of it is taken.

    Built once: most of a claim's processor time would otherwise go into building it.
    """
    columns = _inventories.c
    changes = {
        name: sa.bindparam(f"change{place}", type_=sa.BigInteger)
        for place, (name, _grows, _takes) in enumerate(classes)
    }
    fits = [
        sa.and_(columns.resource_class == name, *_guards(place, grows=grows, takes=takes))
        for place, (name, grows, takes) in enumerate(classes)
    ]
    return (
        sa.update(_inventories)
        .where(
            columns.provider_uuid.in_(sa.bindparam("providers", expanding=True)),
            columns.resource_class.in_(list(changes)),
            sa.or_(*fits),
        )
        .values(used=columns.used + sa.case(changes, value=columns.resource_class))
    )


def _guards(place: int, *, grows: bool, takes: bool) -> Iterator[sa.ColumnElement[bool]]:
    columns = _inventories.c
    if grows:
        # Who takes no more than it gives back may do so on a provider that is over its capacity.
        change = sa.bindparam(f"change{place}", type_=sa.BigInteger)
        yield columns.used + change <= columns.capacity
    if takes:
        yield columns.min_unit <= sa.bindparam(f"least{place}")
        yield columns.max_unit >= sa.bindparam(f"most{place}")
        divisor = sa.bindparam(f"divisor{place}", type_=sa.Integer)
        yield divisor % columns.step_size == 0


def misfits(wanted: Mapping[str, Mapping[str, Demand]], rows: Mapping[Any, Any]) -> list[str]:
    """Return a sentence for each demand that its inventory refuses. ``rows`` are the inventories by
    (provider, class)."""
    return [
        f"Inventory for '{name}' on resource provider '{provider}' refuses it. {reason}"
        for provider, by_class in sorted(wanted.items())
        for name, demand in sorted(by_class.items(), key=lambda item: item[0])
        if (reason := _misfit(demand, rows.get((provider, name))))
    ]


def _misfit(demand: Demand, row: Any) -> str:
    if row is None:
        return "There is none."
    if demand.change > 0 and row.used + demand.change > row.capacity:
        return (
            "It would exceed the capacity: "
            f"asked {demand.change}, capacity {row.capacity}, used {row.used}."
        )
    if not demand.most:
        return ""
    if demand.least < row.min_unit or demand.most > row.max_unit or demand.divisor % row.step_size:
        return (
            "It would break the bounds of an amount: "
            f"min_unit {row.min_unit}, max_unit {row.max_unit}, step_size {row.step_size}."
        )
    return ""
