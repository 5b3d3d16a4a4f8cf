"""Reports to the cell conductor: one thread, in order, whatever is queued in one message, until taken."""

import contextlib
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError

import msgspec

from kilonova.core.context import service_context
from kilonova.core.errors import BuildFailed, KilonovaError, Unavailable
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.report import REPORTS_OF_A_START, InstanceReport
from kilonova.core.states import PowerState
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import ReportInstances, ReportsTaken

LOG = logging.getLogger(__name__)

_LARGEST_BATCH = 200
_TIMEOUT = 20.0
_LONGEST_PAUSE = 5.0
_LOOKS = 1.0
"""Seconds between two looks at whether whoever asks has come to an end."""
_TRIES = 3
"""Times that a report is offered which the conductor takes but cannot handle."""


class Told(msgspec.Struct, frozen=True):
    """What the cell was last told of a guest's power, and for which build."""

    epoch: int
    power: PowerState


_Entry = tuple[InstanceReport, "Future[bool]", Told | None]


class Reporter:
    """Sends reports. Nothing is lost while the broker or the conductor is away: the queue waits.

    It remembers what it told of each guest's power, so that whoever watches the guests knows what is news.
    """

    def __init__(self, bus: Bus, host: HostName) -> None:
        self._bus = bus
        self._host = host
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._told: dict[InstanceUuid, Told] = {}
        self._number = 0
        self._closed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"report-{host}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def number_from(self, start: int) -> None:
        """Number reports from here on above all that this host sent before its ``start``-th start."""
        with self._lock:
            self._number = max(self._number, start * REPORTS_OF_A_START)

    def stop(self, seconds: float) -> None:
        """Send what is queued, for at most ``seconds``; the futures of the rest are cancelled."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join(timeout=seconds)
        self._stopped.set()

    def send(self, report: InstanceReport) -> "Future[bool]":
        """Queue a report; the future tells whether it was taken (False: refused). Of a build that must not
        begin on this host, it raises ``BuildFailed``, saying why.

        It is cancelled if the reporter ends before that is known. Who cancels it takes the report back,
        unless it is on its way.
        """
        answer: Future[bool] = Future()
        with self._lock:
            if self._closed:
                answer.cancel()
                return answer
            if self._number:
                self._number += 1
                report = msgspec.structs.replace(report, number=self._number)
            self._queue.put((report, answer, self._note(report)))
        return answer

    def ask(self, report: InstanceReport, ended: threading.Event) -> bool:
        """Queue a report and wait until it is taken; False if it is refused.

        Once ``ended`` is set a report that is not on its way is taken back, and counts as refused.

        Raises:
            BuildFailed: it is refused because this host is not fit for it, but another may be.
        """
        answer = self.send(report)
        while True:
            try:
                return answer.result(_LOOKS)
            except TimeoutError:
                if ended.is_set():
                    answer.cancel()
            except CancelledError:
                return False

    @property
    def told(self) -> Mapping[InstanceUuid, Told]:
        """What the cell knows of guests' power, once it has taken what is queued."""
        return self._told

    def believes(self, uuid: InstanceUuid, told: Told) -> None:
        """Note what the cell knows without having been told by this process."""
        self._told[uuid] = told

    def _note(self, report: InstanceReport) -> Told | None:
        if isinstance(report.power_state, PowerState):
            told = Told(report.epoch, report.power_state)
            self._told[report.instance_uuid] = told
            return told
        if report.gone or report.failure is not None:
            self._told.pop(report.instance_uuid, None)
        return None

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
        for _, future, _ in batch:
            future.cancel()

    def _offer(self, batch: Sequence[_Entry]) -> None:
        wanted = [entry for entry in batch if not entry[1].cancelled()]
        if not wanted:
            return
        reports = tuple(report for report, _, _ in wanted)
        message = ReportInstances(host=self._host, reports=reports)
        answer = self._bus.call(service_context(), message, ReportsTaken, timeout=_TIMEOUT)
        refused = frozenset(answer.refused)
        for index, entry in enumerate(wanted):
            self._answer(entry, taken=index not in refused, unfit=answer.unfit.get(index))

    def _answer(self, entry: _Entry, *, taken: bool, unfit: str | None = None) -> None:
        report, future, told = entry
        if not taken and told is not None and self._told.get(report.instance_uuid) is told:
            del self._told[report.instance_uuid]
        with contextlib.suppress(InvalidStateError):
            # Nobody may wait for it any more.
            if unfit is None:
                future.set_result(taken)
            else:
                future.set_exception(BuildFailed(unfit))

    def _give_up(self, batch: Sequence[_Entry], error: KilonovaError) -> None:
        """One report of several may be what cannot be handled: offer each by itself, then let it go."""
        if len(batch) > 1:
            for entry in batch:
                self._deliver([entry])
            return
        LOG.error("A report on %s could not be handled: %s", batch[0][0].instance_uuid, error)
        self._answer(batch[0], taken=False)
