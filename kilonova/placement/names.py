"""Resource classes and traits: the standard names, and an operator's ``CUSTOM_`` ones."""

import re

import os_resource_classes
import os_traits
from jsonschema import Draft202012Validator

from kilonova.core.errors import Conflict, Invalid, NotFound
from kilonova.db import placement_providers as store
from kilonova.db.engine import Database
from kilonova.placement.wire import Answer, Asked

STANDARD_CLASSES = frozenset(os_resource_classes.STANDARDS)
STANDARD_TRAITS = frozenset(os_traits.get_traits())
_CUSTOM = re.compile(r"^CUSTOM_[A-Z0-9_]+$")

_CLASS = Draft202012Validator(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^CUSTOM_[A-Z0-9_]+$"}},
        "required": ["name"],
        "additionalProperties": False,
    }
)


def check_classes(database: Database, names: set[str]) -> None:
    """Refuse resource classes that do not exist.

    Raises:
        Invalid: naming them.
    """
    unknown = names - STANDARD_CLASSES
    if unknown:
        unknown -= set(store.custom_names(database, "class"))
    if unknown:
        raise Invalid(f"Unknown resource class in the request: {', '.join(sorted(unknown))}")


def check_traits(database: Database, names: set[str]) -> None:
    """Refuse traits that do not exist.

    Raises:
        Invalid: naming them.
    """
    unknown = names - STANDARD_TRAITS
    if unknown:
        unknown -= set(store.custom_names(database, "trait"))
    if unknown:
        raise Invalid(f"No such trait(s): {', '.join(sorted(unknown))}.")


def list_classes(asked: Asked) -> Answer:
    """``GET /resource_classes``."""
    names = sorted(STANDARD_CLASSES) + list(store.custom_names(asked.database, "class"))
    return Answer({"resource_classes": [_class(name) for name in names]})


def _class(name: str) -> dict[str, object]:
    return {"name": name, "links": [{"rel": "self", "href": f"/resource_classes/{name}"}]}


def show_class(asked: Asked, name: str) -> Answer:
    """``GET /resource_classes/{name}``."""
    if name not in STANDARD_CLASSES | set(store.custom_names(asked.database, "class")):
        raise NotFound(f"No such resource class {name}")
    return Answer(_class(name))


def create_class(asked: Asked) -> Answer:
    """``POST /resource_classes``."""
    name = asked.body(_CLASS)["name"]
    if not store.add_custom_name(asked.database, "class", name):
        raise Conflict(f"Conflicting resource class already exists: {name}")
    return Answer(status=201, headers={"location": f"/resource_classes/{name}"})


def put_class(asked: Asked, name: str) -> Answer:
    """``PUT /resource_classes/{name}``, from 1.7: makes sure that it is there."""
    if not _CUSTOM.match(name):
        raise Invalid(
            f"name: a custom resource class starts with CUSTOM_ and has A-Z, 0-9, _: {name}"
        )
    created = store.add_custom_name(asked.database, "class", name)
    return Answer(status=201 if created else 204, headers={"location": f"/resource_classes/{name}"})


def list_traits(asked: Asked) -> Answer:
    """``GET /traits``, with ``name=in:A,B`` or ``name=startswith:P`` and ``associated``."""
    names = sorted(STANDARD_TRAITS) + list(store.custom_names(asked.database, "trait"))
    wanted = asked.http.get_param("name")
    if wanted:
        operator, _, value = wanted.partition(":")
        if operator == "in":
            chosen = set(value.split(","))
            names = [name for name in names if name in chosen]
        elif operator == "startswith":
            names = [name for name in names if name.startswith(value)]
        else:
            raise Invalid(f"name: expected in:... or startswith:..., got {wanted}")
    return Answer({"traits": names})


def show_trait(asked: Asked, name: str) -> Answer:
    """``GET /traits/{name}``."""
    if name not in STANDARD_TRAITS | set(store.custom_names(asked.database, "trait")):
        raise NotFound(f"No such trait(s): {name}.")
    return Answer(status=204)


def put_trait(asked: Asked, name: str) -> Answer:
    """``PUT /traits/{name}``: makes sure that it is there."""
    if not _CUSTOM.match(name):
        raise Invalid(f"The trait is invalid. A valid trait starts with CUSTOM_: {name}")
    created = store.add_custom_name(asked.database, "trait", name)
    return Answer(status=201 if created else 204, headers={"location": f"/traits/{name}"})
