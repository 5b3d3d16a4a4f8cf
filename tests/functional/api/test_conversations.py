"""The Compute API as its users know it: the HTTP conversations of ``conversations/``."""

import re
import unittest
from collections.abc import Callable

import testtools
from gabbi import handlers, suitemaker

from tests.functional.api import conversation_files
from tests.functional.api.cloud import Cloud


class _Conversations(testtools.TestCase):
    def hold(self, name: str) -> None:
        """Hold a conversation and fail with every request that was not answered as it says."""
        told = conversation_files.read(name)
        cloud = Cloud(
            plays=told.pop("hosts", {}),
            policy=told.pop("policy", {}),
            configuration=told.pop("configuration", ""),
            alone=told.pop("alone", False),
            away=told.pop("away", False),
        )
        cloud.start(self)
        suite = suitemaker.test_suite_from_dict(
            unittest.TestLoader(),
            name,
            told,
            str(conversation_files.HERE),
            "compute.example",
            80,
            None,
            lambda: cloud.app,
            handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
            test_loader_name=name,
        )
        result = unittest.TestResult()
        suite.run(result)
        wrong = [
            f"{test.test_data['name']}: {_reason(trace)}"
            for test, trace in result.failures + result.errors
        ]
        self.assertGreater(result.testsRun, 0)
        if wrong:
            self.fail("\n\n".join(wrong))


def _reason(trace: str) -> str:
    """Return what a trace ends with: which of gabbi's lines raised it tells nobody anything."""
    return re.split(r"\n(?=\S*(?:Error|Exception)\b)", trace.strip())[-1][:2000]


def _test(name: str) -> Callable[[_Conversations], None]:
    def test(self: _Conversations) -> None:
        self.hold(name)

    return test


def _tests(names: list[str]) -> dict[str, Callable[[_Conversations], None]]:
    return {f"test_{name.replace('-', '_')}": _test(name) for name in names}


_NAMES = conversation_files.names()


class ServerConversationsTest(_Conversations):
    """One test a conversation about servers."""

    locals().update(_tests([name for name in _NAMES if name.startswith("server-")]))


class ConversationsTest(_Conversations):
    """One test a conversation about anything else."""

    locals().update(_tests([name for name in _NAMES if not name.startswith("server-")]))
