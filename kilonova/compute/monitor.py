"""The monitor: looks at all guests of a host every two seconds, in one bulk call, and keeps what it saw.

It only looks. What a guest may take is enforced by the hypervisor; one that takes more is told of, and
never stopped.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable

from kilonova.compute.driver import Driver
from kilonova.core import vitals
from kilonova.core.clock import utcnow
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.errors import KilonovaError
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.vitals import Allowance, HostVitals, Sample, Vitals

LOG = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks."""
_KEPT = 30
"""Samples of each server: those of the last minute."""
_WINDOW = 5
"""Looks back to the sample with which the last is compared: what is told is how the last 10 s were."""
NEWS_EVERY = 10.0
"""Seconds between two signs of life that tell how guests are: each costs the cell's database a document."""
_FRESH = 2 * INTERVAL
"""Seconds for which a sample may be told as how a guest is."""


class Ring:
    """The last samples of one guest in one run. ``since`` is when that began (steady clock), if seen."""

    __slots__ = ("above", "samples", "since")

    def __init__(self, since: float | None) -> None:
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self.since = since
        self.above: tuple[Allowance, ...] = ()

    def add(self, sample: Sample) -> None:
        """Keep a sample; one of another run begins anew."""
        if self.samples and not vitals.is_same_run(self.samples[-1].figures, sample.figures):
            self.samples.clear()
            self.since = sample.clock
        self.samples.append(sample)

    def window(self) -> tuple[Sample, Sample]:
        """Return the sample to compare with, and the last."""
        kept = self.samples
        return kept[max(0, len(kept) - 1 - _WINDOW)], kept[-1]

    @property
    def uptime(self) -> int | None:
        """Whole seconds that the guest has run, or None for one that does not, or did before the first
        look."""
        last = self.samples[-1]
        if self.since is None or last.figures.state != "running":
            return None
        return int(last.clock - self.since)


class Monitor:
    """Keeps a ring of samples of each guest."""

    def __init__(self, host: HostName, driver: Driver) -> None:
        self._host = host
        self._driver = driver
        self._lock = threading.Lock()
        self._rings: dict[InstanceUuid, Ring] = {}
        self._looked = False
        self._next_news = 0.0
        self._silent = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"monitor-{host}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            try:
                self.look()
            except KilonovaError as error:
                if not self._silent:
                    LOG.warning("Guests of %s cannot be looked at: %s", self._host, error.in_full)
                self._silent = True
            except Exception:
                LOG.exception("Looking at the guests of %s failed", self._host)
            else:
                self._silent = False
            # A look that took longer than it may is not made up for.
            due = max(due + INTERVAL, time.monotonic())
            self._stopped.wait(due - time.monotonic())

    def look(self) -> None:
        """Look once at every guest.

        Raises:
            HypervisorUnavailable: the hypervisor does not answer.
        """
        found = self._driver.samples()
        at, clock = utcnow(), time.monotonic()
        with self._lock:
            for gone in self._rings.keys() - found.keys():
                del self._rings[gone]
            for uuid, figures in found.items():
                ring = self._rings.get(uuid)
                if ring is None:
                    ring = self._rings[uuid] = Ring(clock if self._looked else None)
                ring.add(Sample(at, clock, figures))
                self._tell_above(uuid, ring)
            self._looked = True

    def _tell_above(self, uuid: InstanceUuid, ring: Ring) -> None:
        figures = ring.samples[-1].figures
        now = vitals.above(figures)
        for what in now:
            if what not in ring.above:
                LOG.warning("Server %s on %s takes more %s than its own", uuid, self._host, what)
        for what in ring.above:
            if what not in now:
                LOG.info("Server %s on %s takes no more %s than its own", uuid, self._host, what)
        ring.above = now

    def diagnostics(self, uuid: InstanceUuid) -> Diagnostics | None:
        """Return how a guest is, or None if it was not seen to run a moment ago."""
        with self._lock:
            ring = self._rings.get(uuid)
            if ring is None:
                return None
            first, last = ring.window()
            if last.figures.state != "running" or time.monotonic() - last.clock > _FRESH:
                return None
            return vitals.diagnosed(first, last, ring.uptime)

    def samples(self, uuid: InstanceUuid) -> tuple[Sample, ...]:
        """Return what is kept of a guest, oldest first."""
        with self._lock:
            ring = self._rings.get(uuid)
            return tuple(ring.samples) if ring else ()

    def vitals(self) -> tuple[Vitals, ...]:
        """Return how every guest was at the last look."""
        return tuple(one for one, _ in self._seen())

    def news(self, nodes: Iterable[NodeReport]) -> HostVitals | None:
        """Return what a sign of life tells of all guests, beside what nodes reserve for them; None where
        one told it a moment ago, or nothing was seen yet.
        """
        now = time.monotonic()
        if not self._looked or now < self._next_news:
            return None
        self._next_news = now + NEWS_EVERY
        return vitals.host_vitals(utcnow(), self._seen(), nodes)

    def _seen(self) -> list[tuple[Vitals, Diagnostics]]:
        with self._lock:
            return [
                (vitals.vitals(uuid, *ring.window(), ring.uptime), ring.samples[-1].figures)
                for uuid, ring in self._rings.items()
            ]
