"""Storms in which the clock of one host is wrong by minutes or an hour, all the time."""

import testtools

from tests.faults.world.storm import Storm

_LEAST, _MOST = 120.0, 3600.0
"""Seconds by which it is ahead or behind."""


class WrongClock(Storm):
    """The usual storm; only that clock is not right again when it is calm."""

    def __init__(self, case: testtools.TestCase, seed: int) -> None:
        super().__init__(case, seed)
        self._wrong = self._chance.choice(list(self._layout.hosts))
        ahead = self._chance.uniform(_LEAST, _MOST)
        self._ahead = self._chance.choice((-ahead, ahead))
        self._deployment.set_clock(self._wrong, self._ahead)

    def _calm(self) -> None:
        super()._calm()
        self._deployment.set_clock(self._wrong, self._ahead)
