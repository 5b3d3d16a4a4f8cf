"""Adding an element to a tree."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

_NOTHING: Mapping[str, str] = {}


def add(
    parent: ET.Element, tag: str, attributes: Mapping[str, str] = _NOTHING, text: str | None = None
) -> ET.Element:
    """Add an element behind what ``parent`` has, and return it."""
    element = ET.SubElement(parent, tag, dict(attributes))
    element.text = text
    return element


def reach(parent: ET.Element, tag: str) -> ET.Element:
    """Return the element of this tag in ``parent``, added if there is none."""
    found = parent.find(tag)
    return add(parent, tag) if found is None else found
