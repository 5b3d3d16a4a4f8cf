"""Leadership by a lease: who leads knows until when, without asking.

The lease is counted from before it was asked for, on this process's own clock that never jumps: so a leader
that cannot reach the database, or that stood still, stops by itself before another begins.
"""

import time
from collections.abc import Callable
from datetime import timedelta

from kilonova.core.clock import utcnow
from kilonova.db import leases
from kilonova.db.engine import Database


class Leadership:
    """One candidate for one lease."""

    def __init__(
        self,
        api_db: Database,
        name: str,
        holder: str,
        length: timedelta,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._api_db = api_db
        self._name = name
        self._holder = holder
        self._length = length
        self._clock = clock or time.monotonic
        self._until = self._clock()
        self.token: int | None = None
        """The fencing token under which this one led last: each leader's is greater than those before."""

    def take(self) -> bool:
        """Take or keep the lease; False while another holds it.

        Raises:
            DatabaseUnavailable: nothing is known of it; what is held already is held until its end.
        """
        asked_at = self._clock()
        token = leases.hold(self._api_db, self._name, self._holder, utcnow(), self._length)
        if token is None:
            self._until = asked_at
            return False
        self.token = token
        self._until = asked_at + self._length.total_seconds()
        return True

    def holds(self) -> bool:
        """Whether the lease runs; what remains of it once it is half over is asked for again.

        Raises:
            DatabaseUnavailable: it runs, and could not be made longer.
        """
        left = self._until - self._clock()
        if left <= 0:
            return False
        if left < self._length.total_seconds() / 2:
            return self.take()
        return True

    def let_go(self) -> None:
        """Let another lead at once.

        Raises:
            DatabaseUnavailable: another has to wait for the lease's end.
        """
        self._until = self._clock()
        leases.let_go(self._api_db, self._name, self._holder)
