"""Time, tasks and processes: one task runs at a time until it waits; then the clock goes on to the next."""

import heapq
import itertools
import random
from collections.abc import Callable

import greenlet

_JITTER = 0.002
"""Seconds within which what is ready at once is put in an order of chance."""


class Process:
    """Something that may be killed: none of its tasks ever goes on after that."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        """Nothing of it happens before that moment."""
        self.away = 0.0
        """Seconds after its death that it is away for; 0 leaves that to chance."""
        self.on_death: list[Callable[[], None]] = []


class Task:
    """A thread of a process."""

    def __init__(self, kernel: "Kernel", process: Process, work: Callable[[], object]) -> None:
        self.process = process
        self.ticket = 0
        self.woken = False
        self.failure: BaseException | None = None

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - it is told by whoever runs the world.
                kernel.failures.append((process.name, error))

        self.greenlet = greenlet.greenlet(run, parent=kernel.hub)


class Kernel:
    """The clock and what happens when. ``chance`` decides everything that is not decided."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.over = False
        self.hub = greenlet.getcurrent()
        self.failures: list[tuple[str, Exception]] = []
        self.killed: list[str] = []
        self._current: Task | None = None
        self._count = itertools.count()
        self._agenda: list[tuple[float, int, Task | Callable[[], None], int]] = []
        self._tasks: list[Task] = []

    @property
    def process(self) -> Process | None:
        """The process of the task that runs."""
        return self._current.process if self._current else None

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something ``seconds`` from now, in nobody's name; it must not wait."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._count), what, 0))

    def spawn(self, process: Process, work: Callable[[], object]) -> Task:
        """Begin a task."""
        task = Task(self, process, work)
        self._tasks.append(task)
        self._push(self.chance.random() * _JITTER, task)
        return task

    def _push(self, seconds: float, task: Task) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self._count), task, task.ticket))

    def wait(self, seconds: float | None = None) -> bool:
        """Let the task that runs wait until it is woken (True), or until the time is over (False)."""
        task = self._current
        if task is None or self.over:
            raise greenlet.GreenletExit
        task.ticket += 1
        task.woken = False
        if seconds is not None:
            self._push(max(0.0, seconds), task)
        self.hub.switch()
        return task.woken

    def sleep(self, seconds: float) -> None:
        """Let the task that runs wait for so long."""
        self.wait(seconds)

    def pause(self) -> None:
        """Let others go first, perhaps."""
        if self._current is not None:
            self.wait(self.chance.random() * _JITTER)

    def current(self) -> Task | None:
        """Return the task that runs."""
        return self._current

    def wake(self, task: Task) -> None:
        """End a task's waiting."""
        task.ticket += 1
        task.woken = True
        self._push(self.chance.random() * _JITTER, task)

    def kill(self, process: Process) -> None:
        """End a process at once; if the task that runs is one of its own, it does not return."""
        if not process.alive:
            return
        process.alive = False
        self.killed.append(process.name)
        for told in process.on_death:
            told()
        if self._current is not None and self._current.process is process:
            self.wait()

    def run(self, until: float) -> None:
        """Go on until a moment."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, what, ticket = heapq.heappop(self._agenda)
            if not isinstance(what, Task):
                what()
            elif not what.process.alive or what.ticket != ticket or what.greenlet.dead:
                continue
            elif what.process.frozen_until > self.now:
                self._push(what.process.frozen_until - self.now, what)
            else:
                self._current = what
                try:
                    what.greenlet.switch()
                finally:
                    self._current = None
        self.now = until

    def end(self) -> None:
        """Let go of every task that waits."""
        self.over = True
        for task in self._tasks:
            if task.greenlet and not task.greenlet.dead:
                task.greenlet.throw(greenlet.GreenletExit)
        self._tasks.clear()
