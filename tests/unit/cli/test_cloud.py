"""Which cloud a command asks."""

import argparse
import os
import tempfile
from pathlib import Path

import fixtures
import testtools

from kilonova.cli import bench, cloud
from kilonova.core.errors import Invalid


class CloudTest(testtools.TestCase):
    """By options, by clouds.yaml, by the environment."""

    def setUp(self) -> None:
        """Start with an environment that names no cloud."""
        super().setUp()
        for name in [name for name in os.environ if name.startswith("OS_")]:
            self.useFixture(fixtures.EnvironmentVariable(name))
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.clouds = Path(scratch.name) / "clouds.yaml"

    def connect(self, *words: str) -> cloud.Cloud:
        """Return the cloud that the words of a command line, or the environment, name."""
        parser = argparse.ArgumentParser()
        cloud.add_arguments(parser)
        return cloud.connect(parser.parse_args(words))

    def test_an_endpoint_needs_no_identity(self) -> None:
        found = self.connect("--endpoint", "http://x/v2.1/", "--token", "a:b")
        self.assertEqual(("http://x/v2.1", "a:b"), (found.compute, found.token))

    def test_bench_asks_as_the_others_do(self) -> None:
        parser = argparse.ArgumentParser()
        bench.add_arguments(parser)
        words = ["--endpoint", "http://x/v2.1", "--token", "a:b", "--image", "i"]
        self.assertEqual("a:b", cloud.connect(parser.parse_args(words)).token)

    def test_our_own_api_is_beside_the_compute_api_wherever_that_is(self) -> None:
        for endpoint, own in (
            ("http://x:8774/v2.1", "http://x:8774/kilonova/v1"),
            ("http://x:8774/v2.1/", "http://x:8774/kilonova/v1"),
            ("http://x:8774/v2/0af1", "http://x:8774/kilonova/v1"),
            ("http://x/compute/v2.1", "http://x/compute/kilonova/v1"),
            ("http://x/compute", "http://x/compute/kilonova/v1"),
        ):
            self.assertEqual(own, self.connect("--endpoint", endpoint).own)

    def test_a_cloud_that_clouds_yaml_does_not_have_is_refused_by_name(self) -> None:
        words = ("--os-cloud", "mine", "--clouds-file", str(self.clouds))
        for text in ("clouds: {}", "", "clouds: {mine: {}}", "clouds: {mine: {auth: 5}}", "{["):
            self.clouds.write_text(text)
            self.assertIn("cloud mine", self.assertRaises(Invalid, self.connect, *words).message)
        self.clouds.unlink()
        self.assertIn("clouds.yaml", self.assertRaises(Invalid, self.connect, *words).message)

    def test_what_a_cloud_does_not_say_is_named(self) -> None:
        self.clouds.write_text("clouds: {mine: {auth: {username: ann, password: p}}}")
        words = ("--os-cloud", "mine", "--clouds-file", str(self.clouds))
        self.assertIn("auth", self.assertRaises(Invalid, self.connect, *words).message)

    def test_any_kind_of_authentication_will_do(self) -> None:
        auth = "{endpoint: 'http://x/v2.1', token: t}"
        self.clouds.write_text(f"clouds: {{mine: {{auth_type: admin_token, auth: {auth}}}}}")
        found = self.connect("--os-cloud", "mine", "--clouds-file", str(self.clouds))
        self.assertEqual(("http://x/v2.1", "t"), (found.compute, found.token))

    def let(self, **variables: str) -> None:
        """Set variables of the environment."""
        for name, value in variables.items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def test_the_environment_names_a_cloud_or_is_one(self) -> None:
        self.assertIn("--os-cloud", self.assertRaises(Invalid, self.connect).message)
        self.let(OS_AUTH_TYPE="admin_token", OS_ENDPOINT="http://e/v2.1", OS_TOKEN="t")
        self.assertEqual("http://e/v2.1", self.connect().compute)
        auth = "{endpoint: 'http://x/v2.1', token: t}"
        self.clouds.write_text(f"clouds: {{mine: {{auth_type: admin_token, auth: {auth}}}}}")
        self.let(OS_CLOUD="mine", OS_CLIENT_CONFIG_FILE=str(self.clouds))
        self.assertEqual("http://x/v2.1", self.connect().compute)
        self.assertEqual("http://y", self.connect("--endpoint", "http://y").compute)
