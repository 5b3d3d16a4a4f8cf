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

_WRONG = "Invalid query string parameters:"


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
            raise Invalid(
                f"Badly formed {name} parameter. Expected {name} query string parameter in form: "
                f"?{name}=VCPU:2,MEMORY_MB:1024. Got: {part[:200] if value else 'empty string'}."
            )
        if not _WHOLE.fullmatch(amount.strip()):
            raise Invalid(
                f"{_WRONG} {name}: Requested resource {kind[:100]} expected positive integer "
                f"amount. Got: {amount[:100]}."
            )
        number = int(amount)
        if number < 1:
            raise Invalid(
                f"{_WRONG} {name}: Requested resource {kind[:100]} requires amount >= 1. "
                f"Got: {number}."
            )
        if number > GREATEST:
            raise Invalid(
                f"{_WRONG} {name}: Requested resource {kind[:100]} requires amount <= {GREATEST}. "
                f"Got: {number}."
            )
        amounts[kind.strip()] = number
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
        form = (
            "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if version >= (1, 22) else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
        )
        expected = f"{_WRONG} Expected '{name}' parameter value of the form: {form}."
        for trait in _parts(value, name):
            if not trait.lstrip("!"):
                raise Invalid(f"{expected} Got an empty trait in: {value[:200]}")
            if not trait.startswith("!"):
                wanted.append(frozenset({trait}))
            elif version >= (1, 22):
                forbidden.add(trait.lstrip("!"))
            else:
                raise Invalid(f"{expected} Got: {value[:200]}")
    return Sought(any_of=tuple(wanted), forbidden=frozenset(forbidden))


def _any_trait(value: str, version: Version, name: str) -> frozenset[str]:
    if version < (1, 39):
        raise Invalid(
            f"{_WRONG} {name}: in:HW_CPU_X86_VMX,CUSTOM_MAGIC is a format from microversion 1.39 on. "
            f"Got: {value[:200]}"
        )
    found = frozenset(_parts(value.removeprefix("in:"), name))
    if "" in found:
        raise Invalid(
            f"{_WRONG} Expected '{name}' parameter value of the form: "
            f"in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: {value[:200]}"
        )
    if any(trait.startswith("!") for trait in found):
        raise Invalid(
            f"{_WRONG} The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support forbidden "
            f"traits. Got: {value[:200]}"
        )
    return found


def aggregates(values: Sequence[str], version: Version, name: str = "member_of") -> Sought:
    """Return what the values of ``member_of`` ask: ``A`` or ``in:A,B``; from 1.24 on repeated; from 1.32 on
    also ``!A`` and ``!in:A,B``.

    Raises:
        Invalid: naming the parameter.
    """
    if len(values) > 1 and version < (1, 24):
        raise Invalid(f"Multiple {name} parameters are not supported")
    wanted: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        plain = value.removeprefix("!")
        listed = plain.startswith("in:")
        if "," in plain and not listed:
            raise Invalid(
                f"Multiple values for '{name}' must be prefixed with the 'in:' or '!in:' keyword "
                f"using the valid microversion. Got: {value[:200]}"
            )
        found = frozenset(_parts(plain.removeprefix("in:"), name))
        for uuid in sorted(found):
            if not is_uuid(uuid):
                raise Invalid(
                    f"{_WRONG} Expected '{name}' parameter to contain valid UUID(s). Got: "
                    f"{uuid[:200]}"
                )
        if not value.startswith("!"):
            wanted.append(found)
        elif version >= (1, 32):
            forbidden |= found
        else:
            raise Invalid(
                f"Forbidden {name} parameters are not supported in the specified microversion"
            )
    return Sought(any_of=tuple(wanted), forbidden=frozenset(forbidden))


def tree(value: str, name: str = "in_tree") -> str:
    """Return the UUID of a provider in the tree that is asked for.

    Raises:
        Invalid: naming the parameter.
    """
    if not is_uuid(value.strip()):
        raise Invalid(
            f"{_WRONG} Expected '{name}' parameter to be a format of uuid. Got: {value[:200]}"
        )
    return value.strip()


def _parts(value: str, name: str) -> list[str]:
    found = [part.strip() for part in value.split(",")]
    if len(found) > _MOST_VALUES:
        raise Invalid(f"{_WRONG} {name} has more than {_MOST_VALUES} values")
    return found
