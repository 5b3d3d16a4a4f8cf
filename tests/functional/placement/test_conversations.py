"""Placement as its clients know it: the HTTP conversations of ``conversations/``, on every database.

Each file is one conversation, whose requests build on one another, with a service that holds nothing yet.
Beside what gabbi reads, a file may have ``configuration`` (more of kilonova.conf) and ``policy`` (a policy
file's rules).
"""

import json
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

import testscenarios
from gabbi import handlers, suitemaker, utils

from kilonova.core import settings
from kilonova.http.identity import Wsgi
from kilonova.placement.wsgi import assemble
from tests.functional.placement.placement_case import PlacementCase

load_tests = testscenarios.load_tests_apply_scenarios

_HERE = Path(__file__).parent / "conversations"


def _test(name: str) -> Callable[["ConversationsTest"], None]:
    def test(self: "ConversationsTest") -> None:
        self.hold(name)

    return test


class ConversationsTest(PlacementCase):
    """One test a conversation."""

    for _file in sorted(_HERE.glob("*.yaml")):
        locals()[f"test_{_file.stem.replace('-', '_')}"] = _test(_file.stem)

    def hold(self, name: str) -> None:
        """Hold a conversation and fail with every request that was not answered as it says."""
        told = utils.load_yaml(yaml_file=str(_HERE / f"{name}.yaml"))
        app = self._service(told.pop("configuration", ""), told.pop("policy", {}))
        suite = suitemaker.test_suite_from_dict(
            unittest.TestLoader(),
            name,
            told,
            str(_HERE),
            "placement.example",
            8778,
            None,
            lambda: app,
            handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
            test_loader_name=name,
        )
        result = unittest.TestResult()
        suite.run(result)
        wrong = [
            f"{test.test_data['name']}:\n{trace.strip()[-2000:]}"
            for test, trace in result.failures + result.errors
        ]
        self.assertGreater(result.testsRun, 0)
        self.assertEqual([], wrong, "\n\n".join(wrong))

    def _service(self, more: str, policy: dict[str, str]) -> Wsgi:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        rules = Path(scratch.name) / "policy.yaml"
        rules.write_text(json.dumps(policy))
        conf = Path(scratch.name) / "kilonova.conf"
        conf.write_text(
            f"[api]\nauth_strategy = noauth2\n[oslo_policy]\npolicy_file = {rules}\n{more}"
        )
        return assemble(
            settings.read_config(["--config-file", str(conf)], prog="kilonova-placement"), self.db
        )
