"""Storms in which hosts lose their power again and again in the middle of moves, and an operator forces
them down, so that these go on without them."""

from kilonova.compute.script import Step
from tests.faults.world.layout import LARGE, Layout
from tests.faults.world.storm import Storm

_OFTEN = 0.5
_MOVING = 20.0
"""Seconds within which a host dies after its servers were asked to move."""
_KNOWN, _LASTS = (20.0, 35.0), 20.0
"""Seconds from when a host is off until an operator says so, and from then until it may be on again."""


class DeadHosts(Storm):
    """Half of what goes wrong is a host. Moves take their time, so that most die in the middle of some."""

    plays = (
        Step(step="prepare-move", seconds=3.0),
        Step(step="send", seconds=6.0),
        Step(step="receive", seconds=5.0),
        Step(step="restore", seconds=5.0),
        Step(step="live-migrate", seconds=6.0),
        Step(step="arrive", seconds=4.0),
    )

    @staticmethod
    def layout_of(_seed: int) -> Layout:
        """The large one, always."""
        return LARGE

    def _outage(self) -> None:
        if self._chance.random() < _OFTEN:
            self._end_host(self._chance.choice(list(self._layout.hosts)))
        else:
            super()._outage()

    def _end_host(self, host: str) -> None:
        deployment, operator = self._deployment, self._people[0]
        if deployment.is_off(host):
            return
        deployment.do(operator.move_some)
        deployment.kernel.run(deployment.kernel.now + self._chance.uniform(0.0, _MOVING))
        known = self._chance.uniform(*_KNOWN)
        deployment.do(lambda: operator.force_down(host, known, _LASTS))
        super()._end_host(host)
