"""The bus and Placement's HTTP, between processes that die: messages are lost, late, or come twice."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import falcon.testing
import greenlet
import msgspec
from keystoneauth1 import exceptions

from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable
from kilonova.core.ids import HostName
from kilonova.rpc.bus import DEFAULT_TIMEOUT, Dispatcher, Server, encode, read_answer
from kilonova.rpc.messages import Message, Topic
from tests.faults.world.kernel import Kernel, Process
from tests.faults.world.threads import Future

R = TypeVar("R", bound=msgspec.Struct)


class Weather:
    """What may go wrong with a message now: chances between 0 and 1.

    ``crash`` is asked before and after each send. ``bus_away`` and ``placement_away`` refuse everything.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self.twice = 0.0
        self.late = 0.0
        self.bus_away = False
        self.placement_away = False
        self.crash: Callable[[str], None] = lambda _where: None


class _Listener:
    def __init__(self, process: Process, name: str, dispatcher: Dispatcher) -> None:
        self.process = process
        self.name = name
        self.dispatcher = dispatcher
        self.stopped = False


class Network:
    """All buses of a world: queues that keep what nobody takes, and answers that may get lost."""

    def __init__(self, kernel: Kernel, weather: Weather, tell: Callable[[str], None]) -> None:
        self.kernel = kernel
        self.weather = weather
        self.tell = tell
        self._listeners: dict[tuple[str, Topic], list[_Listener]] = {}
        self._waiting: dict[
            tuple[str, Topic], list[tuple[str | None, Callable[[_Listener], None]]]
        ] = {}
        self.under_way = 0
        """Messages and answers that have not arrived."""
        self.bugs: list[str] = []

    def delay(self) -> float:
        """Return how long a message takes."""
        chance = self.kernel.chance
        if chance.random() < self.weather.late:
            return chance.uniform(1.0, 90.0)
        return chance.expovariate(200.0)

    def put(
        self,
        at: tuple[str, Topic],
        host: str | None,
        parts: tuple[str, str, str],
        answer: Future | None,
    ) -> None:
        """Send a message, as the weather lets it."""
        chance, name = self.kernel.chance, parts[1]
        if chance.random() < self.weather.lost:
            self.tell(f"{name} is lost")
            return
        times = 2 if chance.random() < self.weather.twice else 1
        for _ in range(times):
            self._carry(lambda: self._arrive(at, host, parts, answer))

    def _carry(self, deliver: Callable[[], None]) -> None:
        """Let something arrive, some time."""
        self.under_way += 1

        def arrive() -> None:
            self.under_way -= 1
            deliver()

        self.kernel.at(self.delay(), arrive)

    def _arrive(
        self,
        at: tuple[str, Topic],
        host: str | None,
        parts: tuple[str, str, str],
        answer: Future | None,
    ) -> None:
        def handle(listener: _Listener) -> None:
            self.kernel.spawn(
                listener.process, lambda: self._handle(listener.dispatcher, parts, answer)
            )

        fit = [
            x
            for x in self._listeners.get(at, [])
            if x.process.alive and not x.stopped and host in (None, x.name)
        ]
        if fit:
            handle(self.kernel.chance.choice(fit))
        else:
            self._waiting.setdefault(at, []).append((host, handle))

    def _handle(
        self, dispatcher: Dispatcher, parts: tuple[str, str, str], answer: Future | None
    ) -> None:
        text = dispatcher.dispatch(*parts)
        failure = json.loads(text).get("failure")
        if failure and failure["code"] == "internal":
            self.bugs.append(f"{parts[1]}: {failure['message']}")
        if answer is None:
            return
        self.weather.crash(f"before the answer to {parts[1]}")
        if self.kernel.chance.random() < self.weather.lost:
            self.tell(f"the answer to {parts[1]} is lost")
            return
        self._carry(lambda: None if answer.done() else answer.set_result(text))

    def join(self, at: tuple[str, Topic], listener: _Listener) -> None:
        """Hand messages to a listener, first those that wait for one."""
        self._listeners.setdefault(at, []).append(listener)
        waiting = self._waiting.pop(at, [])
        for host, handle in waiting:
            if host in (None, listener.name):
                handle(listener)
            else:
                self._waiting.setdefault(at, []).append((host, handle))


class _Server:
    def __init__(self, listener: _Listener) -> None:
        self._listener = listener

    def stop(self) -> None:
        self._listener.stopped = True


class WorldBus:
    """One process's ``Bus`` behind one URL."""

    def __init__(self, network: Network, process: Process, url: str) -> None:
        self._network = network
        self._process = process
        self._url = url

    def cast(
        self, context: RequestContext, message: Message, *, host: HostName | None = None
    ) -> None:
        """Send; see ``Bus``."""
        self._send(context, message, host, None)

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
        promise = Future(self._network.kernel)
        self._send(context, message, host, promise)
        try:
            text = promise.result(timeout)
        except TimeoutError as error:
            raise BusUnavailable(f"No answer to {type(message).__name__} in time.") from error
        return read_answer(text, answer)

    def _send(
        self,
        context: RequestContext,
        message: Message,
        host: HostName | None,
        answer: Future | None,
    ) -> None:
        kernel, weather, name = self._network.kernel, self._network.weather, type(message).__name__
        if kernel.over:
            raise greenlet.GreenletExit
        kernel.pause()
        weather.crash(f"before {name}")
        if weather.bus_away:
            raise BusUnavailable("The message bus is away.")
        parts = (encode(context), name, encode(message))
        self._network.put((self._url, message.topic), host, parts, answer)
        weather.crash(f"after {name}")

    def serve(self, topic: Topic, name: str, handlers: object, *, threads: int = 16) -> Server:
        """Listen; see ``Bus``."""
        listener = _Listener(self._process, name, Dispatcher(topic, handlers))
        self._network.join((self._url, topic), listener)
        return _Server(listener)

    def close(self) -> None:
        """Nothing is open."""


class WorldBuses:
    """One process's buses; see ``rpc.connect.Buses``."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    def default(self) -> WorldBus:
        """Return the top level's."""
        return self.at("memory://top")

    def at(self, url: str) -> WorldBus:
        """Return the one behind a URL."""
        return WorldBus(self._network, self._process, url)


class Http:
    """An application in a process of its own, that others ask."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._app: Any = None
        self.process: Process | None = None
        self._asked: set[Future] = set()

    def serve(self, process: Process, app: Any) -> None:
        """Be served by a process, until it dies."""
        self.process = process
        self._app = app

        def die() -> None:
            asked, self._asked = self._asked, set()
            for answer in asked:
                answer.set_exception(exceptions.ConnectFailure("The connection was lost."))

        process.on_death.append(die)

    def ask(self, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        """Ask, and wait for the answer.

        Raises:
            ConnectFailure: there is none, whatever became of the request.
        """
        kernel = self._network.kernel
        if kernel.over:
            raise greenlet.GreenletExit
        process = self.process
        if process is None or not process.alive or self._network.weather.placement_away:
            raise exceptions.ConnectFailure("Nobody listens.")
        answer = Future(kernel)
        self._asked.add(answer)

        def serve() -> None:
            result = _serve(self._app, method, path, headers, body)
            if result.status_code == 500:
                self._network.bugs.append(f"{method} {path}: {result.text}")
            if answer in self._asked:
                self._asked.discard(answer)
                if kernel.chance.random() < self._network.weather.lost:
                    answer.set_exception(exceptions.ConnectFailure("The answer was lost."))
                else:
                    answer.set_result(result)

        kernel.spawn(process, serve)
        return answer.result()


class Answer:
    """An answer as ``requests`` shows it."""

    def __init__(self, status: str, content: bytes) -> None:
        self.status_code = int(status.split(" ", 1)[0])
        self.content = content

    @property
    def text(self) -> str:
        """The body."""
        return self.content.decode()

    def json(self) -> Any:
        """Return what the body says."""
        return json.loads(self.content)


def _serve(app: Any, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
    """Let an application answer; falcon's own client would check each time that it speaks WSGI."""
    path, _, query = path.partition("?")
    environ = falcon.testing.create_environ(
        path, query_string=query, method=method, headers=headers, body=body or b""
    )
    begun: list[str] = []
    parts = app(environ, lambda status, _headers, _error=None: begun.append(status))
    return Answer(begun[0], b"".join(parts))


class PlacementAdapter:
    """What Placement's client asks through."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.default_microversion = "1.36"

    def request(self, path: str, method: str, **how: Any) -> Answer:
        """Ask."""
        version = how.get("microversion") or self.default_microversion
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": f"placement {version}"}
        headers |= how.get("headers") or {}
        answer: Answer = self._http.ask(method, path, headers, how.get("data"))
        return answer
