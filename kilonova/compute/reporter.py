"""Reports to the cell conductor: one thread, in order, whatever is queued in one message, until taken."""

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from kilonova.core.context import service_context
from kilonova.core.errors import KilonovaError, Unavailable
from kilonova.core.ids import HostName
from kilonova.core.report import InstanceReport
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import ReportInstances, ReportsTaken

LOG = logging.getLogger(__name__)

_LARGEST_BATCH = 200
_TIMEOUT = 20.0
_LONGEST_PAUSE = 5.0
_TRIES = 3
"""Times that a report is offered which the conductor takes but cannot handle."""

_Entry = tuple[InstanceReport, "Future[bool]"]


class Reporter:
    """Sends reports. Nothing is lost while the broker or the conductor is away: the queue waits."""

    def __init__(self, bus: Bus, host: HostName) -> None:
        self._bus = bus
        self._host = host
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"report-{host}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send what is queued, for at most ``seconds``."""
        self._queue.put(None)
        self._thread.join(timeout=seconds)
        self._stopped.set()

    def send(self, report: InstanceReport) -> "Future[bool]":
        """Queue a report; the future tells whether it was taken (False: refused)."""
        answer: Future[bool] = Future()
        self._queue.put((report, answer))
        return answer

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            try:
                while len(batch) < _LARGEST_BATCH:
                    following = self._queue.get_nowait()
                    if following is None:
                        self._queue.put(None)
                        break
                    batch.append(following)
            except queue.Empty:
                pass
            self._deliver(batch)

    def _deliver(self, batch: Sequence[_Entry]) -> None:
        pause, tries, silent = 0.1, 0, False
        while not self._stopped.is_set():
            try:
                self._offer(batch)
            except Unavailable as error:
                if not silent:
                    LOG.warning("Reports of %s wait: %s", self._host, error)
                silent = True
            except KilonovaError as error:
                tries += 1
                if tries == _TRIES:
                    self._give_up(batch, error)
                    return
            else:
                if silent:
                    LOG.info("Reports of %s go through again", self._host)
                return
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _offer(self, batch: Sequence[_Entry]) -> None:
        reports = tuple(report for report, _ in batch)
        message = ReportInstances(host=self._host, reports=reports)
        answer = self._bus.call(service_context(), message, ReportsTaken, timeout=_TIMEOUT)
        for index, (_, future) in enumerate(batch):
            future.set_result(index not in answer.refused)

    def _give_up(self, batch: Sequence[_Entry], error: KilonovaError) -> None:
        """One report of several may be what cannot be handled: offer each by itself, then let it go."""
        if len(batch) > 1:
            for entry in batch:
                self._deliver([entry])
            return
        report, future = batch[0]
        LOG.error("A report on %s could not be handled: %s", report.instance_uuid, error)
        future.set_result(False)
