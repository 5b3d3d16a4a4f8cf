"""What can be wrong with a body: drawn once, and put into the good body of any route."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from hypothesis import strategies as st

Steps = tuple[str | int, ...]

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.sampled_from(["", " ", "a\0b", "\udc80", "x" * 256, "0", "-1", "1e3", "null", "../.."])
)
JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3)
    ),
    max_leaves=5,
)
"""Anything at all."""

_OPEN = ("metadata", "meta", "extra_specs", "scheduler_hints", "hw:cpu_policy")
"""What may hold keys of any name, or is one."""

Kind = Literal["another key", "no object", "an object", "something else"]


class Flaw(NamedTuple):
    """One thing wrong: at which of the places that it fits, and with what there.

    A key too many where none may be; no object where one must be; an object where something else must be;
    or anything but an object as the whole body.
    """

    kind: Kind
    place: int
    key: str
    value: Any


_PLACES = st.integers(0, 15)
_KEYS = st.text(min_size=1, max_size=20).map(lambda name: f"?{name}")
_NO_OBJECTS = st.booleans() | st.integers() | st.text(min_size=1) | st.lists(JSON, max_size=3)
"""Nothing that is null: some objects may be left out."""

flaws = (
    st.builds(Flaw, st.just("another key"), _PLACES, _KEYS, JSON)
    | st.builds(Flaw, st.just("no object"), _PLACES, st.just(""), _NO_OBJECTS)
    | st.builds(Flaw, st.just("an object"), _PLACES, _KEYS, JSON)
    | st.builds(Flaw, st.just("something else"), st.just(0), st.just(""), _NO_OBJECTS)
)


class GoodBody:
    """A good body of a route, and where it can be spoilt so that it is surely malformed."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._closed = [
            steps
            for steps in places(body)
            if isinstance(at(body, steps), dict)
            and not any(w in str(s) for s in steps for w in _OPEN)
        ]
        # What is null may be anything, or is not looked at.
        self._leaves = [
            steps
            for steps in places(body)
            if isinstance(at(body, steps), str | int | bool)
            and not any("scheduler_hints" in str(s) for s in steps)
        ]

    def spoilt(self, flaw: Flaw) -> Any:
        """Return the body with one thing wrong."""
        closed = self._closed and self._closed[flaw.place % len(self._closed)]
        leaf = self._leaves and self._leaves[flaw.place % len(self._leaves)]
        match flaw.kind:
            case "another key" if self._closed:
                return put(self._body, closed, at(self._body, closed) | {flaw.key: flaw.value})
            case "no object" if self._closed:
                return put(self._body, closed, flaw.value)
            case "an object" if self._leaves:
                return put(self._body, leaf, {flaw.key: flaw.value})
            case "no object" | "something else":
                return flaw.value
            case _:
                return [flaw.key, flaw.value]


def places(body: Any, here: Steps = ()) -> Iterator[Steps]:
    """Yield the way to each value in a body, the whole of it first."""
    yield here
    if isinstance(body, dict):
        for key in body:
            yield from places(body[key], (*here, key))
    elif isinstance(body, list):
        for number, inner in enumerate(body):
            yield from places(inner, (*here, number))


def at(body: Any, steps: Steps) -> Any:
    """Return the value at a place."""
    for step in steps:
        body = body[step]
    return body


def put(body: Any, steps: Steps, value: Any) -> Any:
    """Return a body with another value at a place; what is not on the way to it is shared."""
    if not steps:
        return value
    first, *rest = steps
    changed = body.copy()
    changed[first] = put(body[first], tuple(rest), value)
    return changed


def anywhere(body: Any) -> st.SearchStrategy[Any]:
    """Return bodies with anything at all at some place of a good one: a few are good themselves."""
    somewhere = st.sampled_from([*places(body)])
    return st.builds(lambda steps, value: put(body, steps, value), somewhere, JSON)
