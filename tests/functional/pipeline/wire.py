"""Instruments on what a deployment in this process says to itself: messages, statements, HTTP requests."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable
from kilonova.core.ids import HostName
from kilonova.placement.client import Placement
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import BuildInstance, BuildInstances, Message

Sent = tuple[RequestContext, Message, HostName | None]


class Wire:
    """Stands on the in-memory bus: notes what is sent, and loses, repeats or refuses it.

    The answers to what is ``unanswered`` do not come, until it is over with ``answers_fail``.
    """

    def __init__(self, case: testtools.TestCase) -> None:
        self.sent: list[Sent] = []
        self.lost: set[str] = set()
        self.repeated: set[str] = set()
        self.unanswered: set[str] = set()
        self._awaited: list[Future[str]] = []
        self.is_away = False
        through = MemoryBus._put

        def put(
            bus: MemoryBus, context: RequestContext, message: Message, host: HostName | None
        ) -> "Future[str]":
            name = type(message).__name__
            self.sent.append((context, message, host))
            if self.is_away:
                raise BusUnavailable("The message bus is away.")
            if name in self.lost:
                return Future()
            if name in self.repeated:
                through(bus, context, message, host)
            answer = through(bus, context, message, host)
            if name in self.unanswered:
                answer = Future()
                self._awaited.append(answer)
            return answer

        case.patch(MemoryBus, "_put", put)

    def answers_fail(self) -> None:
        """Let nobody wait any longer for what is not answered."""
        self.unanswered.clear()
        while self._awaited:
            self._awaited.pop().set_exception(BusUnavailable("No answer."))

    def counts(self) -> Counter[str]:
        """Return how many of each message were sent."""
        return Counter(type(message).__name__ for _, message, _ in self.sent)

    def builds(self) -> list[BuildInstance]:
        """Return the builds that were sent to hosts, however many in one message."""
        found: list[BuildInstance] = []
        for _, message, _ in self.sent:
            if isinstance(message, BuildInstance):
                found.append(message)
            elif isinstance(message, BuildInstances):
                found += message.builds
        return found


class Statements:
    """Counts the statements that are sent to each database, by its file's name without suffix."""

    def __init__(self, case: testtools.TestCase) -> None:
        self.seen: list[tuple[str, str]] = []
        sa.event.listen(sa.Engine, "before_cursor_execute", self._note)
        case.addCleanup(sa.event.remove, sa.Engine, "before_cursor_execute", self._note)

    def _note(self, connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.seen.append((Path(connection.engine.url.database or "").stem, statement))

    def during(self, work: Callable[[], Any]) -> Counter[str]:
        """Return how many statements each database gets during some work."""
        self.seen.clear()
        work()
        return Counter(database for database, _ in self.seen)


class Requests:
    """Counts the requests to Placement."""

    def __init__(self, case: testtools.TestCase) -> None:
        self.seen: list[str] = []
        through = Placement._ask

        def ask(client: Placement, method: str, path: str, *rest: Any, **more: Any) -> Any:
            self.seen.append(f"{method} {path.partition('?')[0]}")
            return through(client, method, path, *rest, **more)

        case.patch(Placement, "_ask", ask)


class Outage:
    """Databases that do not answer: their driver fails, as it does when a server is away.

    ``away`` are whole databases, ``refused`` the beginnings of statements that none of them takes.
    """

    def __init__(self, case: testtools.TestCase) -> None:
        self.away: set[str] = set()
        self.refused: set[str] = set()
        sa.event.listen(sa.Engine, "do_execute", self._fail)
        case.addCleanup(sa.event.remove, sa.Engine, "do_execute", self._fail)

    def _fail(self, _cursor: Any, statement: str, _parameters: Any, context: Any) -> None:
        database = Path(context.engine.url.database or "").stem
        if database in self.away or statement.startswith(tuple(self.refused)):
            raise sqlite3.OperationalError("the server has gone away")
