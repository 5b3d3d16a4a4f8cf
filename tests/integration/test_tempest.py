"""Tempest, unmodified, against kilonova: what stands in ``tempest/quick.txt``."""

from pathlib import Path
from typing import ClassVar

from testtools.content import text_content

from tests.integration.case import BootTest
from tests.integration.deployment import Deployment
from tests.integration.tempest import cloud
from tests.integration.tempest.run import EXCLUDED, PASSED_ON, QUICK, tempest

LEAST = 100
"""How many tests must have passed: a run that skips them all shows nothing."""


class TempestTest(BootTest):
    """One run, on one deployment."""

    configuration: ClassVar[Path]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        return cloud.describe()

    @classmethod
    def setUpClass(cls) -> None:
        """Start the cloud, and make what Tempest is told that there is."""
        super().setUpClass()
        cls.configuration = cloud.prepare(cls.deployment)

    def test_what_tempest_asks_first_is_answered_as_it_expects(self) -> None:
        outcome = tempest(self.configuration, ["--include-list", str(QUICK)], [EXCLUDED, PASSED_ON])
        for name, told in outcome.failed.items():
            self.addDetail(name, text_content(told))
        self.assertEqual([], sorted(outcome.failed), str(outcome))
        self.assertGreaterEqual(len(outcome.passed), LEAST, str(outcome))
