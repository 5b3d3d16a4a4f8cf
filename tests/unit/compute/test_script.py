"""The script of fake hosts."""

import tempfile
import time
from pathlib import Path

import testtools

from kilonova.compute.script import FakeHosts, Parts, Script, Step, Uses
from kilonova.core.errors import BuildAborted, BuildFailed, HypervisorUnavailable, Invalid
from kilonova.core.ids import HostName

H0, H1 = HostName("h-0"), HostName("h-1")


class ScriptTest(testtools.TestCase):
    """Which steps apply, and what they do."""

    def test_an_empty_script_lets_everything_pass(self) -> None:
        Script().play("spawn", H0, "vm")

    def test_a_step_applies_to_its_name_its_host_and_servers_named_so(self) -> None:
        step = Step(step="spawn", server="luck", host="h-1", error="no")
        script = Script([step])
        self.assertEqual((step,), script.take("spawn", H1, "unlucky"))
        self.assertEqual((), script.take("disks", H1, "unlucky"))
        self.assertEqual((), script.take("spawn", H0, "unlucky"))
        self.assertEqual((), script.take("spawn", H1, "vm"))

    def test_a_step_without_names_applies_everywhere(self) -> None:
        step = Step(step="guests", error="no")
        self.assertEqual((step,), Script([step]).take("guests", H0))

    def test_the_times_are_counted_over_all_hosts(self) -> None:
        script = Script([Step(step="spawn", times=2, error="no")])
        for host in (H0, H1):
            self.assertRaises(BuildFailed, script.play, "spawn", host, "vm")
        script.play("spawn", H0, "vm")

    def test_no_times_means_never(self) -> None:
        Script([Step(step="spawn", times=0, error="no")]).play("spawn", H0, "vm")

    def test_what_does_not_apply_is_not_counted(self) -> None:
        script = Script([Step(step="spawn", server="a", times=1, error="no")])
        script.play("spawn", H0, "b")
        self.assertRaises(BuildFailed, script.play, "spawn", H0, "a")

    def test_an_error_is_of_the_kind_that_the_step_says(self) -> None:
        for step, kind in (
            (Step(step="disks", error="no"), BuildFailed),
            (Step(step="disks", error="no", abort=True), BuildAborted),
            (Step(step="disks", error="no", unavailable=True), HypervisorUnavailable),
        ):
            error = self.assertRaises(kind, Script([step]).play, "disks", H0, "vm")
            self.assertIs(kind, type(error))
            self.assertEqual("no", error.message)

    def test_delays_add_up_and_the_first_error_ends_it(self) -> None:
        script = Script(
            [
                Step(step="spawn", seconds=0.05),
                Step(step="spawn", seconds=0.05, error="first"),
                Step(step="spawn", seconds=5, error="second"),
            ]
        )
        began = time.monotonic()
        error = self.assertRaises(BuildFailed, script.play, "spawn", H0, "vm")
        self.assertEqual("first", error.message)
        self.assertTrue(0.1 <= time.monotonic() - began < 5)


class ReadTest(testtools.TestCase):
    """Scripts in files."""

    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name) / "script.yaml"

    def read(self, text: str) -> FakeHosts:
        """Return what a file of this text says."""
        self.path.write_text(text)
        return FakeHosts.read(str(self.path))

    def test_no_file_is_one_host_that_never_fails(self) -> None:
        for path in (None, ""):
            plays = FakeHosts.read(path)
            self.assertEqual((1, ()), (plays.hosts, plays.steps))

    def test_what_a_file_leaves_out_is_as_usual(self) -> None:
        plays = self.read("hosts: 3\nspawn_seconds: 0.5\n")
        usual = FakeHosts()
        self.assertEqual((3, 0.5), (plays.hosts, plays.spawn_seconds))
        self.assertEqual((usual.vcpus, usual.steps), (plays.vcpus, plays.steps))

    def test_the_documents_example_can_be_read(self) -> None:
        document = Path(__file__).parents[3] / "doc" / "fake-driver.md"
        example = document.read_text().partition("```yaml\n")[2].partition("```")[0]
        plays = self.read(example)
        self.assertEqual(
            (16, 32, 131072, 2000, 0.2, 8),
            (
                plays.hosts,
                plays.vcpus,
                plays.memory_mb,
                plays.disk_gb,
                plays.spawn_seconds,
                len(plays.steps),
            ),
        )
        script = Script(plays.steps)
        self.assertEqual(Uses(cpu=0.9, memory=4, disk=0.5), script.uses(H0, "greedy-1"))
        self.assertEqual(Uses(), script.uses(H0, "modest"))
        self.assertRaises(BuildFailed, script.play, "spawn", H0, "unlucky")
        self.assertRaises(BuildAborted, script.play, "disks", H1, "broken")
        self.assertRaises(HypervisorUnavailable, script.play, "nodes", H1)
        self.assertRaises(BuildFailed, script.play, "snapshot", H0, "full")
        (off,) = script.take("power-off", H0, "short-lived")
        self.assertEqual(2, off.seconds)
        told = script.parts(HostName("h-2"))
        self.assertEqual(({2048: 512}, "gpu"), (told.numa[0].pages, told.pci[0].alias))
        self.assertEqual(Parts(), script.parts(H0))

    def test_what_is_no_script_is_refused_naming_the_file(self) -> None:
        for text in (
            "",
            "[]",
            "hosts: 0",
            "hosts: many",
            "memory_mb: -1",
            "spawn_seconds: -1",
            "nodes: 3",
            "steps: [{}]",
            "steps: [{step: dance}]",
            "steps: [{step: spawn, tmes: 1}]",
            "steps: [{step: spawn, times: one}]",
            "steps: {",
        ):
            error = self.assertRaises(Invalid, self.read, text)
            self.assertIn(str(self.path), error.message)

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        self.assertRaises(Invalid, FakeHosts.read, str(self.path))
