"""Names found by a database are those that the pattern itself says, on every kind of database."""

import random

import testscenarios

from kilonova.core.errors import Invalid
from kilonova.core.name_pattern import NamePattern
from kilonova.db import instances
from kilonova.db.instance_lists import ServerQuery, list_instances
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import placed
from tests.unit.core.test_name_pattern import NAMES, PATTERNS

load_tests = testscenarios.load_tests_apply_scenarios

MORE_NAMES = ("É1", "e1", "ß", "日本", "tab\tname", "a  b", "%", "a_b", "-", "]", "[x]")
MORE_PATTERNS = (
    "É", "[é-ö]", r"\W", r"\D$", r"^\S+$", r"\s", "日", "^.$", "_", "%", "[^-]-", "-$", "[x-]",
    r"[\w.]$", r"[^\s\d]", r"\é", r"\\$", r"[\\d]",
)  # fmt: skip
PIECES = (
    *"ab1-_.é^$|*+?[]\\ ", ".*", r"\d", r"\w", r"\W", r"\s", r"\.", r"\-", r"\\", "[a-c]", "[^a]",
    r"[\w.]", r"[^\s]", "[1-", "-]", "[-", "(", ")", "(a|", "(?:", "{2}", "{1,}", "{0,1}", ")?",
)  # fmt: skip


class NamePatternsTest(DatabaseCase):
    """One server of each name."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        self.names = (*NAMES, *MORE_NAMES)
        instances.insert(self.cell, [placed(name=name) for name in self.names])

    def check(self, pattern: NamePattern) -> None:
        """Find servers by a pattern."""
        expected = sorted(name for name in self.names if pattern.matches(name))
        found = list_instances(self.cell, ServerQuery(name=pattern))
        self.assertEqual(expected, sorted(server.name for server in found), pattern.text)

    def test_every_database_matches_as_the_service_does(self) -> None:
        for text in (*PATTERNS, *MORE_PATTERNS):
            self.check(NamePattern(text))

    def test_so_it_does_by_whatever_can_be_read(self) -> None:
        chance, tried = random.Random(7), 0
        while tried < 300:
            text = "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 6)))
            try:
                pattern = NamePattern(text)
            except Invalid:
                continue
            self.check(pattern)
            tried += 1
