"""Boots and deletes while every service is killed, and while every service is restarted gently."""

from typing import ClassVar

from testtools.content import text_content

from tests.integration import services
from tests.integration.case import BootTest
from tests.integration.deployment import Deployment
from tests.integration.storm import Storm, describe, prepare


class StormTest(BootTest):
    """Small storms; ``python -m tests.integration.storm`` runs larger ones."""

    image: ClassVar[str]

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with two compute services of fake hosts.

        Its database is PostgreSQL; that MariaDB may die is seen in test_dead_parts.
        """
        return describe(services.postgresql())

    @classmethod
    def setUpClass(cls) -> None:
        """Make what servers are made of."""
        super().setUpClass()
        cls.image = prepare(cls.deployment)

    def test_of_what_was_accepted_nothing_is_lost_stuck_doubled_or_left_behind(self) -> None:
        report = Storm(self.deployment, self.image, seed=1).run(100, 40)
        self.addDetail("report", text_content(str(report)))
        self.assertEqual([], report.wrongs())

    def test_a_rolling_restart_during_a_stream_of_boots_loses_none(self) -> None:
        report = Storm(self.deployment, self.image, seed=2).run(60, 0, gently=True)
        self.addDetail("report", text_content(str(report)))
        self.assertEqual([], report.wrongs())
        self.assertNotIn("ERROR", report.statuses)
