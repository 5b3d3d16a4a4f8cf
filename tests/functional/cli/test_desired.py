"""``kilonova desired`` against a deployment, as a user runs it."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from kilonova.cli.desired import (
    DesiredCreate,
    DesiredDelete,
    DesiredList,
    DesiredReplace,
    DesiredScale,
    DesiredShow,
)
from kilonova.cli.shown import AsksCloud
from tests.functional.pipeline.desired_case import DesiredCase


class DesiredCommandsTest(DesiredCase):
    """A server called bad-0 cannot be built."""

    script = [{"step": "spawn", "server": "bad-0", "error": "out of luck"}]

    def command(self, command: type[AsksCloud], *words: str, user: str = "kilonova") -> int:
        """Run a command to its end; ``self.out`` and ``self.said`` are what it wrote."""
        made: Any = command()
        where = ("--os-cloud", user, "--clouds-file", str(self.deployment.clouds_yaml))
        options = made.get_parser("kilonova").parse_args([*where, *words])
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said):
            status: int = made.run(options)
        self.out, self.said = out.getvalue(), said.getvalue()
        return status

    def told(self, command: type[AsksCloud], *words: str) -> Any:
        """Run a command that succeeds, and return what it tells programs."""
        self.assertEqual(0, self.command(command, *words, "-f", "json"), words)
        return json.loads(self.out)

    def create(self, name: str, *words: str) -> Any:  # type: ignore[override]
        """Run ``kilonova desired create`` for the usual flavor and image."""
        what = ("--flavor", "m1.tiny", "--image", "guest", "--nic", "none")
        return self.told(DesiredCreate, name, *what, *words)

    def test_servers_are_desired_scaled_replaced_and_desired_no_more(self) -> None:
        made = self.create("web", "--count", "2", "--property", "a=b")
        self.assertEqual(("web", 2, 0), (made["name"], made["count"], made["started"]))
        first = self.until_running(2)
        self.assertEqual({"a": "b"}, self.server(first[0])["metadata"])
        self.assertEqual(0, self.command(DesiredShow, "web"))
        for part in (f"0: running {first[0]}", f"1: running {first[1]}", "m1.tiny", "guest"):
            self.assertIn(part, self.out)
        self.assertEqual(3, self.told(DesiredScale, "web", "3")["count"])
        self.until_running(3)
        replaced = self.told(DesiredReplace, made["id"], "--flavor", "m1.small")
        self.assertEqual({"left": 3, "of": 3, "stopped_by": None}, replaced["replace"])
        self.assertEqual("m1.small", replaced["flavor"]["name"])
        third = self.until_running(3)
        self.assertFalse(set(first) & set(third))
        (listed,) = self.told(DesiredList)
        expected = {"ID": made["id"], "Name": "web", "Count": 3, "Started": 3}
        self.assertEqual(expected | {"Generation": 2, "Deleting": False}, listed)
        self.assertEqual(0, self.command(DesiredList, "--all-projects", "-f", "value"))
        self.assertIn("web", self.out)
        self.assertEqual({"name": "web", "deleting": True}, self.told(DesiredDelete, "web"))
        self.until("it is gone", lambda: self.command(DesiredShow, "web") == 255)
        self.assertIn("There are no desired servers web", self.said)

    def test_what_is_wrong_is_told_in_one_line_and_what_failed_at_its_index(self) -> None:
        self.create("bad", "--count", "1", "--group-policy", "anti-affinity")
        self.until("it failed", lambda: self.shown("bad")["servers"][0]["failures"] >= 4)
        self.assertEqual(0, self.command(DesiredShow, "bad"))
        self.assertIn("times: The server could not be built", self.out.replace("\n", " "))
        self.assertIn("next start after", self.out)
        for words, says in (
            (("bad", "--count", "1", "--flavor", "1", "--image", "guest"), "already"),
            (("x", "--count", "1", "--flavor", "9", "--image", "guest"), "Flavor 9"),
            (("x", "--count", "1", "--flavor", "1", "--image", "none"), "no image called none"),
            (("x", "--count", "-1", "--flavor", "1", "--image", "guest"), "count"),
        ):
            self.assertEqual(255, self.command(DesiredCreate, *words))
            self.assertIn(says, self.said)
            self.assertEqual(1, self.said.count("\n"))
        self.assertEqual(255, self.command(DesiredShow, "bad", user="kilonova-demo"))
        self.assertIn("kilonova desired show: There are no desired servers bad", self.said)

    def test_the_program_has_all_of_them(self) -> None:
        program = [sys.executable, "-c", "from kilonova.cli.main import main; main()"]
        ran = subprocess.run(
            [*program, "desired", "-h"], capture_output=True, text=True, check=True
        )
        for verb in ("create", "list", "show", "scale", "replace", "delete"):
            self.assertIn(f"  {verb} ", ran.stdout)
