"""Asking every cell the same thing at once: a cell that does not answer is named, and fails nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import msgspec

from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CELL0, CellUuid
from kilonova.db.cells import Cells
from kilonova.db.engine import Database

T = TypeVar("T")


class Gathered(msgspec.Struct, Generic[T], frozen=True):
    """What the cells answered, and those that did not."""

    answers: dict[CellUuid, T]
    silent: frozenset[CellUuid]


def gather(cells: Cells, work: Callable[[Database], T], *, hosts_only: bool = True) -> Gathered[T]:
    """Ask the databases of the cells that have hosts to offer, or of all: cell0 and disabled ones, too.

    Raises:
        DatabaseUnavailable: the API database does not answer.
    """
    # Read anew: a cell that was made since the last look has hosts and servers, too.
    cells.refresh()
    asked = [
        cell.uuid
        for cell in cells.all()
        if not hosts_only or (cell.uuid != CELL0 and not cell.disabled)
    ]

    def ask(uuid: CellUuid) -> T | DatabaseUnavailable:
        try:
            return work(cells.database(uuid))
        except DatabaseUnavailable as silence:
            return silence

    if len(asked) > 1:
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = dict(zip(asked, pool.map(ask, asked), strict=True))
    else:
        answers = {uuid: ask(uuid) for uuid in asked}
    return Gathered(
        {u: a for u, a in answers.items() if not isinstance(a, DatabaseUnavailable)},
        frozenset(u for u, a in answers.items() if isinstance(a, DatabaseUnavailable)),
    )
