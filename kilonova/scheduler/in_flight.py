"""Picks whose claims Placement's figures may not show yet, so that concurrent requests see each other."""

import threading
import time
from collections.abc import Iterable

from kilonova.core.ids import InstanceUuid
from kilonova.core.scheduling import Allocation
from kilonova.scheduler.fit import Fit

_KEPT = 60.0
"""Seconds after which a claimed pick is forgotten: no request's figures are older."""


class InFlight:
    """What this scheduler picked lately. ``claimed`` is the monotonic time of the claim, or None."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._picks: dict[InstanceUuid, tuple[Allocation, float | None]] = {}

    def add(self, picks: Iterable[tuple[InstanceUuid, Allocation]]) -> None:
        """Note picks that are about to be claimed."""
        with self._lock:
            self._picks.update((uuid, (allocation, None)) for uuid, allocation in picks)

    def claimed(self, uuids: Iterable[InstanceUuid], refused: Iterable[InstanceUuid]) -> None:
        """Note that claims were answered; refused ones took nothing."""
        now = time.monotonic()
        with self._lock:
            for uuid in refused:
                self._picks.pop(uuid, None)
            for uuid in uuids:
                if uuid in self._picks:
                    self._picks[uuid] = (self._picks[uuid][0], now)
            old = [u for u, (_, when) in self._picks.items() if when and when < now - _KEPT]
            for uuid in old:
                del self._picks[uuid]

    def deduct_from(self, fits: Iterable[Fit], asked_at: float) -> int:
        """Deduct from a picture whose figures were asked for at ``asked_at`` what they may lack.

        Returns how many picks were deducted; some may be in the figures already.
        """
        by_provider = {fit.host.provider_uuid: fit for fit in fits}
        with self._lock:
            unseen = [a for a, when in self._picks.values() if when is None or when > asked_at]
        count = 0
        for allocation in unseen:
            for provider, amounts in allocation.items():
                fit = by_provider.get(provider)  # type: ignore[call-overload]
                if fit is not None:
                    fit.deduct(amounts)
                    count += 1
        return count
