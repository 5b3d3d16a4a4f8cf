"""``kilonova explain`` and ``kilonova plan`` against a deployment, as an operator runs them."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from kilonova.cli.explain import Explain
from kilonova.cli.plan import Plan
from kilonova.cli.shown import CloudCommand
from tests.functional.pipeline.case import PipelineCase


class ExplainCommandTest(PipelineCase):
    """Two hosts with room for two small servers each; a build of ``bad`` fails."""

    hosts = 2
    more = "reserved_host_memory_mb = 0\n"
    plays = {"memory_mb": 256}
    script = [{"step": "spawn", "server": "bad", "error": "out of luck"}]

    def command(self, command: type[CloudCommand], *words: str, user: str = "kilonova") -> int:
        """Run a command to its end; ``self.out`` and ``self.said`` are what it wrote."""
        made = command()
        where = ("--os-cloud", user, "--clouds-file", str(self.deployment.clouds_yaml))
        options = made.get_parser("kilonova").parse_args([*where, *words])
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said):
            status = made.run(options)
        self.out, self.said = out.getvalue(), said.getvalue()
        return status

    def explain(self, what: str) -> Any:
        """Return what ``kilonova explain -f json`` tells."""
        self.assertEqual(0, self.command(Explain, what, "-f", "json"), what)
        return json.loads(self.out)

    def plan(self, *words: str, user: str = "kilonova") -> int:
        """Run ``kilonova plan`` for the usual image."""
        return self.command(Plan, "--image", "guest", *words, user=user)

    def test_a_server_is_explained_by_its_uuid_its_name_and_its_request(self) -> None:
        uuid = self.create("vm (first)")
        host = self.until_status(uuid, "ACTIVE")["OS-EXT-SRV-ATTR:host"]
        told = self.explain(uuid)
        request = told["servers"][0]["request_id"]
        for what in ("vm (first)", request, told["id"]):
            self.assertEqual(told, self.explain(what))
        self.assertEqual([{"id": uuid, "request_id": request, "host": host}], told["servers"])
        self.assertEqual(
            ["api_accept_request", "schedule_instances"], [e["event"] for e in told["boot"][:2]]
        )
        self.assertEqual(0, self.command(Explain, "vm (first)"))
        for part in (f"{uuid} on {host}", "1 of 1 servers fit", "compute_spawn"):
            self.assertIn(part, self.out)
        self.assertNotIn("refused", self.out)

    def test_a_server_without_a_host_is_explained_in_numbers(self) -> None:
        uuid = self.create("vm", flavorRef="2")
        self.until_status(uuid, "ERROR")
        self.assertEqual(0, self.command(Explain, uuid))
        self.assertIn("2 lack MEMORY_MB: needs 512 MB, the best has 256 free", self.out)
        self.assertIn("has no host", self.out)

    def test_a_boot_tells_what_each_host_said(self) -> None:
        uuid = self.create("bad")
        self.until_status(uuid, "ERROR")
        ends = [e["details"] for e in self.explain(uuid)["boot"] if e["result"] == "Error"]
        self.assertEqual(["out of luck"] * 4, ends, "spawn and build on each host")

    def test_a_server_that_waits_is_explained_by_what_it_waits_for(self) -> None:
        self.deployment.stop_part("placement")
        uuid = self.create("vm")
        self.until("it was tried", lambda: self.explain(uuid)["because"])
        told = self.explain(uuid)
        self.assertEqual(uuid, told["id"])
        self.assertIn("Placement does not answer", told["because"])
        self.deployment.start_part("placement")
        self.until_status(uuid, "ACTIVE")
        self.assertEqual(1, self.explain(uuid)["placed"])

    def test_what_is_not_known_is_told_in_one_line(self) -> None:
        nobody = "11111111-1111-4111-8111-111111111111"
        for what in (nobody, "req-nobody", "nobody"):
            self.assertEqual(255, self.command(Explain, what))
            self.assertEqual(("", 1), (self.out, self.said.count("\n")))
            self.assertIn(what, self.said)
        self.create("twin", min_count=1)
        self.create("twin", min_count=1)
        self.assertEqual(255, self.command(Explain, "twin"))
        self.assertIn("2 servers are called twin", self.said)
        self.assertEqual(255, self.command(Explain, "twin", user="kilonova-demo"))

    def test_a_plan_exits_by_whether_all_fit(self) -> None:
        for words, status, sentence in (
            (("--flavor", "m1.tiny", "--count", "4"), 0, "4 of 4 servers fit"),
            (("--flavor", "1", "--count", "5"), 1, "4 of 5 servers fit"),
            (("--flavor", "m1.small"), 1, "2 lack MEMORY_MB"),
            (("--flavor", "none"), 255, "none could not be found"),
            (("--flavor", "1", "--count", "0"), 255, "min_count"),
            (("--flavor", "1", "--hint", "group"), 255, "--hint group"),
            (("--flavor", "1", "--property", "=x"), 255, "--property =x"),
            (("--flavor", "1", "--availability-zone", "mars"), 255, "availability_zone"),
            (("--flavor", "1", "--property", "a=b", "--hint", "a=b", "--hint", "a=c"), 0, "1 of 1"),
        ):
            self.assertEqual(status, self.plan(*words), words)
            self.assertIn(sentence, self.said if status == 255 else self.out)
        self.assertEqual({}, self.held())
        self.assertEqual(255, self.command(Plan, "--flavor", "1", "--image", "none"))
        self.assertIn("no image called none", self.said)

    def test_a_tenants_plan_names_no_host(self) -> None:
        self.assertEqual(0, self.plan("--flavor", "1", "-f", "json", user="kilonova-demo"))
        self.assertNotIn("host", json.loads(self.out)["servers"][0])
        self.assertEqual(0, self.plan("--flavor", "1", "-f", "json"))
        self.assertIn("host", json.loads(self.out)["servers"][0])

    def test_columns_are_chosen_as_in_other_clients(self) -> None:
        self.assertEqual(0, self.plan("--flavor", "1", "-f", "value", "-c", "sentence"))
        self.assertEqual("1 of 1 servers fit\n", self.out)
        self.assertEqual(255, self.plan("--flavor", "1", "-c", "colour"))
        self.assertIn("colour", self.said)
