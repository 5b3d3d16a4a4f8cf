"""What patterns of names match, and that none takes long."""

import re
import time

import testtools

from kilonova.core.errors import Invalid
from kilonova.core.name_pattern import NamePattern

NAMES = (
    "", "a", "web-1", "web-instance-12", "instance-", "a.b", "axb", "WEB", "x|y", "tab]le", "aaab",
    "5", "$5", "a\\b", "web_1 two", "é1",
)  # fmt: skip
PATTERNS = (
    "", "a", "web", "^web", "1$", "^a$", "a.b", r"a\.b", "^.*$", ".*-instance-.*", "[0-9]", "[^a-z]",
    r"^.*\-instance\-[0-9]+$", "web|x", r"x\|y", "[|]", "[]]", r"\d+$", r"\w+ \w*", "a+b", "a?x?b",
    "^a*b", "^[a-c.]+$", r"\$5", "^|q", "é", r"\\", "^$", "a*$", r"[\]]",
    "(a)", "a{2}", "web-(1|2)$", "^(web|x)[-|]", "(?:we|ta)b", "^a{2,}b", "^a{1,2}b", "^a{0,1}$", "(^|-)1",
    "(a|b){2}", "^(a|){3}b$", "w(eb)?_?", "((a)|(x(b|c)))b", "[0-9]{2}$", "_1( two|$)", r"\d{1}\s", "()",
)  # fmt: skip


class NamePatternTest(testtools.TestCase):
    """Against Python's own regular expressions, which understand more."""

    def test_a_pattern_matches_what_a_regular_expression_matches(self) -> None:
        for pattern in PATTERNS:
            for name in NAMES:
                self.assertEqual(
                    re.search(pattern, name, re.ASCII) is not None,
                    NamePattern(pattern).matches(name),
                    f"{pattern!r} in {name!r}",
                )

    def test_what_cannot_be_read_is_refused(self) -> None:
        for pattern in (
            "(a",
            "(a))",
            "(ab)*",
            "(a)+",
            "(a){2}*",
            "a{2}{2}",
            "a{2,1}",
            "a{",
            "a{x}",
            "{2}",
            "(a|b){7}",
            "(a{99}){3}",
            "[a-z]{200}",
            "(" * 17 + ")" * 17,
            "(" * 255,
            "(|" * 127,
            "*",
            "a**",
            "[",
            "[z-a]",
            "\\",
            r"\b",
            "a^b",
            "(?i)a",
            "a)",
            r"[\n]",
        ):
            self.assertRaises(Invalid, NamePattern, pattern)

    def test_a_pattern_that_is_too_long_is_refused(self) -> None:
        NamePattern("a" * 255)
        self.assertRaises(Invalid, NamePattern, "a" * 256)

    def test_no_pattern_takes_long(self) -> None:
        name = "a" * 255
        for pattern in (
            "a*" * 100 + "b",
            ".*" * 120 + "b$",
            "a?" * 120 + "a" * 10 + "b",
            "(a*){40}b",
        ):
            began = time.process_time()
            self.assertFalse(NamePattern(pattern).matches(name))
            self.assertLess(time.process_time() - began, 2.0)
