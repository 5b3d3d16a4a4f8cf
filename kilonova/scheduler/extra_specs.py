"""The little language of extra specs: does a host's value match what a flavor asks for. Pure.

Operators and their meaning: Compute documentation, "ComputeCapabilitiesFilter".
"""

from collections.abc import Callable


def _number(text: str) -> float:
    return float(text)


def _compare(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compare(has: str, wanted: str) -> bool:
        try:
            return test(_number(has), _number(wanted))
        except ValueError:
            return False

    return compare


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "=": _compare(lambda has, wanted: has >= wanted),
    "==": _compare(lambda has, wanted: has == wanted),
    "!=": _compare(lambda has, wanted: has != wanted),
    ">=": _compare(lambda has, wanted: has >= wanted),
    "<=": _compare(lambda has, wanted: has <= wanted),
    "s==": lambda has, wanted: has == wanted,
    "s!=": lambda has, wanted: has != wanted,
    "s<": lambda has, wanted: has < wanted,
    "s<=": lambda has, wanted: has <= wanted,
    "s>": lambda has, wanted: has > wanted,
    "s>=": lambda has, wanted: has >= wanted,
    "<in>": lambda has, wanted: wanted in has,
    # A list of words; "sse" is not among "sse2 sse4".
    "<all-in>": lambda has, wanted: set(wanted.split()) <= set(has.replace(",", " ").split()),
}


def matches(has: str, wanted: str) -> bool:
    """Whether a value meets a requirement such as ``>= 4``, ``s== x86_64``, ``<or> a <or> b`` or ``a``."""
    words = wanted.split()
    if not words:
        return has == ""
    if words[0] == "<or>":
        return has in [word for word in words if word != "<or>"]
    operator = _OPERATORS.get(words[0])
    if operator is None:
        return has == wanted
    return operator(has, " ".join(words[1:]))
