"""What services use of ``threading``, ``time``, ``queue`` and ``concurrent.futures``, on a kernel.

``install`` puts these into every module of kilonova that is loaded, in place of the real ones.
"""

import concurrent.futures
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError, InvalidStateError
from types import ModuleType, SimpleNamespace
from typing import Any

import testtools

from tests.faults.world.kernel import Kernel, Process, Task

_NOT_THESE = ("kilonova.embedded", "kilonova.cli", "kilonova.http", "kilonova.rpc.")


def install(case: testtools.TestCase, kernel: Kernel) -> None:
    """Let the services' threads and time be the kernel's."""
    threads = Threads(kernel)
    replaced: dict[int, Any] = {
        id(threading): threads.threading,
        id(time): threads.time,
        id(queue): threads.queue,
        id(concurrent.futures.ThreadPoolExecutor): threads.executor,
        id(concurrent.futures.Future): threads.future,
        id(concurrent.futures.wait): threads.wait_all,
    }
    for name, module in list(sys.modules.items()):
        if not name.startswith("kilonova.") or name.startswith(_NOT_THESE):
            continue
        if isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if id(value) in replaced:
                    case.patch(module, attribute, replaced[id(value)])


class _Waiters:
    """Tasks that wait for the same."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._tasks: list[Task] = []

    def wait(self, seconds: float | None) -> bool:
        task = self._kernel.current()
        if task is not None:
            self._tasks.append(task)
        try:
            return self._kernel.wait(seconds)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)

    def wake_all(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self._kernel.wake(task)


class Threads:
    """The replacements, made for one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.threading = SimpleNamespace(
            Event=lambda: Event(kernel),
            Lock=lambda: Lock(kernel),
            RLock=lambda: RLock(kernel),
            Thread=lambda **how: Thread(kernel, **how),
            Timer=lambda seconds, work, arguments=(): Timer(kernel, seconds, work, arguments),
        )
        self.time = SimpleNamespace(
            monotonic=lambda: kernel.now,
            perf_counter=lambda: kernel.now,
            time=lambda: kernel.now,
            sleep=kernel.sleep,
        )
        self.queue = SimpleNamespace(SimpleQueue=lambda: SimpleQueue(kernel), Empty=queue.Empty)
        kernel_of = kernel

        class KernelFuture(Future):
            """A future of this kernel."""

            def __init__(self) -> None:
                super().__init__(kernel_of)

        self.future = KernelFuture
        self.executor = lambda *_size, **_names: Executor(kernel)
        self._kernel = kernel

    def wait_all(self, futures: Collection["Future"], timeout: float | None = None) -> Any:
        """Wait for all of them."""
        end = None if timeout is None else self._kernel.now + timeout
        for future in futures:
            if not future.done():
                future.wait(None if end is None else end - self._kernel.now)
        return SimpleNamespace(
            done={future for future in futures if future.done()},
            not_done={future for future in futures if not future.done()},
        )


class Event:
    """See ``threading.Event``."""

    def __init__(self, kernel: Kernel) -> None:
        self._set = False
        self._waiters = _Waiters(kernel)

    def is_set(self) -> bool:
        """See ``threading.Event``."""
        return self._set

    def set(self) -> None:
        """See ``threading.Event``."""
        self._set = True
        self._waiters.wake_all()

    def clear(self) -> None:
        """See ``threading.Event``."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """See ``threading.Event``."""
        if not self._set:
            self._waiters.wait(timeout)
        return self._set


class Lock:
    """See ``threading.Lock``."""

    def __init__(self, kernel: Kernel) -> None:
        self._held = False
        self._waiters = _Waiters(kernel)

    def acquire(self) -> bool:
        """See ``threading.Lock``."""
        while self._held:
            self._waiters.wait(None)
        self._held = True
        return True

    def release(self) -> None:
        """See ``threading.Lock``."""
        self._held = False
        self._waiters.wake_all()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


class RLock(Lock):
    """See ``threading.RLock``."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._kernel = kernel
        self._owner: Task | None = None
        self._depth = 0

    def acquire(self) -> bool:
        """See ``threading.RLock``."""
        task = self._kernel.current()
        if not self._held or self._owner is not task:
            super().acquire()
            self._owner = task
        self._depth += 1
        return True

    def release(self) -> None:
        """See ``threading.RLock``."""
        self._depth -= 1
        if not self._depth:
            super().release()


class Thread:
    """See ``threading.Thread``: a task of the process in whose name it is started."""

    def __init__(
        self, kernel: Kernel, *, target: Callable[..., object], args: tuple[Any, ...] = (), **_: Any
    ) -> None:
        self._kernel = kernel
        self._work = lambda: target(*args)
        self._task: Task | None = None

    def start(self) -> None:
        """See ``threading.Thread``."""
        self._task = self._kernel.spawn(_process(self._kernel), self._work)

    def is_alive(self) -> bool:
        """See ``threading.Thread``."""
        return self._task is not None and not self._task.greenlet.dead

    def join(self, timeout: float | None = None) -> None:
        """See ``threading.Thread``."""
        end = None if timeout is None else self._kernel.now + timeout
        while self.is_alive() and (end is None or self._kernel.now < end):
            self._kernel.sleep(0.1)


class Timer:
    """See ``threading.Timer``."""

    def __init__(
        self,
        kernel: Kernel,
        seconds: float,
        work: Callable[..., object],
        arguments: Collection[Any],
    ) -> None:
        self._kernel = kernel
        self._seconds = seconds
        self._work = work
        self._arguments = arguments
        self.daemon = False

    def start(self) -> None:
        """See ``threading.Timer``."""
        self._kernel.at(self._seconds, lambda: (self._work(*self._arguments), None)[1])


class SimpleQueue:
    """See ``queue.SimpleQueue``."""

    def __init__(self, kernel: Kernel) -> None:
        self._items: deque[Any] = deque()
        self._waiters = _Waiters(kernel)

    def put(self, item: Any) -> None:
        """See ``queue.SimpleQueue``."""
        self._items.append(item)
        self._waiters.wake_all()

    def get(self) -> Any:
        """See ``queue.SimpleQueue``."""
        while not self._items:
            self._waiters.wait(None)
        return self._items.popleft()

    def get_nowait(self) -> Any:
        """See ``queue.SimpleQueue``."""
        if not self._items:
            raise queue.Empty
        return self._items.popleft()


class Future:
    """See ``concurrent.futures.Future``."""

    def __init__(self, kernel: Kernel) -> None:
        self._waiters = _Waiters(kernel)
        self._state = "pending"
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def __class_getitem__(cls, _item: object) -> type["Future"]:
        return cls

    def _end(self, state: str) -> None:
        self._state = state
        self._waiters.wake_all()
        for callback in self._callbacks:
            callback(self)

    def done(self) -> bool:
        """See ``concurrent.futures.Future``."""
        return self._state != "pending"

    def cancelled(self) -> bool:
        """See ``concurrent.futures.Future``."""
        return self._state == "cancelled"

    def cancel(self) -> bool:
        """See ``concurrent.futures.Future``."""
        if not self.done():
            self._end("cancelled")
        return self.cancelled()

    def set_result(self, value: Any) -> None:
        """See ``concurrent.futures.Future``."""
        if self.done():
            raise InvalidStateError
        self._value = value
        self._end("done")

    def set_exception(self, error: BaseException) -> None:
        """See ``concurrent.futures.Future``."""
        if self.done():
            raise InvalidStateError
        self._error = error
        self._end("done")

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """See ``concurrent.futures.Future``."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def wait(self, timeout: float | None) -> None:
        """Wait until it is done, or the time is over."""
        if not self.done():
            self._waiters.wait(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See ``concurrent.futures.Future``."""
        self.wait(timeout)
        if self.cancelled():
            raise CancelledError
        if not self.done():
            raise TimeoutError
        return self._error

    def result(self, timeout: float | None = None) -> Any:
        """See ``concurrent.futures.Future``."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value


class Executor:
    """See ``concurrent.futures.ThreadPoolExecutor``: as many threads as there is work."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """See ``concurrent.futures.ThreadPoolExecutor``."""
        future = Future(self._kernel)

        def run() -> None:
            if future.done():
                return
            try:
                value = work(*arguments)
            except Exception as error:  # noqa: BLE001 - it is raised by whoever asks for the result.
                future.set_exception(error)
            else:
                future.set_result(value)

        self._kernel.spawn(_process(self._kernel), run)
        return future

    def map(self, work: Callable[..., Any], *columns: Collection[Any]) -> list[Any]:
        """See ``concurrent.futures.ThreadPoolExecutor``."""
        futures = [self.submit(work, *row) for row in zip(*columns, strict=False)]
        return [future.result() for future in futures]

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """See ``concurrent.futures.ThreadPoolExecutor``."""


def _process(kernel: Kernel) -> Process:
    if kernel.process is None:
        raise RuntimeError("Threads are started by processes.")
    return kernel.process
