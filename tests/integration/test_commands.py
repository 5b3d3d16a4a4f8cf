"""The commands by themselves: what they refuse, and the applications under another server."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import requests
import testtools

from tests.integration.case import eventually
from tests.integration.deployment import COMMANDS, Sections, merged, write_sections
from tests.integration.services.process import CommandFailed, Process, answers, run
from tests.ports import free_port

GUNICORN = Path(__file__).parents[2] / "etc" / "kilonova" / "gunicorn.conf.py"


class CommandsTest(testtools.TestCase):
    """Each test has databases of its own, in files, and no broker."""

    def setUp(self) -> None:
        """Lay the configuration and the databases."""
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        self.configuration = self.directory / "kilonova.conf"
        self.ports = {"api": free_port(), "placement": free_port()}
        self.write({})
        self.command("manage", "db", "sync")

    def write(self, sections: Sections) -> None:
        """Write the configuration, with what differs from the ordinary."""
        token: dict[str, object] = {"auth_type": "admin_token", "token": "admin"}
        placement = token | {"endpoint": f"http://127.0.0.1:{self.ports['placement']}"}
        ordinary: Sections = {
            "DEFAULT": {"transport_url": "memory://", "state_path": self.directory},
            "api": {"auth_strategy": "noauth2"},
            "compute_api": {"bind_port": self.ports["api"], "workers": 1},
            "placement_api": {"bind_port": self.ports["placement"], "workers": 1},
            "api_database": {"connection": f"sqlite:///{self.directory}/api.db"},
            "database": {"connection": f"sqlite:///{self.directory}/cell1.db"},
            "placement_database": {"connection": f"sqlite:///{self.directory}/placement.db"},
            "placement": placement,
            "glance": token | {"endpoint": "http://127.0.0.1:9"},
            "compute": {"driver": "fake"},
        }
        write_sections(self.configuration, merged(ordinary, sections))

    def command(self, name: str, *arguments: str) -> str:
        """Run a command of kilonova's to its end."""
        program = str(COMMANDS / f"kilonova-{name}")
        return run([program, "--config-file", str(self.configuration), *arguments])

    def refused(self, name: str) -> str:
        """Return the one line with which a service refuses to start."""
        failed = self.assertRaises(CommandFailed, self.command, name)
        self.assertEqual(1, failed.status)
        lines = [line for line in failed.stderr.splitlines() if line.strip()]
        self.assertEqual(1, len(lines), failed.stderr)
        return lines[0]

    def test_noauth2_is_refused_where_others_could_reach_it_unless_that_is_said_by_name(
        self,
    ) -> None:
        for name in ("api", "placement"):
            section = "compute_api" if name == "api" else f"{name}_api"
            self.write({section: {"bind_host": "0.0.0.0"}})
            self.assertIn("noauth2", self.refused(name))
            self.assertIn("0.0.0.0", self.refused(name))
            self.write(
                {
                    section: {"bind_host": "0.0.0.0"},
                    "DEFAULT": {"allow_noauth_on_any_address": True},
                }
            )
            self.serve(name)

    def serve(self, name: str) -> None:
        """Start a service, see that it answers, and end it."""
        argv = [str(COMMANDS / f"kilonova-{name}"), "--config-file", str(self.configuration)]
        process = Process(name, argv, log=self.directory / f"{name}.log")
        try:
            process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.ports[name]}/"), 120)
        finally:
            self.assertEqual(0, process.stop())

    def test_a_wrong_configuration_is_refused_by_the_option_that_is_wrong(self) -> None:
        for name, sections, expected in (
            ("api", {"compute_api": {"bind_port": "many"}}, "bind_port"),
            ("api", {"api_database": {"connection": ""}}, "[api_database] connection"),
            ("placement", {"placement_database": {"connection": ""}}, "[placement_database]"),
            ("scheduler", {"api_database": {"connection": ""}}, "[api_database] connection"),
            ("compute", {"compute": {"driver": "vmware"}}, "driver"),
            ("compute", {"fake": {"script": "/nowhere"}}, "[fake] script"),
        ):
            self.write(sections)
            self.assertIn(expected, self.refused(name))

    def test_a_file_that_is_not_there_is_named(self) -> None:
        self.configuration = self.directory / "nowhere.conf"
        for name in ("api", "placement", "conductor", "scheduler", "compute"):
            self.assertIn("nowhere.conf", self.refused(name))

    def test_an_address_that_is_taken_is_named(self) -> None:
        self.write({"compute_api": {"bind_port": self.ports["placement"]}})
        argv = [str(COMMANDS / "kilonova-placement"), "--config-file", str(self.configuration)]
        process = Process("placement", argv, log=self.directory / "placement.log")
        self.addCleanup(process.stop)
        process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.ports['placement']}/"), 120)
        self.assertIn(f"127.0.0.1:{self.ports['placement']}", self.refused("api"))

    def test_any_wsgi_server_can_serve_both_applications(self) -> None:
        for name in ("api", "placement"):
            port = self.ports[name]
            argv = [str(Path(sys.executable).parent / "gunicorn"), "-c", str(GUNICORN)]
            process = Process(
                f"gunicorn of {name}",
                [*argv, "-b", f"127.0.0.1:{port}", f"kilonova.{name}.wsgi:application"],
                log=self.directory / f"{name}.log",
                env=os.environ | {"KILONOVA_CONFIG": str(self.configuration)},
            )
            self.addCleanup(process.stop)
            process.wait_ready(lambda url=f"http://127.0.0.1:{port}/": answers(url), 120)  # type: ignore[misc]
            path = "/v2.1/flavors" if name == "api" else "/resource_providers"
            answer = requests.get(
                f"http://127.0.0.1:{port}{path}", headers={"X-Auth-Token": "admin"}, timeout=60
            )
            self.assertEqual(200, answer.status_code, answer.text)

    def test_a_configuration_that_became_wrong_stops_nothing(self) -> None:
        argv = [str(COMMANDS / "kilonova-placement"), "--config-file", str(self.configuration)]
        process = Process("placement", argv, log=self.directory / "placement.log")
        self.addCleanup(process.stop)
        url = f"http://127.0.0.1:{self.ports['placement']}/"
        process.wait_ready(lambda: answers(url), 120)
        self.write({"placement_api": {"workers": "many"}})
        process.send(signal.SIGHUP)
        eventually("it is told", 120, lambda: "[placement_api] workers" in process.log.read_text())
        process.wait_ready(lambda: answers(url), 120)
