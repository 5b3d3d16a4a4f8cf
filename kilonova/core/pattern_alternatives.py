"""Regular expressions without groups and counts that together find what one with them finds. Pure.

``web-(a|b)[0-9]{2}`` is ``web-a[0-9][0-9]`` or ``web-b[0-9][0-9]``. What has no end, as ``(ab)*``, or would
be too many, is refused: what is matched stays in proportion to what was asked.
"""

import itertools
import re

from kilonova.core.errors import Invalid

LONGEST = 255
"""Characters of a regular expression, and of each alternative."""
_MOST = 64
"""Alternatives of one regular expression."""
_DEEPEST = 16
"""Groups within groups."""

ATOM = re.compile(
    r"(?P<set>\[\^?\]?(?:\\[^a-zA-Z0-9]|\\[dws]|[^\]\\\[])*\])"
    r"|(?P<escape>\\[^a-zA-Z0-9]|\\[dDwWsS])"
    r"|(?P<any>\.)"
    r"|(?P<plain>[^\\\[\](){}*+?|^$.])"
)
"""What stands for one character."""

_COUNT = re.compile(r"\{(?P<least>\d{1,3})(?P<up>,(?P<most>\d{0,3}))?\}")


def alternatives(text: str) -> list[str]:
    """Return the alternatives of a regular expression, each of atoms with ``*``, ``+``, ``?`` or nothing.

    Raises:
        Invalid: it cannot be read, or says too much; naming where.
    """
    reader = _Reader(text)
    found = reader.alternatives()
    if reader.at < len(text):
        raise reader.refusal()
    return found


class _Reader:
    """Reads from ``at`` on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self.at = 0

    def refusal(self, why: str = "") -> Invalid:
        """Return the error for what stands here."""
        rest = self._text[self.at :]
        because = f"; {why}" if why else ""
        return Invalid(
            f"name: the regular expression {self._text!r} cannot be read at {rest!r}{because}"
        )

    def _takes(self, mark: str) -> bool:
        if not self._text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def alternatives(self) -> list[str]:
        """Read up to the end, or to the end of a group."""
        found = self._sequence()
        while self._takes("|"):
            found = self._checked([*found, *self._sequence()])
        return found

    def _sequence(self) -> list[str]:
        found = [""]
        while self.at < len(self._text) and self._text[self.at] not in "|)":
            term = self._term()
            found = self._joined(found, term)
        return found

    def _term(self) -> list[str]:
        if self._takes("("):
            return self._group()
        if self._text[self.at] in "^$":
            self.at += 1
            return [self._text[self.at - 1]]
        atom = ATOM.match(self._text, self.at)
        if atom is None:
            raise self.refusal()
        self.at = atom.end()
        for sign in "*+?":
            if self._takes(sign):
                return [atom[0] + sign]
        least, most = self._count()
        if most is None:
            return self._checked([atom[0] * least + f"{atom[0]}*"])
        return self._checked([atom[0] * least + f"{atom[0]}?" * (most - least)])

    def _group(self) -> list[str]:
        self._takes("?:")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.refusal(f"it has more than {_DEEPEST} groups within groups")
        inside = self.alternatives()
        self._depth -= 1
        if not self._takes(")"):
            raise self.refusal("a group has no end")
        least, most = (0, 1) if self._takes("?") else self._count()
        if most is None or self._text[self.at : self.at + 1] in tuple("*+"):
            raise self.refusal("a group is not repeated without end")
        found: list[str] = []
        repeated = [""]
        for times in itertools.count():
            if times >= least:
                found = self._checked([*found, *repeated])
            if times == most:
                return found
            repeated = self._joined(repeated, inside)
        raise AssertionError("unreachable")

    def _count(self) -> tuple[int, int | None]:
        """Read how often what stood before is there: once if nothing is said, None for without end."""
        count = _COUNT.match(self._text, self.at)
        if count is None:
            return 1, 1
        least = int(count["least"])
        most = (int(count["most"]) if count["most"] else None) if count["up"] else least
        if most is not None and most < least:
            raise self.refusal("it counts backwards")
        self.at = count.end()
        return least, most

    def _joined(self, firsts: list[str], seconds: list[str]) -> list[str]:
        if len(firsts) * len(seconds) > _MOST:
            raise self.refusal(f"it has more than {_MOST} alternatives")
        return self._checked([first + second for first in firsts for second in seconds])

    def _checked(self, found: list[str]) -> list[str]:
        if len(found) > _MOST:
            raise self.refusal(f"it has more than {_MOST} alternatives")
        if max(map(len, found)) > LONGEST:
            raise self.refusal(f"an alternative has more than {LONGEST} characters")
        return found
