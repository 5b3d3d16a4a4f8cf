"""The image of a small Linux, made once for all tests that boot it."""

import subprocess
import sys
from pathlib import Path

from tests.integration import services

_BUILDER = Path(__file__).parents[2] / "tools" / "guest" / "build.py"


def guest_image() -> Path:
    """Return the file (qcow2)."""
    image = services.scratch() / "linux.qcow2"
    if not image.exists():
        subprocess.run([sys.executable, str(_BUILDER), str(image)], check=True)
    return image
