"""What claims ask of inventories, class by class, and the statements that take it."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from kilonova.core.scheduling import Allocation


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


def taking(inventories: sa.Table, wanted: Demands) -> Iterator[tuple[sa.Update, int]]:
    """Yield the UPDATEs that take what is wanted where there is room, and how many rows each must change.

    There is one for all the providers of which the same is wanted.
    """
    alike: defaultdict[tuple[tuple[str, Demand], ...], list[str]] = defaultdict(list)
    for provider, by_class in wanted.items():
        alike[tuple(sorted(by_class.items(), key=lambda item: item[0]))].append(provider)
    columns = inventories.c
    for shape, providers in alike.items():
        changes = {name: demand.change for name, demand in shape}
        statement = (
            sa.update(inventories)
            .where(
                columns.provider_uuid.in_(sorted(providers)),
                columns.resource_class.in_(list(changes)),
                sa.or_(*(sa.and_(*_fits(columns, name, demand)) for name, demand in shape)),
            )
            .values(used=columns.used + sa.case(changes, value=columns.resource_class))
        )
        yield statement, len(shape) * len(providers)


def _fits(columns: Any, name: str, demand: Demand) -> Iterator[sa.ColumnElement[bool]]:
    yield columns.resource_class == name
    if demand.change > 0:
        # Who takes no more than it gives back may do so on a provider that is over its capacity.
        yield columns.used + demand.change <= columns.capacity
    if demand.most:
        yield columns.min_unit <= demand.least
        yield columns.max_unit >= demand.most
        yield sa.literal(demand.divisor) % columns.step_size == 0


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
            "The requested amount would exceed the capacity: "
            f"asked {demand.change}, capacity {row.capacity}, used {row.used}."
        )
    if not demand.most:
        return ""
    if demand.least < row.min_unit or demand.most > row.max_unit or demand.divisor % row.step_size:
        return (
            "The requested amount would violate inventory constraints: "
            f"min_unit {row.min_unit}, max_unit {row.max_unit}, step_size {row.step_size}."
        )
    return ""
