"""What a query string asks of providers: resources, traits, aggregates, a tree; by microversion.

Parses and refuses; looks nothing up. Every name of a parameter may carry the suffix of a request group.
"""

import re
from collections.abc import Sequence

import msgspec

from kilonova.core.errors import Invalid
from kilonova.placement.schemas import GREATEST
from kilonova.placement.wire import Version, is_uuid

_MOST_VALUES = 1000
"""Traits, classes or aggregates in one parameter."""

_WHOLE = re.compile(r"-?[0-9]{1,100}")


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked of traits, or of aggregates.

    At least one of each set in ``any_of`` must be there, and none of ``forbidden``.
    """

    any_of: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All that is mentioned."""
        return self.forbidden.union(*self.any_of)


def resources(value: str, name: str = "resources") -> dict[str, int]:
    """Return the amounts that ``CLASS:AMOUNT,...`` asks for.

    Raises:
        Invalid: naming the parameter.
    """
    amounts: dict[str, int] = {}
    for part in _parts(value, name):
        kind, colon, amount = part.partition(":")
        if not kind or not colon:
            raise _wrong(name, "expected CLASS:AMOUNT, as in VCPU:2,MEMORY_MB:1024", part)
        if not _WHOLE.fullmatch(amount.strip()) or not 1 <= int(amount) <= GREATEST:
            raise _wrong(
                name, f"the amount of {kind[:100]} is a number from 1 to {GREATEST}", amount
            )
        amounts[kind.strip()] = int(amount)
    return amounts


def traits(values: Sequence[str], version: Version, name: str = "required") -> Sought:
    """Return what the values of ``required`` ask: ``A,!B`` and, from 1.39 on, ``in:A,B`` and repeats.

    Raises:
        Invalid: naming the parameter.
    """
    wanted: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values if version >= (1, 39) else values[-1:]:
        if value.startswith("in:"):
            wanted.append(_any_trait(value, version, name))
            continue
        for trait in _parts(value, name):
            if not trait.lstrip("!"):
                raise _wrong(name, "there is an empty trait", value)
            if not trait.startswith("!"):
                wanted.append(frozenset({trait}))
            elif version >= (1, 22):
                forbidden.add(trait.lstrip("!"))
            else:
                raise _wrong(name, "forbidden traits come with microversion 1.22", value)
    return Sought(any_of=tuple(wanted), forbidden=frozenset(forbidden))


def _any_trait(value: str, version: Version, name: str) -> frozenset[str]:
    if version < (1, 39):
        raise _wrong(name, "in: comes with microversion 1.39", value)
    found = frozenset(_parts(value.removeprefix("in:"), name))
    if "" in found:
        raise _wrong(name, "there is an empty trait", value)
    if any(trait.startswith("!") for trait in found):
        raise _wrong(name, "no trait is forbidden within in:", value)
    return found


def aggregates(values: Sequence[str], version: Version, name: str = "member_of") -> Sought:
    """Return what the values of ``member_of`` ask: ``A`` or ``in:A,B``; from 1.24 on repeated; from 1.32 on
    also ``!A`` and ``!in:A,B``.

    Raises:
        Invalid: naming the parameter.
    """
    if len(values) > 1 and version < (1, 24):
        raise _wrong(name, "more than one of it comes with microversion 1.24", values[-1])
    wanted: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        plain = value.removeprefix("!")
        if "," in plain and not plain.startswith("in:"):
            raise _wrong(name, "more than one aggregate is in:A,B or !in:A,B", value)
        found = frozenset(_parts(plain.removeprefix("in:"), name))
        if not all(map(is_uuid, found)):
            raise _wrong(name, "an aggregate is a UUID", value)
        if not value.startswith("!"):
            wanted.append(found)
        elif version >= (1, 32):
            forbidden |= found
        else:
            raise _wrong(name, "forbidden aggregates come with microversion 1.32", value)
    return Sought(any_of=tuple(wanted), forbidden=frozenset(forbidden))


def tree(value: str, name: str = "in_tree") -> str:
    """Return the UUID of a provider in the tree that is asked for.

    Raises:
        Invalid: naming the parameter.
    """
    if not is_uuid(value.strip()):
        raise _wrong(name, "a provider is named by its UUID", value)
    return value.strip()


def _parts(value: str, name: str) -> list[str]:
    found = [part.strip() for part in value.split(",")]
    if len(found) > _MOST_VALUES:
        raise _wrong(name, f"there are more than {_MOST_VALUES} values", value)
    return found


def _wrong(name: str, why: str, value: str) -> Invalid:
    got = f"got {value[:200]}" if value else "got nothing"
    return Invalid(f"Invalid query string parameters: {name}: {why}; {got}")
