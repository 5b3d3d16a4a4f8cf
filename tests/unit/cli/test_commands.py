"""What the commands make of their arguments."""

import argparse
import subprocess
import time

import testtools

from kilonova.cli import up
from kilonova.cli.manage import cell0_url
from kilonova.cli.processes import Usage
from kilonova.cli.service import required


class Cell0Test(testtools.TestCase):
    """Where cell0's database is, beside the API's."""

    def test_it_is_a_database_of_the_same_server_whose_name_says_what_it_is(self) -> None:
        for url, cell0 in (
            ("sqlite:////srv/api.db", "sqlite:////srv/api_cell0.db"),
            ("sqlite:////srv/api", "sqlite:////srv/api_cell0"),
            ("sqlite:////srv/of.mine/api", "sqlite:////srv/of.mine/api_cell0"),
            ("sqlite:///api.v2.sqlite", "sqlite:///api.v2_cell0.sqlite"),
            (
                "mysql+pymysql://nova:p%40ss@db/nova_api?charset=utf8mb4",
                "mysql+pymysql://nova:p%40ss@db/nova_api_cell0?charset=utf8mb4",
            ),
            (
                "postgresql+psycopg://nova@db:5433/api",
                "postgresql+psycopg://nova@db:5433/api_cell0",
            ),
        ):
            self.assertEqual(cell0, cell0_url(url))


class UpTest(testtools.TestCase):
    """What ``kilonova up`` refuses before it begins."""

    def _run(self, *words: str) -> str:
        parser = argparse.ArgumentParser()
        up.add_arguments(parser)
        return str(self.assertRaises(SystemExit, up.run, parser.parse_args(words)))

    def test_hosts_that_cannot_be_are_refused_in_a_sentence(self) -> None:
        self.assertIn("at least 1", self._run("--driver", "fake", "--hosts", "0"))
        self.assertIn("--driver fake", self._run("--hosts", "2"))


class ServiceTest(testtools.TestCase):
    """What a service cannot do without."""

    def test_an_option_that_is_not_set_is_named(self) -> None:
        self.assertEqual("x", required("x", "[database] connection", "prog"))
        for missing in (None, ""):
            error = self.assertRaises(
                SystemExit, required, missing, "[database] connection", "prog"
            )
            self.assertEqual("prog: [database] connection is not set", str(error))


class UsageTest(testtools.TestCase):
    """CPU time of processes, by what their command lines say."""

    def test_the_processor_time_of_a_process_is_counted_under_its_name(self) -> None:
        loop = "while true; do :; done"
        mark = "only-of-this-test"
        busy = subprocess.Popen(["bash", "-c", loop, "kilonova-conductor", mark])
        self.addCleanup(busy.wait)
        self.addCleanup(busy.kill)
        before = Usage([mark])
        time.sleep(0.3)
        spent = Usage([mark]).since(before)
        self.assertEqual(["conductor"], list(spent))
        self.assertGreater(spent["conductor"], 0.0)
        self.assertLess(spent["conductor"], 3.0)
        self.assertEqual({}, Usage(["nothing is called so"]).since(before))
