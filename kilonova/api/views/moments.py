"""How the API writes a time: UTC, in ISO 8601, with or without the zone's letter."""

from datetime import datetime


def precise(moment: datetime | None) -> str | None:
    """Return a time as most administrators' resources show it: microseconds, no zone."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
