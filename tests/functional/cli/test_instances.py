"""``kilonova instances`` against a deployment, as an operator runs it."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from kilonova.cli.instances import Instances
from kilonova.compute import monitor
from kilonova.compute.monitor import Monitor
from kilonova.conductor import sampling
from kilonova.core.errors import HypervisorUnavailable
from tests.functional.pipeline.case import PipelineCase


class InstancesCommandTest(PipelineCase):
    """Two hosts with a server each."""

    hosts = 2
    more = "report_interval = 1\n"

    def setUp(self) -> None:
        self.patch(monitor, "INTERVAL", 0.2)
        super().setUp()
        self.on = {
            name: self.until_status(self.create(name), "ACTIVE")["OS-EXT-SRV-ATTR:host"]
            for name in ("one", "two")
        }

    def run_command(self, *words: str, user: str = "kilonova") -> int:
        """Run the command to its end; ``self.out`` and ``self.said`` are what it wrote."""
        made = Instances()
        where = ("--os-cloud", user, "--clouds-file", str(self.deployment.clouds_yaml))
        options = made.get_parser("kilonova").parse_args([*where, *words])
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said):
            status = made.run(options)
        self.out, self.said = out.getvalue(), said.getvalue()
        return status

    def told(self, *words: str) -> dict[str, Any]:
        """Return what ``-f json`` shows, by the servers' names."""
        self.assertEqual(0, self.run_command(*words, "-f", "json"), self.said)
        return {one["Name"]: one for one in json.loads(self.out)}

    def test_servers_are_listed_with_how_they_are(self) -> None:
        self.until(
            "their CPUs are known",
            lambda: all(one["CPU Total"] for one in self.told("--vitals").values()),
        )
        found = self.told("--vitals")
        self.assertEqual(self.on, {name: one["Host"] for name, one in found.items()})
        one = found["one"]
        self.assertEqual(("ACTIVE", {"used": 32, "size": 128}), (one["State"], one["Memory Usage"]))
        self.assertEqual((None, []), (one["Swap Usage"], one["IPs"]))
        self.assertEqual(0, self.run_command("--vitals"))
        for part in ("25% (32 MiB)", "Persistent Disk", self.on["two"]):
            self.assertIn(part, self.out)
        self.assertEqual("", self.said)

    def test_servers_are_chosen_by_host_and_project(self) -> None:
        for words in ((), ("--vitals",), ("--vitals", "--normal")):
            found = self.told(*words, "--host", self.on["one"])
            here = {name for name, host in self.on.items() if host == self.on["one"]}
            self.assertEqual(here, set(found))
            self.assertEqual({"one", "two"}, set(self.told(*words, "--project", self.project)))
            self.assertEqual({}, self.told(*words, "--project", "nobody"))

    def test_a_host_that_is_not_there_is_named(self) -> None:
        for words in ((), ("--vitals",)):
            self.assertEqual(255, self.run_command(*words, "--host", "nowhere"))
            self.assertIn("There is no compute host called nowhere.", self.said)

    def test_without_vitals_no_host_is_asked(self) -> None:
        self.patch(Monitor, "vitals", lambda _seen: self.fail("a host was asked"))
        self.assertEqual({"one", "two"}, set(self.told()))
        self.assertNotIn("Uptime", self.told()["one"])

    def test_hosts_that_do_not_answer_are_named_on_the_way_out(self) -> None:
        self.patch(sampling, "_PATIENCE", 1.0)

        def vitals(_seen: Monitor) -> Any:
            raise HypervisorUnavailable("gone")

        self.patch(Monitor, "vitals", vitals)
        self.assertEqual(1, self.run_command("--vitals", "-f", "json"))
        for host in set(self.on.values()):
            self.assertIn(host, self.said)
        self.assertEqual([None, None], [one["CPU Total"] for one in json.loads(self.out)])

    def test_who_may_not_is_told_so_in_one_line(self) -> None:
        self.assertEqual(255, self.run_command("--vitals", user="kilonova-demo"))
        self.assertEqual(("", 1), (self.out, self.said.count("\n")))
        self.assertIn("kilonova:tasks:create", self.said)
