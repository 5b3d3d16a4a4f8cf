"""The files of noVNC, where its package is installed: the page that shows a screen in a browser."""

import mimetypes
from pathlib import Path
from urllib.parse import unquote, urlsplit

DIRECTORY = Path("/usr/share/novnc")
"""Where Debian's package ``novnc`` puts them."""
_OTHER_NAMES = {"vnc_auto.html": "vnc_lite.html"}
"""A page of old, by which links know it -> what shows a screen at once today."""


def page(target: str, directory: Path = DIRECTORY) -> tuple[str, bytes] | None:
    """Return the type and the bytes of the file that a request asks for, None if there is none there.

    What lies outside of the directory is not there, whatever the request's path says.
    """
    name = unquote(urlsplit(target).path).strip("/")
    if not name or "\0" in name:
        return None
    root = directory.resolve()
    for candidate in (name, _OTHER_NAMES.get(name, name)):
        path = (root / candidate).resolve()
        if path.is_relative_to(root) and path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return kind, path.read_bytes()
    return None
