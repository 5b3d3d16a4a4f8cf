"""What the machine says of itself, whatever hypervisor runs on it."""

from datetime import UTC, datetime
from pathlib import Path


def booted_at() -> datetime | None:
    """Return when this machine started (UTC without a zone), or None where the kernel does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    seconds = next((line.split()[1] for line in lines if line.startswith("btime ")), None)
    return (
        None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None)
    )
