"""The hosts of every cell, held in memory and refreshed by what changed.

No request reads a cell's database. Every cell is looked at by itself, so that one that does not answer
holds up no other, and is compared whole now and then. Hosts of a cell that does not answer stay as they
were, and count as out of reach from the second miss on.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

import msgspec
from oslo_config import cfg

from kilonova.core.aggregate import HostAggregate, aggregates_by_host
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CELL0, CellUuid, HostName, ProviderUuid
from kilonova.core.scheduling import HostState, RequestSpec
from kilonova.db import aggregates, host_changes
from kilonova.db.cells import Cell, Cells
from kilonova.db.engine import Database
from kilonova.db.host_changes import Look, SeenNode, Unusual
from kilonova.scheduler.device_filters import occupied
from kilonova.scheduler.host_state import Surroundings, host_state

LOG = logging.getLogger(__name__)

_STRANGER_PAUSE = 0.25
"""Seconds for which a provider that is no host of ours, or stays disabled, is not looked for again."""
_WHOLE_EVERY = 60.0
"""Seconds between two comparisons of everything, which find what no look at changes can."""
_PATIENCE = 2.0
"""Seconds that a refresh waits for cells that do not answer; they are taken in when they do."""
_MISSES = 2
"""Refreshes without an answer after which the hosts of a cell are out of reach: one may be a hiccup."""
_LOOKS = 16
"""Cells that are looked at at once."""


class _CellHosts:
    """What is known of one cell. ``at`` is its database's time at the last good look.

    ``answers`` tells of the last look, good or not. ``missed`` counts the refreshes without an answer.
    """

    def __init__(self, uuid: CellUuid) -> None:
        self.uuid = uuid
        self.nodes: dict[ProviderUuid, SeenNode] = {}
        self.unusual: dict[HostName, Unusual] = {}
        self.at: datetime | None = None
        self.whole_at = 0.0
        self.disabled = self.answers = self.lost = False
        self.missed = 0
        self.look: Future[None] | None = None

    def take(self, look: Look) -> set[ProviderUuid]:
        """Take in what a look found; return the hosts whose states are to be made anew."""
        changed = set(look.changed)
        hosts = {
            host
            for host in self.unusual.keys() | look.unusual.keys()
            if self.unusual.get(host) != look.unusual.get(host)
        }
        for provider in look.gone:
            self.nodes.pop(provider, None)
        self.nodes |= look.changed
        if self.lost:
            changed = set(self.nodes)
        elif hosts:
            changed |= {uuid for uuid, node in self.nodes.items() if node.host in hosts}
        self.unusual, self.at = look.unusual, look.at
        self.answers, self.lost = True, False
        return changed


class Hosts:
    """Host states by resource provider."""

    def __init__(self, conf: cfg.ConfigOpts, api_db: Database, cells: Cells) -> None:
        self._interval = conf.scheduler.host_refresh_interval
        self._default_zone = conf.default_availability_zone
        self._down_after = timedelta(seconds=conf.service_down_time)
        self._api_db = api_db
        self._cells = cells
        self._states: dict[ProviderUuid, HostState] = {}
        self._known: dict[CellUuid, _CellHosts] = {}
        self._cells_read = False
        self.aggregates: tuple[HostAggregate, ...] = ()
        """All aggregates, as last read."""
        self._mark: object = None
        self._placed: dict[HostName, tuple[HostAggregate, ...]] = {}
        # Held to look for strangers, to refresh, and to change what is known.
        self._asking, self._refreshing = threading.Lock(), threading.Lock()
        self._lock = threading.RLock()
        self._strangers: dict[ProviderUuid, float] = {}
        self._silent: set[str] = set()
        self._looks = ThreadPoolExecutor(_LOOKS, thread_name_prefix="look")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-states", daemon=True)

    def start(self) -> None:
        """Begin to refresh."""
        self._thread.start()

    def stop(self) -> None:
        """End the refreshing."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._looks.shutdown(wait=False, cancel_futures=True)

    def known(self, providers: Collection[ProviderUuid]) -> dict[ProviderUuid, HostState]:
        """Return every host's state; read again first if one of ``providers``, which Placement offers, is
        new, or was disabled when it was read."""
        if self._new(providers):
            with self._asking:
                new = self._new(providers)
                if new:
                    self.refresh()
                    now = time.monotonic()
                    self._strangers = {p: now for p in new if self._is_new(p)}
        return self._states

    def all(self) -> Collection[HostState]:
        """Return every host's state, as last read."""
        return self._states.values()

    @property
    def complete(self) -> bool:
        """Whether the hosts of every cell are known; not so while one was away whenever it was read."""
        cells = tuple(self._known.values())
        return self._cells_read and all(c.answers or c.nodes or c.disabled for c in cells)

    def occupy(self, spec: RequestSpec, providers: Iterable[ProviderUuid]) -> None:
        """Count servers that are claimed for, each until its host reports anew.

        How busy a host is, only it can say: a build may be over long before it reports.
        """
        with self._lock:
            for provider in providers:
                state = self._states.get(provider)
                if state is not None:
                    now = occupied(spec, state)
                    self._states[provider] = msgspec.structs.replace(now, busy=state.busy)

    def _new(self, providers: Collection[ProviderUuid]) -> list[ProviderUuid]:
        recently = time.monotonic() - _STRANGER_PAUSE
        return [
            provider
            for provider in providers
            if self._is_new(provider) and self._strangers.get(provider, 0.0) < recently
        ]

    def _is_new(self, provider: ProviderUuid) -> bool:
        state = self._states.get(provider)
        if state is None:
            return True
        # Placement knows at once who is enabled again, but not that a whole cell takes no servers.
        cell = self._known.get(state.cell_uuid)
        return not state.enabled and cell is not None and not cell.disabled

    def refresh(self) -> None:
        """Look at every cell, and return when all have answered that answer soon."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        try:
            self._cells.refresh()
            self._read_aggregates()
        except KilonovaError as error:
            self._note("the API database", error)
            return
        self._silent.discard("the API database")
        looks = []
        with self._lock:
            wanted = {cell.uuid: cell for cell in self._cells.all() if cell.uuid != CELL0}
            self._cells_read = True
            self._forget(self._known.keys() - wanted)
            for cell in wanted.values():
                hosts = self._known.setdefault(cell.uuid, _CellHosts(cell.uuid))
                if hosts.disabled != cell.disabled:
                    hosts.disabled = cell.disabled
                    self._renew(hosts, tuple(hosts.nodes))
                if hosts.look is None or hosts.look.done():
                    hosts.look = self._looks.submit(self._look, cell, hosts)
                looks.append(hosts.look)
        wait(looks, timeout=_PATIENCE)
        with self._lock:
            self._give_up_on_the_lost()

    def _look(self, cell: Cell, hosts: _CellHosts) -> None:
        name = f"cell {cell.name}"
        began, now = time.monotonic(), utcnow()
        whole = hosts.at is None or began > hosts.whole_at + _WHOLE_EVERY
        known = {uuid: node.changed_at for uuid, node in hosts.nodes.items()}
        try:
            database = self._cells.database(cell.uuid)
            since = None if whole else hosts.at
            look = host_changes.look(database, known, since, now - self._down_after)
        except KilonovaError as error:
            hosts.answers = False
            self._note(name, error)
            return
        except Exception:
            hosts.answers = False
            LOG.exception("The hosts of %s could not be read", name)
            return
        self._silent.discard(name)
        with self._lock:
            if self._known.get(cell.uuid) is not hosts:
                return
            hosts.whole_at = began if whole else hosts.whole_at
            self._renew(hosts, hosts.take(look), look.gone)

    def _renew(
        self,
        hosts: _CellHosts,
        changed: Collection[ProviderUuid],
        gone: Collection[ProviderUuid] = (),
    ) -> None:
        """Make states of a cell anew. Those who read meanwhile keep what they were given."""
        if not changed and not gone:
            return
        states = {uuid: state for uuid, state in self._states.items() if uuid not in gone}
        for provider in changed:
            node = hosts.nodes[provider]
            around = Surroundings(
                cell_uuid=hosts.uuid,
                default_zone=self._default_zone,
                aggregates=self._placed.get(node.host, ()),
                disabled=hosts.disabled,
                lost=hosts.lost,
            )
            states[provider] = host_state(provider, node, hosts.unusual.get(node.host), around)
        self._states = states

    def _forget(self, cells: Collection[CellUuid]) -> None:
        for uuid in cells:
            hosts = self._known.pop(uuid)
            self._renew(hosts, (), hosts.nodes.keys())

    def _give_up_on_the_lost(self) -> None:
        for hosts in self._known.values():
            answered = hosts.answers and hosts.look is not None and hosts.look.done()
            hosts.missed = 0 if answered else hosts.missed + 1
            if not hosts.lost and hosts.missed >= _MISSES:
                hosts.lost = True
                self._renew(hosts, tuple(hosts.nodes))

    def regrouped(self) -> bool:
        """Read the aggregates again if one changed; whether one did, as far as can be told."""
        with self._refreshing:
            try:
                return self._read_aggregates()
            except KilonovaError as error:
                self._note("the API database", error)
                return False

    def _read_aggregates(self) -> bool:
        mark = aggregates.mark(self._api_db)
        if mark == self._mark:
            return False
        found = aggregates.list_aggregates(self._api_db)
        placed = aggregates_by_host(found)
        with self._lock:
            hosts = self._placed.keys() | placed.keys()
            moved = {host for host in hosts if self._placed.get(host) != placed.get(host)}
            self.aggregates, self._placed, self._mark = found, placed, mark
            for cell in self._known.values():
                self._renew(cell, [u for u, node in cell.nodes.items() if node.host in moved])
        return True

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
