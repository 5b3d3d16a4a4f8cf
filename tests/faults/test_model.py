"""Every state of the claim-and-build protocol: none is wrong, and from each the end can be reached."""

from dataclasses import fields

import testscenarios
import testtools
from testtools.content import text_content

from tests.faults.model import Explored, Rules, explore

load_tests = testscenarios.load_tests_apply_scenarios


class ModelTest(testtools.TestCase):
    """The protocol as it is."""

    def test_no_state_is_wrong_and_every_request_can_settle(self) -> None:
        found = explore(Rules())
        self.assertIsNone(found.wrong, _told(found))
        self.assertGreater(found.states, 50_000)


class BrokenTest(testtools.TestCase):
    """The protocol without one of its promises."""

    scenarios = [(field.name, {"rule": field.name}) for field in fields(Rules)]
    rule = ""

    def test_it_goes_wrong_without_any_of_its_promises(self) -> None:
        found = explore(Rules(**{self.rule: False}))
        self.addDetail("how", text_content(_told(found)))
        self.assertIsNotNone(found.wrong)


def _told(found: Explored) -> str:
    """Return how it came about: what changed from each state to the next."""
    lines = [found.wrong or ""]
    for before, after in zip(found.path, found.path[1:], strict=False):
        old, new = before._asdict(), after._asdict()
        lines.append(str({name: value for name, value in new.items() if value != old[name]}))
    return "\n".join(lines)
