"""Tables of what a filter says, whose rows read as sentences."""

from collections.abc import Sequence

import testtools

from kilonova.core.scheduling import HostState, RequestSpec
from kilonova.scheduler.filters import Filter, Moment, concerns
from tests.unit.scheduler.fleet import MOMENT, flavor, spec

Case = tuple[str, RequestSpec, HostState, tuple[str, str] | None]
"""What is tried, a request, a host, and the sentence and nearest miss, or None where it fits."""


def specs(**extra: str) -> RequestSpec:
    """Return a request whose flavor has extra specs; ``__`` in a key stands for a colon."""
    return spec(flavor=flavor(extra_specs={k.replace("__", ":"): v for k, v in extra.items()}))


class FilterCase(testtools.TestCase):
    """Checks a filter against a table."""

    def check(self, name: str, ask: Filter, cases: Sequence[Case], moment: Moment = MOMENT) -> None:
        """Every row must hold, and no request be refused that the filter says it does not concern."""
        for what, request, state, expected in cases:
            reason = ask(request, state, moment)
            if expected is None:
                self.assertIsNone(reason, what)
            else:
                self.assertIsNotNone(reason, what)
                self.assertEqual((name, 1), (reason.refused_by, reason.hosts), what)
                self.assertEqual(expected, (reason.sentence, reason.nearest_miss), what)
                self.assertNotIn(state.host, reason.sentence, what)
                self.assertTrue(concerns(ask, request), what)
