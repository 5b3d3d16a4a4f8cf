"""A bus in this process's memory: the embedded deployment's, and the functional tests'.

It encodes and decodes every message as the distributed bus does, so nothing works here that would not
work there. Buses opened on one URL share their queues.
"""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

import msgspec

from kilonova.core.context import RequestContext
from kilonova.core.errors import NoAnswer
from kilonova.core.ids import HostName
from kilonova.rpc.bus import DEFAULT_TIMEOUT, Dispatcher, Server, encode, read_answer
from kilonova.rpc.messages import Message, Topic

LOG = logging.getLogger(__name__)

R = TypeVar("R", bound=msgspec.Struct)


class _Listener:
    """One server: a pool of threads before a dispatcher."""

    def __init__(self, queue: "_Queue", dispatcher: Dispatcher, name: str, threads: int) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.name = name

    def take(self, context: str, kind: str, body: str) -> "Future[str]":
        return self._pool.submit(self._dispatcher.dispatch, context, kind, body)

    def stop(self) -> None:
        self._queue.leave(self)
        self._pool.shutdown(wait=True)


class _Queue:
    """The listeners of one topic, and the messages that wait for one, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[_Listener] = []
        self._waiting: list[tuple[str | None, tuple[str, str, str], Future[str]]] = []
        self._turn = 0

    def join(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.append(listener)
            mine = [w for w in self._waiting if w[0] in (None, listener.name)]
            self._waiting = [w for w in self._waiting if w[0] not in (None, listener.name)]
            for _, parts, promise in mine:
                _chain(listener.take(*parts), promise)

    def leave(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.remove(listener)

    def put(self, host: str | None, parts: tuple[str, str, str]) -> "Future[str]":
        with self._lock:
            fit = [x for x in self._listeners if host is None or x.name == host]
            if fit:
                self._turn += 1
                return fit[self._turn % len(fit)].take(*parts)
            promise: Future[str] = Future()
            self._waiting.append((host, parts, promise))
            return promise


def _chain(source: "Future[str]", target: "Future[str]") -> None:
    source.add_done_callback(lambda done: target.set_result(done.result()))


class _Broker:
    """The queues behind one URL."""

    _brokers: dict[str, "_Broker"] = {}
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[Topic, _Queue] = {}

    @classmethod
    def at(cls, url: str) -> "_Broker":
        with cls._guard:
            return cls._brokers.setdefault(url, cls())

    def queue(self, topic: Topic) -> _Queue:
        with self._lock:
            return self._queues.setdefault(topic, _Queue())


class MemoryBus:
    """The ``Bus`` behind ``memory://NAME``."""

    def __init__(self, url: str) -> None:
        self._broker = _Broker.at(url)
        self._servers: list[_Listener] = []

    def cast(
        self, context: RequestContext, message: Message, *, host: HostName | None = None
    ) -> None:
        """Send; see ``Bus``."""
        self._put(context, message, host)

    def call(
        self,
        context: RequestContext,
        message: Message,
        answer: type[R],
        *,
        host: HostName | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> R:
        """Send and wait; see ``Bus``."""
        try:
            text = self._put(context, message, host).result(timeout)
        except FutureTimeout as error:
            name = type(message).__name__
            raise NoAnswer(f"No answer to {name} within {timeout:g} s.") from error
        return read_answer(text, answer)

    def serve(self, topic: Topic, name: str, handlers: object, *, threads: int = 16) -> Server:
        """Listen; see ``Bus``."""
        queue = self._broker.queue(topic)
        listener = _Listener(queue, Dispatcher(topic, handlers), name, threads)
        queue.join(listener)
        self._servers.append(listener)
        return listener

    def close(self) -> None:
        """Nothing is open."""

    def _put(
        self, context: RequestContext, message: Message, host: HostName | None
    ) -> "Future[str]":
        parts = (encode(context), type(message).__name__, encode(message))
        return self._broker.queue(message.topic).put(host, parts)
