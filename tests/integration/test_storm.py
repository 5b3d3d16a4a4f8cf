"""A hundred boots and forty deletes, while every service is killed and broker and database restart."""

from testtools.content import text_content

from tests.integration.case import BootTest
from tests.integration.deployment import Deployment
from tests.integration.storm import Storm, describe, prepare


class StormTest(BootTest):
    """One storm; ``python -m tests.integration.storm`` runs larger ones."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two compute services of fake hosts."""
        return describe()

    def test_nothing_that_was_accepted_is_lost_stuck_doubled_or_left_behind(self) -> None:
        report = Storm(self.deployment, prepare(self.deployment), seed=1).run(100, 40)
        self.addDetail("report", text_content(str(report)))
        self.assertEqual([], report.wrongs())
