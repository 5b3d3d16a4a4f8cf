"""The converger: compares what should be with what is, and mends what differs.

One leads at a time, by a lease. What it looks for stands in ``repairs``: every repair may be made twice
without harm, is logged with the server's UUID and counted.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec
from oslo_config import cfg
from prometheus_client import Counter

from kilonova.conductor.leadership import Leadership
from kilonova.conductor.repairs import OF_CELL, OF_CELL0, OF_DEPLOYMENT, Finding, Scene
from kilonova.core.errors import KilonovaError, Unavailable
from kilonova.core.ids import CELL0, InstanceUuid
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.connect import Buses

LOG = logging.getLogger(__name__)

REPAIRS = Counter("kilonova_converger_repairs", "What the converger mended", ["repair"])
FAILURES = Counter("kilonova_converger_failures", "What it could not mend or look at", ["repair"])

_INTERVALS = 3
"""The lease's length, in intervals between rounds."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one finding.

    ``did`` is None where nothing was done: nobody was to act, it was no longer so, or it ``failed``, which
    says why.
    """

    repair: str
    cell: str
    subject: str
    differs: str
    did: str | None = None
    failed: str | None = None


class Round:
    """One comparison of everything. A repair that fails does not stop the others.

    ``may_act`` is asked before each thing is mended.
    """

    def __init__(self, scene: Scene, may_act: Callable[[], bool]) -> None:
        self._scene = scene
        self._may_act = may_act
        self.outcomes: list[Outcome] = []

    def run(self) -> None:
        """Look for everything that differs, and mend it."""
        for name, of_deployment in OF_DEPLOYMENT.items():
            self._look(name, "", partial(of_deployment, self._scene))
        for cell in self._scene.cells.all():
            repairs = OF_CELL0 if cell.uuid == CELL0 else OF_CELL
            for name, of_cell in repairs.items():
                self._look(name, cell.name, partial(of_cell, self._scene, cell.uuid))

    def _look(self, name: str, cell: str, find: Callable[[], Iterable[Finding]]) -> None:
        try:
            for finding in find():
                outcome = Outcome(name, cell, finding.subject, finding.differs)
                if not self._may_act():
                    self.outcomes.append(outcome)
                elif not self._mend(finding, outcome):
                    return
        except KilonovaError as error:
            self._fail(Outcome(name, cell, "", "could not be looked at"), error)
        except Exception as error:
            LOG.exception("Converging %s failed", name)
            self._fail(Outcome(name, cell, "", "could not be looked at"), error)

    def _mend(self, finding: Finding, outcome: Outcome) -> bool:
        """Mend one thing; False if a part is away, and the others of its kind have to wait."""
        try:
            did = finding.mend()
        except KilonovaError as error:
            self._fail(outcome, error)
            return not isinstance(error, Unavailable)
        if did is not None:
            LOG.info("Repair %s: %s: %s: %s", outcome.repair, finding.subject, finding.differs, did)
            REPAIRS.labels(outcome.repair).inc()
        self.outcomes.append(msgspec.structs.replace(outcome, did=did or "no longer so"))
        return True

    def _fail(self, outcome: Outcome, error: Exception) -> None:
        FAILURES.labels(outcome.repair).inc()
        self.outcomes.append(msgspec.structs.replace(outcome, failed=str(error)))


class Converger:
    """Makes a round every ``converge_interval`` seconds while it holds the lease."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        collaborators: tuple[Database, Cells, Buses, Placement],
        drive: Callable[[tuple[InstanceUuid, ...]], None],
    ) -> None:
        self.scene = scene_of(conf, collaborators, drive)
        self._interval = conf.converge_interval
        self._leadership = Leadership(
            self.scene.api_db,
            "converger",
            f"{conf.host}-{uuid.uuid4()}",
            timedelta(seconds=_INTERVALS * self._interval),
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="converger", daemon=True)
        self._failing: frozenset[str] = frozenset()
        self._turn = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the repair in hand, and let another lead."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        try:
            self._leadership.let_go()
        except KilonovaError as error:
            LOG.info("Another converger has to wait for the lease's end: %s", error)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self.round()
            except Exception:
                LOG.exception("A round of the converger failed")

    def round(self) -> None:
        """Mend everything once, if this converger leads, and as long as it does."""
        try:
            if not self._leadership.take():
                return
        except KilonovaError as error:
            self._tell({"the lease": str(error)})
            return
        self._turn += 1
        one = Round(replace(self.scene, turn=self._turn), self._leads)
        one.run()
        self._tell({f"{o.repair} {o.cell}".strip(): o.failed for o in one.outcomes if o.failed})

    def _leads(self) -> bool:
        return not self._stopped.is_set() and self._leadership.holds()

    def _tell(self, failed: dict[str, str]) -> None:
        """Log what fails when it begins to, and when it works again."""
        for what in failed.keys() - self._failing:
            LOG.warning("Converging %s failed: %s", what, failed[what])
        for what in self._failing - failed.keys():
            LOG.info("Converging %s works again", what)
        self._failing = frozenset(failed)


def scene_of(
    conf: cfg.ConfigOpts,
    collaborators: tuple[Database, Cells, Buses, Placement],
    drive: Callable[[tuple[InstanceUuid, ...]], None],
) -> Scene:
    """Return what a configuration lets repairs look at."""
    api_db, cells, buses, placement = collaborators
    return Scene(
        api_db=api_db,
        cells=cells,
        buses=buses,
        placement=placement,
        drive=drive,
        build_timeout=conf.instance_build_timeout,
        down_time=conf.service_down_time,
    )
