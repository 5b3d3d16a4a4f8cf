"""Which microversion a request speaks."""

import re
from collections.abc import Callable

from kilonova.api.microversions import MAXIMUM, MINIMUM, Version
from kilonova.core.errors import Invalid, NotAcceptable

HEADER = "OpenStack-API-Version"
LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_FORM = re.compile(r"([1-9][0-9]{0,5})\.([1-9][0-9]{0,5}|0)")


def shown(version: Version) -> str:
    """Return a version as headers have it."""
    return f"{version[0]}.{version[1]}"


def asked_for(header: Callable[[str], str | None]) -> str:
    """Return the version that the headers name, as text; the legacy one counts without the new one."""
    for part in (header(HEADER) or "").split(","):
        service, _, value = part.strip().partition(" ")
        if service.lower() == "compute" and value:
            return value.strip()
    return (header(LEGACY_HEADER) or shown(MINIMUM)).strip()


def negotiate(text: str) -> Version:
    """Return the version that a text means.

    Raises:
        Invalid: it is malformed.
        NotAcceptable: it is not served.
    """
    if text.lower() == "latest":
        return MAXIMUM
    match = _FORM.fullmatch(text)
    if match is None:
        raise Invalid(
            f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    version = int(match[1]), int(match[2])
    if not MINIMUM <= version <= MAXIMUM:
        raise NotAcceptable(
            f"Version {text} is not supported by the API. "
            f"Minimum is {shown(MINIMUM)} and maximum is {shown(MAXIMUM)}."
        )
    return version
