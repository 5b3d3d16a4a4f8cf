"""Filters and weighers from outside: a distribution of somebody else's, found by its entry points."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import testtools

ROOT = Path(__file__).resolve().parents[3]

_FILTERS = '''
"""What a site added to its scheduler."""

from kilonova.core.scheduling import Reason
from kilonova.scheduler.filters import about


@about(lambda spec: "rack" in spec.hints)
def rack(spec, host, moment):
    """The host is in the rack that the hint names."""
    if host.host.startswith(spec.hints["rack"]):
        return None
    return Reason(refused_by="RackFilter", sentence="are in another rack")


def newest(spec, fits, moment):
    """The greatest name is the newest host."""
    return [float(fit.host.host[-1]) for fit in fits]
'''
_METADATA = "Metadata-Version: 2.1\nName: site-scheduler\nVersion: 1.0\n"
_ENTRY_POINTS = """\
[kilonova.scheduler.filters]
RackFilter = site_scheduler:rack

[kilonova.scheduler.weighers]
NewestWeigher = site_scheduler:newest
"""
_PROGRAM = """
from kilonova.core import settings
from kilonova.scheduler import recipe
from kilonova.scheduler.pipeline import Question, pick, sift
from tests.unit.scheduler.fleet import MOMENT, fit, spec, uuids

conf = settings.new_config()
conf([])
conf.set_override("enabled_filters", ["ComputeFilter", "RackFilter"], "filter_scheduler")
conf.set_override("weight_classes", ["site_scheduler.NewestWeigher"], "filter_scheduler")
how = recipe.load(conf)
asked = Question(spec=spec(hints={"rack": "r1"}), instances=uuids(1), moment=MOMENT)
sifted = sift(asked, [fit(name) for name in ("r1-1", "r2-9", "r1-7", "r1-3")], how)
(decision,) = pick(asked, sifted.fits, how).decisions
print(decision.destination.host, sifted.refusals.total(4).sentence())
"""


class ExtensionsTest(testtools.TestCase):
    """A small distribution is installed where Python finds it, and named in the configuration."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Path(directory.name)

    def _install(self) -> None:
        """Lay the files as an installer does."""
        (self.site / "site_scheduler.py").write_text(_FILTERS)
        information = self.site / "site_scheduler-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(_METADATA)
        (information / "entry_points.txt").write_text(_ENTRY_POINTS)

    def _run(self) -> "subprocess.CompletedProcess[str]":
        path = os.pathsep.join([str(ROOT), str(self.site)])
        # stevedore keeps what it found under the home directory.
        environment = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(self.site / "cache")}
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_an_installed_filter_and_weigher_decide(self) -> None:
        self._install()
        done = self._run()
        self.assertEqual("r1-7 0 of 4 hosts fit: 1 is in another rack\n", done.stdout, done.stderr)

    def test_one_that_is_not_installed_is_told_by_its_name(self) -> None:
        done = self._run()
        self.assertNotEqual(0, done.returncode)
        self.assertIn("enabled_filters: there is no 'RackFilter'", done.stderr)
