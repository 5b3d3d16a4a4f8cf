"""Does operators' tasks: takes each at most once, and writes what came of it.

Each queue has workers of its own, so what is urgent never waits for what is not. A task whose conductor
died is ended with a reason by the converger, which also sends on what nobody took.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from kilonova.conductor.sampling import sample
from kilonova.core import fleet_vitals
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext, log_under, service_context
from kilonova.core.errors import KilonovaError, Unavailable
from kilonova.core.fleet_vitals import Line, VitalsQuery
from kilonova.core.ids import CellUuid
from kilonova.core.operator_task import OperatorTask, Stage, TaskQueue
from kilonova.db import operator_tasks, vitals
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.scatter import gather
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import RunTask

LOG = logging.getLogger(__name__)

_WORKERS = {TaskQueue.NORMAL: 2, TaskQueue.URGENT: 1}
_LINES = 1000
"""Lines in a part of a result."""

_encode_lines = msgspec.json.Encoder().encode_lines


class TaskWorkers:
    """The workers of one conductor."""

    def __init__(self, api_db: Database, cells: Cells, buses: Buses) -> None:
        self._api_db = api_db
        self._cells = cells
        self._buses = buses
        self._token = str(uuid.uuid4())
        self._stopped = False
        self._workers = {
            queue: ThreadPoolExecutor(count, f"{queue}-task") for queue, count in _WORKERS.items()
        }
        self._noted: set[str] = set()

    def stop(self) -> None:
        """Take no more. What is in hand is ended, saying so; what waits is done by another conductor."""
        self._stopped = True
        for workers in self._workers.values():
            workers.shutdown(wait=True, cancel_futures=True)

    def take_note(self, message: RunTask) -> None:
        """Do a task as soon as a worker of its queue is free."""
        if message.task_id not in self._noted and not self._stopped:
            self._noted.add(message.task_id)
            self._workers[message.queue].submit(self._take, message.task_id)

    def _take(self, task_id: str) -> None:
        try:
            task = operator_tasks.take(self._api_db, task_id, self._token, utcnow())
            if task is not None:
                log_under(_context_of(task))
                self._do(task)
        except KilonovaError as error:
            LOG.warning("Task %s waits, or is ended by the converger: %s", task_id, error)
        except Exception:
            LOG.exception("Task %s failed", task_id)
        finally:
            self._noted.discard(task_id)

    def _do(self, task: OperatorTask) -> None:
        LOG.info("Task %s (%s) begins", task.id, task.kind)
        try:
            ended, lines = self._vitals(task)
        except Exception as error:
            reason = str(error) if isinstance(error, KilonovaError) else "It failed unexpectedly."
            self._end(task, Stage.ERROR, reason=reason)
            if not isinstance(error, KilonovaError):
                raise
            return
        if ended is not None:
            self._end(ended, Stage.DONE, lines)

    def _end(
        self,
        task: OperatorTask,
        state: Stage,
        lines: Iterable[bytes] = (),
        reason: str | None = None,
    ) -> None:
        ended = msgspec.structs.replace(task, state=state, finished_at=utcnow(), reason=reason)
        if operator_tasks.finish(self._api_db, ended, self._token, tuple(lines)):
            LOG.info("Task %s is %s", task.id, state)

    def _vitals(self, task: OperatorTask) -> tuple[OperatorTask | None, Iterator[bytes]]:
        """Ask all hosts that the task is about; None in place of the task if it was cancelled."""
        wanted = VitalsQuery(host=task.filters.host, project=task.filters.project)
        found = gather(self._cells, lambda db: vitals.list_watched(db, wanted))
        buses = {
            host: self._bus(cell)
            for cell, servers in found.answers.items()
            for host in {server.host for server in servers}
        }
        silent = sorted(self._cells.get(cell).name for cell in found.silent)
        begun = msgspec.structs.replace(task, asked=len(buses), silent=tuple(silent))

        def goes_on(answered: int) -> bool:
            if self._stopped:
                raise Unavailable("The conductor that did the task was stopped.")
            so_far = msgspec.structs.replace(begun, answered=answered)
            return operator_tasks.note(self._api_db, so_far, self._token, utcnow())

        told = sample(buses, _context_of(task), goes_on)
        if told is None:
            LOG.info("Task %s was cancelled", task.id)
            return None, iter(())
        servers = [server for each in found.answers.values() for server in each]
        servers.sort(key=lambda server: server.uuid)
        lines = [fleet_vitals.line(one, told.vitals.get(one.uuid)) for one in servers]
        ended = msgspec.structs.replace(
            begun,
            answered=len(buses) - len(told.not_answering),
            not_answering=told.not_answering,
        )
        return ended, _parts(lines)

    def _bus(self, cell: CellUuid) -> Bus:
        return self._buses.at(self._cells.get(cell).transport_url)


def _parts(lines: Sequence[Line]) -> Iterator[bytes]:
    for first in range(0, len(lines), _LINES):
        yield _encode_lines(lines[first : first + _LINES])


def _context_of(task: OperatorTask) -> RequestContext:
    return msgspec.structs.replace(
        service_context(),
        request_id=task.request_id,
        user_id=task.user_id,
        project_id=task.project_id,
    )
