"""Views as tables: which field of a thing is shown at which microversions."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from kilonova.api.microversions import ALWAYS, Span, Version

T = TypeVar("T")


class Field(Generic[T]):
    """A field: its name, its value for a thing, and the microversions that show it."""

    __slots__ = ("name", "of", "when")

    def __init__(
        self,
        name: str,
        of: Callable[[T], Any],
        *,
        when: Span = ALWAYS,
    ) -> None:
        self.name = name
        self.of = of
        self.when = when


def shown(fields: Iterable[Field[T]], thing: T, version: Version) -> dict[str, Any]:
    """Return what a thing shows at a microversion."""
    return {f.name: f.of(thing) for f in fields if version in f.when}
