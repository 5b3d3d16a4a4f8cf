"""Tokens of consoles."""

from datetime import timedelta

import testscenarios

from kilonova.core.console import ConsoleAddress
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db import acceptance, build_requests, console_tokens
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.console_tokens import Console
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import REQUEST, instance

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(seconds=600)
ADDRESS = ConsoleAddress(host="192.0.2.9", port=5900, path="vm", tls_port=5901)


class ConsoleTokensTest(DatabaseCase):
    """A console of one server."""

    def setUp(self) -> None:
        super().setUp()
        self.api = self.open("api", "api")
        self.server = instance()
        spec = RequestSpec(
            project_id=self.server.project_id,
            user_id=self.server.user_id,
            flavor=self.server.flavor,
            image=self.server.image,
        )
        accepted = Accepted(instance=self.server, spec=spec, request_id=REQUEST)
        acceptance.accept(self.api, [Lot([accepted], Limits())])
        self.console = Console(self.server.uuid, "novnc", ADDRESS)
        console_tokens.grant(self.api, "token", self.console, NOW, LATER)

    def test_who_has_the_token_finds_the_console_until_it_expires(self) -> None:
        self.assertEqual(self.console, console_tokens.find(self.api, "token", LATER))
        self.assertIsNone(console_tokens.find(self.api, "other", NOW))
        self.assertIsNone(console_tokens.find(self.api, "token", LATER + timedelta(seconds=1)))

    def test_the_token_of_a_deleted_server_is_none(self) -> None:
        build_requests.queue_for_delete(self.api, self.server.uuid)
        self.assertIsNone(console_tokens.find(self.api, "token", NOW))

    def test_tokens_that_expired_are_forgotten(self) -> None:
        after = LATER + timedelta(seconds=1)
        console_tokens.grant(self.api, "new", self.console, after, after + timedelta(seconds=9))
        self.assertIsNone(console_tokens.find(self.api, "token", NOW))
        self.assertEqual(self.console, console_tokens.find(self.api, "new", after))
