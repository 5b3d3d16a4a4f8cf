"""The samples of etc/kilonova say what the code says."""

import os
import subprocess
import sys
from pathlib import Path

import fixtures
import testtools

ROOT = Path(__file__).parents[2]
SAMPLES = ("kilonova.conf.sample", "policy.yaml.sample", "placement-policy.yaml.sample")


class SamplesTest(testtools.TestCase):
    """What tools/samples writes is what is there."""

    def test_the_samples_are_those_of_the_code(self) -> None:
        made = Path(self.useFixture(fixtures.TempDir()).path)
        subprocess.run(
            [str(ROOT / "tools" / "samples"), str(made)],
            env=os.environ | {"KILONOVA_PROGRAMS": str(Path(sys.executable).parent)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
        for name in SAMPLES:
            there = (ROOT / "etc" / "kilonova" / name).read_text(encoding="utf-8")
            self.assertEqual(
                (made / name).read_text(encoding="utf-8"), there, f"{name}: tools/samples"
            )
