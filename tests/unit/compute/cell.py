"""The far end of a compute host's bus: a cell conductor that answers what a test tells it to."""

import threading
from collections.abc import Callable

from kilonova.core.context import RequestContext
from kilonova.core.report import InstanceReport
from kilonova.rpc.messages import (
    HostInstances,
    ListInstances,
    Ping,
    ReportHost,
    ReportInstances,
    ReportsTaken,
    Taken,
)

Judge = Callable[[tuple[InstanceReport, ...]], tuple[int, ...]]
"""Takes a batch and returns the indexes of what it refuses, or raises."""


class Cell:
    """Handles ``Topic.CELL_CONDUCTOR``, and keeps what it took."""

    def __init__(self) -> None:
        self.batches: list[tuple[InstanceReport, ...]] = []
        self.judge: Judge = lambda reports: ()
        self.unfit: dict[int, str] = {}
        self._open = threading.Event()
        self._open.set()

    @property
    def taken(self) -> list[InstanceReport]:
        """Every report that arrived, in order."""
        return [report for batch in self.batches for report in batch]

    def hold(self) -> None:
        """Answer nothing before ``flow``."""
        self._open.clear()

    def flow(self) -> None:
        """Answer what waits."""
        self._open.set()

    def report_instances(self, _context: RequestContext, message: ReportInstances) -> ReportsTaken:
        """See ``CellConductor``."""
        self._open.wait(10)
        refused = self.judge(message.reports)
        self.batches.append(message.reports)
        return ReportsTaken(refused=refused, unfit=self.unfit)

    def report_host(self, _context: RequestContext, _message: ReportHost) -> Taken:
        """See ``CellConductor``."""
        return Taken()

    def list_instances(self, _context: RequestContext, _message: ListInstances) -> HostInstances:
        """See ``CellConductor``."""
        return HostInstances(instances=())

    def ping(self, _context: RequestContext, _message: Ping) -> Taken:
        """See ``CellConductor``."""
        return Taken()
