"""What a flavor and an image ask of a guest's hardware, word by word: extra specs before properties. Pure.

Names: Compute documentation, "Extra specs"; Image documentation, "Useful image properties".
"""

import re
from collections.abc import Collection, Mapping

from kilonova.core.errors import Invalid
from kilonova.core.flavor import Flavor
from kilonova.core.image import Image

_YES = frozenset({"1", "t", "true", "on", "y", "yes"})
_NO = frozenset({"0", "f", "false", "off", "n", "no"})
_SHOWN = 50


class Malformed(Invalid):
    """An extra spec or an image property says what cannot be; the sentence names it."""

    code = "malformed_hardware"


class Asked:
    """The words of one flavor and one image.

    A ``name`` such as ``cpu_policy`` is the extra spec ``hw:cpu_policy`` and, where the flavor is silent,
    the property ``hw_cpu_policy``.
    """

    def __init__(self, flavor: Flavor, image: Image | None) -> None:
        self._specs: Mapping[str, str] = flavor.extra_specs
        self._properties: Mapping[str, str] = image.properties if image else {}

    def spec(self, name: str) -> str | None:
        """Return a whole extra spec's value."""
        return self._specs.get(name)

    def property(self, name: str) -> str | None:
        """Return a whole image property's value."""
        return self._properties.get(name)

    def get(self, name: str) -> str | None:
        """Return what is asked under ``hw:name`` or ``hw_name``; None or a word that is not empty."""
        return self._specs.get(f"hw:{name}") or self._properties.get(f"hw_{name}") or None

    def number(self, name: str, least: int = 1) -> int | None:
        """Return a whole number. Raises ``Malformed``."""
        return whole(f"hw:{name}", self.get(name), least)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value. Raises ``Malformed``."""
        return truth(f"hw:{name}", self.get(name), default=default)

    def choice(self, name: str, words: Collection[str]) -> str | None:
        """Return one of some words. Raises ``Malformed``."""
        return one_of(f"hw:{name}", self.get(name), words)


def whole(name: str, text: str | None, least: int) -> int | None:
    """Return a whole number of at least ``least``. Raises ``Malformed``."""
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", text.strip()) or int(text) < least:
        raise Malformed(f"{name} is {shown(text)}, not a whole number of at least {least}")
    return int(text)


def truth(name: str, text: str | None, *, default: bool) -> bool:
    """Return a truth value. Raises ``Malformed``."""
    word = "" if text is None else text.strip().lower()
    if not word:
        return default
    if word not in _YES | _NO:
        raise Malformed(f"{name} is {shown(word)}, neither true nor false")
    return word in _YES


def one_of(name: str, text: str | None, words: Collection[str]) -> str | None:
    """Return one of some words. Raises ``Malformed``."""
    if text is not None and text not in words:
        raise Malformed(f"{name} is {shown(text)}, none of {', '.join(sorted(words))}")
    return text


def shown(text: str) -> str:
    """Return a value as an error may repeat it: quoted, and short."""
    return repr(text[:_SHOWN])
