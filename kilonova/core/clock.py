"""Time as the databases and the API hold it: UTC, without a zone."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the time now in UTC without a zone, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None)
