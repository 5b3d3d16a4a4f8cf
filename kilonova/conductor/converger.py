"""The converger: compares what should be with what is, and mends what differs.

One leads at a time, by a lease. What it looks for stands in ``repairs``: every repair may be made twice
without harm, is logged with the server's UUID and counted. The cells are gone through at once: one that
hangs is left to itself until it is done.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec
from oslo_config import cfg

from kilonova.conductor.leadership import Leadership
from kilonova.conductor.notices import Notices
from kilonova.conductor.repairs import (
    OF_CELL,
    OF_CELL0,
    OF_DEPLOYMENT,
    Finding,
    Hands,
    Limits,
    Scene,
)
from kilonova.core.counter import Counter
from kilonova.core.errors import KilonovaError, Unavailable
from kilonova.core.host_failure import Mode, Policy
from kilonova.core.ids import CELL0, CellUuid
from kilonova.core.quota import limits_in
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.http import images, networks, shares, volumes
from kilonova.placement.client import Placement
from kilonova.rpc.connect import Buses

LOG = logging.getLogger(__name__)

REPAIRS = Counter("kilonova_converger_repairs", "What the converger mended", ("repair",))
FAILURES = Counter("kilonova_converger_failures", "What it could not mend or look at", ("repair",))

_INTERVALS = 3
"""The lease's length, in intervals between rounds."""
_CELLS_AT_ONCE = 32


class Outcome(msgspec.Struct, frozen=True):
    """What became of one finding.

    ``did`` is None where nothing was done: nobody was to act, or only an operator can, or it ``failed``,
    which says why.
    """

    repair: str
    cell: str
    subject: str
    differs: str
    did: str | None = None
    failed: str | None = None


class Round:
    """One comparison, of the deployment's own records, of a cell, or of everything.

    A repair that fails does not stop the others. ``may_act`` is asked before each thing is mended.
    """

    def __init__(self, scene: Scene, may_act: Callable[[], bool]) -> None:
        self._scene = scene
        self._may_act = may_act
        self.outcomes: list[Outcome] = []

    def of_everything(self) -> None:
        """Look for everything that differs, and mend it."""
        self.of_deployment()
        for cell in self._scene.cells.all():
            self.of_cell(cell)

    def of_deployment(self) -> None:
        """The same, of what the API database holds."""
        for name, look in OF_DEPLOYMENT.items():
            self._look(name, "", partial(look, self._scene))

    def of_cell(self, cell: Cell) -> None:
        """The same, of one cell."""
        repairs = OF_CELL0 if cell.uuid == CELL0 else OF_CELL
        for name, look in repairs.items():
            self._look(name, cell.name, partial(look, self._scene, cell.uuid))

    def _look(self, name: str, cell: str, find: Callable[[], Iterable[Finding]]) -> None:
        try:
            for finding in find():
                outcome = Outcome(name, cell, finding.subject, finding.differs)
                if finding.mend is None or not self._may_act():
                    self.outcomes.append(outcome)
                elif not self._mend(finding.mend, outcome):
                    return
        except KilonovaError as error:
            self._fail(Outcome(name, cell, "", "could not be looked at"), error)
        except Exception as error:
            LOG.exception("Converging %s failed", name)
            self._fail(Outcome(name, cell, "", "could not be looked at"), error)

    def _mend(self, mend: Callable[[], str | None], outcome: Outcome) -> bool:
        """Mend one thing; False if a part is away, and the others of its kind have to wait."""
        try:
            did = mend()
        except KilonovaError as error:
            self._fail(outcome, error)
            return not isinstance(error, Unavailable)
        if did is not None:
            LOG.info("Repair %s: %s: %s: %s", outcome.repair, outcome.subject, outcome.differs, did)
            REPAIRS.add(outcome.repair)
        self.outcomes.append(msgspec.structs.replace(outcome, did=did or "no longer so"))
        return True

    def _fail(self, outcome: Outcome, error: Exception) -> None:
        FAILURES.add(outcome.repair)
        self.outcomes.append(msgspec.structs.replace(outcome, failed=str(error)))


class Converger:
    """Makes a round every ``converge_interval`` seconds while it holds the lease."""

    def __init__(self, conf: cfg.ConfigOpts, scene: Scene) -> None:
        self._scene = scene
        self._interval = conf.converge_interval
        self._leadership = Leadership(
            scene.api_db,
            "converger",
            f"{conf.host}-{uuid.uuid4()}",
            timedelta(seconds=_INTERVALS * self._interval),
        )
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="converger", daemon=True)
        self._threads = ThreadPoolExecutor(_CELLS_AT_ONCE, "converge")
        self._under_way: dict[CellUuid, Future[None]] = {}
        self._failing: dict[str, frozenset[str]] = {}
        self._turn = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self) -> None:
        """Make the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the repair in hand, and let another lead."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._threads.shutdown(wait=False, cancel_futures=True)
        try:
            self._leadership.let_go()
        except KilonovaError as error:
            LOG.info("Another converger has to wait for the lease's end: %s", error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                self.round()
            except Exception:
                LOG.exception("A round of the converger failed")

    def round(self) -> None:
        """Mend everything once, if this converger leads, and as long as it does."""
        try:
            if not self._leadership.take():
                return
            self._scene.cells.refresh()
        except KilonovaError as error:
            self._tell("lease", {"the lease": str(error)})
            return
        self._tell("lease", {})
        self._turn += 1
        scene = replace(self._scene, turn=self._turn)
        begun = [self._begin(scene, cell) for cell in scene.cells.all()]
        own = Round(scene, self._leads)
        own.of_deployment()
        self._tell_of("", own)
        wait(begun, timeout=self._interval)

    def _begin(self, scene: Scene, cell: Cell) -> Future[None]:
        """Begin to converge a cell, unless it is still being converged."""
        before = self._under_way.get(cell.uuid)
        if before is not None and not before.done():
            return before
        begun = self._threads.submit(self._converge, scene, cell)
        self._under_way[cell.uuid] = begun
        return begun

    def _converge(self, scene: Scene, cell: Cell) -> None:
        one = Round(scene, self._leads)
        one.of_cell(cell)
        self._tell_of(cell.name, one)

    def _leads(self) -> bool:
        return not self._stopped.is_set() and self._leadership.holds()

    def _tell_of(self, part: str, made: Round) -> None:
        failed = {f"{o.repair} {o.cell}".strip(): o.failed for o in made.outcomes if o.failed}
        self._tell(part, failed)

    def _tell(self, part: str, failed: dict[str, str]) -> None:
        """Log what fails of a part when it begins to, and when it works again."""
        before = self._failing.get(part, frozenset())
        for what in failed.keys() - before:
            LOG.warning("Converging %s failed: %s", what, failed[what])
        for what in before - failed.keys():
            LOG.info("Converging %s works again", what)
        self._failing[part] = frozenset(failed)


def scene_of(
    conf: cfg.ConfigOpts,
    collaborators: tuple[Database, Cells, Buses, Placement],
    notices: Notices,
    hands: Hands,
) -> Scene:
    """Return what a configuration lets repairs look at."""
    api_db, cells, buses, placement = collaborators
    return Scene(
        api_db=api_db,
        cells=cells,
        buses=buses,
        placement=placement,
        notices=notices,
        hands=hands,
        limits=Limits(
            build_timeout=conf.instance_build_timeout,
            down_time=conf.service_down_time,
            interval=conf.converge_interval,
            deleted_kept=conf.reclaim_instance_interval,
            confirm_window=conf.resize_confirm_window,
            quota=limits_in(conf.quota),
            ha=Policy(Mode(conf.ha.evacuate_on_host_failure), fences=bool(conf.ha.fence_command)),
        ),
        images=images.load(conf),
        volumes=volumes.load(conf),
        shares=shares.load(conf),
        networks=networks.load(conf),
    )
