"""Asking several cells at once: one that does not answer in time is named, and holds up nothing."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import exc

from kilonova.core.errors import DatabaseUnavailable
from kilonova.core.ids import CELL0, CellUuid
from kilonova.db.cells import Cells
from kilonova.db.engine import Database

LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Gathered(msgspec.Struct, Generic[T], frozen=True):
    """What the cells answered, and those that did not."""

    answers: dict[CellUuid, T]
    silent: frozenset[CellUuid]


def gather(cells: Cells, work: Callable[[Database], T], *, hosts_only: bool = True) -> Gathered[T]:
    """Ask every cell that can have hosts, or every cell: cell0, too.

    Raises:
        DatabaseUnavailable: the API database does not answer.
    """
    # Read anew: a cell that was made since the last look has hosts and servers, too.
    cells.refresh()
    asked = [cell.uuid for cell in cells.all() if not hosts_only or cell.uuid != CELL0]
    return gather_from(cells, dict.fromkeys(asked, work))


def gather_from(cells: Cells, work: Mapping[CellUuid, Callable[[Database], T]]) -> Gathered[T]:
    """Ask each of these cells something of its own, and wait for at most ``cells.patience`` seconds.

    Raises:
        NotFound: there is no such cell.
    """
    asked = {uuid: cells.ask(uuid, one) for uuid, one in work.items()}
    wait(asked.values(), timeout=cells.patience)
    answers: dict[CellUuid, T] = {}
    for uuid, answer in asked.items():
        if not answer.done():
            # What has not begun never will; what has begun is cut off if the database is away.
            answer.cancel()
            cells.database(uuid).doubt()
            continue
        try:
            answers[uuid] = answer.result()
        except DatabaseUnavailable:
            continue
        except exc.DBAPIError as error:
            # Its schema is not ours, or it refuses us: no reason to refuse what the others have.
            LOG.warning("Cell %s cannot be asked: %s", uuid, error.orig)
    return Gathered(answers, frozenset(asked.keys() - answers.keys()))
