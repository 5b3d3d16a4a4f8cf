"""Views as tables: which field of a thing is shown, from which microversion to which."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from kilonova.api.versions import MAXIMUM, MINIMUM, Version

T = TypeVar("T")


class Field(Generic[T]):
    """A field: its name, its value for a thing, and the first and last microversion that show it."""

    __slots__ = ("name", "of", "since", "until")

    def __init__(
        self,
        name: str,
        of: Callable[[T], Any],
        *,
        since: Version = MINIMUM,
        until: Version = MAXIMUM,
    ) -> None:
        self.name = name
        self.of = of
        self.since = since
        self.until = until


def shown(fields: Iterable[Field[T]], thing: T, version: Version) -> dict[str, Any]:
    """Return what a thing shows at a microversion."""
    return {f.name: f.of(thing) for f in fields if f.since <= version <= f.until}
