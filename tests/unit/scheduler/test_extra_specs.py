"""The operators in which flavors say what they demand of a host.

Source: Compute documentation, "ComputeCapabilitiesFilter".
"""

import testtools

from kilonova.scheduler.extra_specs import matches

TABLE = (
    # what the host has, what matches it, what does not
    ("8", ("8", "= 8", "= 7", "= 7.5", "== 8", "== 8.0", "!= 9", ">= 8", "<= 8"), ("= 9", "== 9")),
    ("8", (), ("!= 8", ">= 9", "<= 7", "8.0", "9", "", "=", ">= many", "<= ", "> 7")),
    ("x", (), ("= 8", "== 8", "!= 8", ">= 8", "<= 8", "y", "X")),
    ("abc", ("abc", "s== abc", "s!= abd", "s< abd", "s<= abc", "s> abb", "s>= abc"), ()),
    ("abc", (), ("s== abd", "s!= abc", "s< abc", "s<= abb", "s> abc", "s>= abd")),
    # As texts, not as numbers.
    ("10", ("s< 9",), ("s> 9", "s== 10.0")),
    ("two words", ("s== two words",), ("two words ", "s== two")),
    ("12311321", ("<in> 11", "<in> 12311321"), ("<in> 55",)),
    ("aes mmx aux", ("<all-in> aes", "<all-in> aux aes"), ("<all-in> txt", "<all-in> aes txt")),
    ("aes,mmx, aux", ("<all-in> mmx aux",), ("<all-in> mmx,",)),
    # Words, not parts of words.
    ("sse2 sse4", ("<all-in> sse2", "<in> sse"), ("<all-in> sse",)),
    ("12", ("<or> 11 <or> 12", "<or> 12", "<or> 12 <or>"), ("<or> 11 <or> 13", "<or>", "<or> 1")),
    ("", ("", " "), ("a", "s== a")),
)


class ExtraSpecsTest(testtools.TestCase):
    """A value against requirements."""

    def test_a_value_matches_what_it_should_and_nothing_else(self) -> None:
        for has, good, bad in TABLE:
            for wanted in good:
                self.assertTrue(matches(has, wanted), f"{has!r} against {wanted!r}")
            for wanted in bad:
                self.assertFalse(matches(has, wanted), f"{has!r} against {wanted!r}")
