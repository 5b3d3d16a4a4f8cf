"""The image of a small Linux, made once for all tests that boot it."""

import subprocess
import sys
import unittest
from pathlib import Path

from tests.integration import services
from tests.integration.clients.client import Client

_BUILDER = Path(__file__).parents[2] / "tools" / "guest" / "build.py"


def guest_image() -> Path:
    """Return the file (qcow2)."""
    image = services.scratch() / "linux.qcow2"
    if not image.exists():
        subprocess.run([sys.executable, str(_BUILDER), str(image)], check=True)
    return image


def keep_guest_image(client: Client, case: type[unittest.TestCase]) -> None:
    """Keep it in the image store, as ``linux``, for as long as a class of tests runs."""
    client.run(
        *("image", "create", "--public", "--container-format", "bare"),
        *("--disk-format", "qcow2", "--file", str(guest_image()), "linux"),
    )
    case.addClassCleanup(client.run, "image", "delete", "linux")
