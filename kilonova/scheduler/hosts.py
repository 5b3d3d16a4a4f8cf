"""The hosts of every cell, held in memory and refreshed by a thread. No request reads a cell's database."""

import logging
import threading
import time
from collections.abc import Collection
from functools import partial

from msgspec.structs import replace
from oslo_config import cfg

from kilonova.core.aggregate import HostAggregate, aggregates_by_host
from kilonova.core.errors import DatabaseUnavailable, KilonovaError
from kilonova.core.ids import CELL0, ProviderUuid
from kilonova.core.scheduling import HostState
from kilonova.db import aggregates, hosts
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.db.scatter import gather_from

LOG = logging.getLogger(__name__)

_STRANGER_PAUSE = 0.25
"""Seconds for which a provider that is no host of ours is not looked for again."""


class Hosts:
    """Host states by resource provider."""

    def __init__(self, conf: cfg.ConfigOpts, api_db: Database, cells: Cells) -> None:
        self._interval = conf.scheduler.host_refresh_interval
        self._default_zone = conf.default_availability_zone
        self._api_db = api_db
        self._cells = cells
        self._states: dict[ProviderUuid, HostState] = {}
        self._complete = False
        self.aggregates: tuple[HostAggregate, ...] = ()
        """All aggregates, as last read."""
        self._lock = threading.Lock()
        self._strangers: dict[ProviderUuid, float] = {}
        self._silent: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-states", daemon=True)

    def start(self) -> None:
        """Begin to refresh."""
        self._thread.start()

    def stop(self) -> None:
        """End the refreshing."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def known(self, providers: Collection[ProviderUuid]) -> dict[ProviderUuid, HostState]:
        """Return every host's state; read again first if one of ``providers`` is new."""
        if self._new(providers):
            with self._lock:
                new = self._new(providers)
                if new:
                    self.refresh()
                    now = time.monotonic()
                    self._strangers = {p: now for p in new if p not in self._states}
        return self._states

    def all(self) -> Collection[HostState]:
        """Return every host's state, as last read."""
        return self._states.values()

    @property
    def complete(self) -> bool:
        """Whether the hosts of every cell are known; not so while one was away whenever it was read."""
        return self._complete

    def _new(self, providers: Collection[ProviderUuid]) -> list[ProviderUuid]:
        recently = time.monotonic() - _STRANGER_PAUSE
        return [
            provider
            for provider in providers
            if provider not in self._states and self._strangers.get(provider, 0.0) < recently
        ]

    def refresh(self) -> None:
        """Read every cell's hosts. A cell that does not answer keeps the states last read."""
        try:
            self._cells.refresh()
            self.aggregates = aggregates.list_aggregates(self._api_db)
        except KilonovaError as error:
            self._note("the API database", error)
            return
        placed = aggregates_by_host(self.aggregates)
        known = [cell for cell in self._cells.all() if cell.uuid != CELL0]
        found = gather_from(
            self._cells,
            {
                cell.uuid: partial(
                    hosts.host_states,
                    cell_uuid=cell.uuid,
                    aggregates=placed,
                    default_zone=self._default_zone,
                )
                for cell in known
            },
        )
        states: dict[ProviderUuid, HostState] = {}
        complete = True
        for cell in known:
            here = found.answers.get(cell.uuid)
            if here is None:
                here = self._as_last_read(cell)
                complete = complete and (cell.disabled or bool(here))
            else:
                self._silent.discard(f"cell {cell.name}")
            if cell.disabled:
                why = "its cell is disabled"
                here = tuple(replace(s, enabled=False, disabled_reason=why) for s in here)
            states |= {state.provider_uuid: state for state in here}
        self._states = states
        self._complete = complete

    def _as_last_read(self, cell: Cell) -> tuple[HostState, ...]:
        """Return the hosts of a cell that does not answer: out of reach, if it did not the last time."""
        here = tuple(s for s in self._states.values() if s.cell_uuid == cell.uuid)
        if f"cell {cell.name}" in self._silent:
            return tuple(replace(state, unreachable=True) for state in here)
        self._note(f"cell {cell.name}", DatabaseUnavailable("The database does not answer."))
        return here

    def _note(self, what: str, error: KilonovaError) -> None:
        if what not in self._silent:
            self._silent.add(what)
            LOG.warning("The hosts of %s could not be read: %s", what, error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.refresh()
            except Exception:
                LOG.exception("Refreshing the hosts failed")
            self._stopped.wait(self._interval)
