"""Which resource classes and traits there are: the standard names, and an operator's ``CUSTOM_`` ones."""

from collections.abc import Collection

import os_resource_classes
import os_traits

from kilonova.core.errors import Invalid
from kilonova.db import placement_names
from kilonova.db.engine import Database

STANDARD_CLASSES = frozenset(os_resource_classes.STANDARDS)
STANDARD_TRAITS = frozenset(os_traits.get_traits())


def custom_classes(names: Collection[str]) -> frozenset[str]:
    """Return those of some classes that are not standard."""
    return frozenset(names) - STANDARD_CLASSES


def custom_traits(names: Collection[str]) -> frozenset[str]:
    """Return those of some traits that are not standard."""
    return frozenset(names) - STANDARD_TRAITS


def check_classes(database: Database, names: Collection[str], what: str = "") -> None:
    """Refuse resource classes that do not exist. ``what`` says where they stand.

    Raises:
        Invalid: naming them.
    """
    custom = custom_classes(names)
    missing = placement_names.unknown(database, "class", custom) if custom else set()
    if missing:
        sentence = f"No such resource class {', '.join(sorted(missing))}"
        raise Invalid(f"{what}: {sentence}" if what else sentence)


def check_traits(database: Database, names: Collection[str]) -> None:
    """Refuse traits that do not exist.

    Raises:
        Invalid: naming them.
    """
    custom = custom_traits(names)
    missing = placement_names.unknown(database, "trait", custom) if custom else set()
    if missing:
        raise Invalid(f"No such trait(s): {', '.join(sorted(missing))}.")
