"""Regular expressions by which servers are found by name, as far as every database agrees on them.

They come from users, so they are matched in time proportional to pattern times name: there is no pattern
that hangs a service. Understood are characters, ``.``, ``[...]``, ``\\d \\w \\s``, each with ``* + ?`` or a
count; ``^`` at the beginning and ``$`` at the end; ``|`` between alternatives; and groups that have an end.
The classes are those of ASCII: databases do not agree on others.
"""

import re
from collections.abc import Callable

from kilonova.core.errors import Invalid
from kilonova.core.pattern_alternatives import ATOM, LONGEST, alternatives

_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " \t\n\r\f\v"}

_Test = Callable[[str], bool]


class _Branch:
    """One alternative: single-character tests, each with ``*``, ``+``, ``?`` or nothing behind it.

    ``spelled`` is what every database reads the same way.
    """

    def __init__(self, text: str, whole: str) -> None:
        self._from_start = text.startswith("^")
        self._to_end = False
        self._steps: list[tuple[_Test, str]] = []
        at = int(self._from_start)
        self.spelled = text[:at]
        while at < len(text):
            if text[at:] == "$":
                self._to_end = True
                self.spelled += "$"
                break
            atom = ATOM.match(text, at)
            if atom is None:
                raise Invalid(
                    f"name: the regular expression {whole!r} cannot be read at {text[at:]!r}"
                )
            at = atom.end()
            times = text[at] if at < len(text) and text[at] in "*+?" else ""
            at += len(times)
            self._steps.append((_test_of(atom), times))
            self.spelled += _spelled(atom) + times

    def matches(self, name: str) -> bool:
        """Follow every way through the steps at once, one character after the other."""
        last = len(self._steps)
        reached = self._with_skips({0})
        for character in name:
            if last in reached and not self._to_end:
                return True
            following: set[int] = set()
            for step in reached:
                if step < last and self._steps[step][0](character):
                    following.add(step + 1)
                    if self._steps[step][1] in ("*", "+"):
                        following.add(step)
            if not self._from_start:
                following.add(0)
            reached = self._with_skips(following)
        return last in reached

    def _with_skips(self, reached: set[int]) -> set[int]:
        """Add what is reached by passing over steps that may be absent."""
        found = set(reached)
        for start in reached:
            step = start
            while step < len(self._steps) and self._steps[step][1] in ("*", "?"):
                step += 1
                if step in found:
                    break
                found.add(step)
        return found


def _test_of(atom: re.Match[str]) -> _Test:
    kind, text = atom.lastgroup, atom[0]
    if kind == "any":
        return lambda character: character != "\n"
    if kind == "plain":
        return text.__eq__
    if kind == "escape" and text[1].lower() not in _CLASSES:
        return text[1].__eq__
    try:
        one = re.compile(text, re.ASCII)
    except re.error as error:
        raise Invalid(f"name: {text!r} is not a set of characters: {error}") from error
    return lambda character: one.fullmatch(character) is not None


def _spelled(atom: re.Match[str]) -> str:
    """Return an atom in words without classes."""
    text = atom[0]
    if atom.lastgroup == "set":
        return re.sub(r"\\(.)", lambda found: _CLASSES.get(found[1], found[0]), text)
    if atom.lastgroup == "escape" and text[1].lower() in _CLASSES:
        inverse = "^" if text[1].isupper() else ""
        return f"[{inverse}{_CLASSES[text[1].lower()]}]"
    return re.escape(text[1]) if atom.lastgroup == "escape" else text


class NamePattern:
    """A pattern that was read. ``text`` says the same in words that every database understands.

    Raises:
        Invalid: naming what cannot be read.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise Invalid(f"name: a regular expression has at most {LONGEST} characters")
        self._literal = text if not re.search(r"[\\\[\](){}*+?|^$.]", text) else None
        self._branches = [_Branch(part, text) for part in alternatives(text)]
        self.text = "|".join(branch.spelled for branch in self._branches)

    def matches(self, name: str) -> bool:
        """Whether the pattern is found anywhere in a name."""
        if self._literal is not None:
            return self._literal in name
        return any(branch.matches(name) for branch in self._branches)
