"""Resource classes over HTTP."""

from kilonova.core.errors import Conflict, Invalid, NotFound
from kilonova.db import placement_names
from kilonova.placement.names import STANDARD_CLASSES
from kilonova.placement.schemas import RESOURCE_CLASS
from kilonova.placement.wire import Answer, Asked, validate


def list_classes(asked: Asked) -> Answer:
    """``GET /resource_classes``."""
    names = sorted(STANDARD_CLASSES) + list(placement_names.custom_names(asked.database, "class"))
    return Answer({"resource_classes": [_view(asked, name) for name in names]})


def _view(asked: Asked, name: str) -> dict[str, object]:
    href = asked.path(f"/resource_classes/{name}")
    return {"name": name, "links": [{"rel": "self", "href": href}]}


def create(asked: Asked) -> Answer:
    """``POST /resource_classes``."""
    name = asked.body(RESOURCE_CLASS)["name"]
    if not placement_names.add(asked.database, "class", name):
        raise Conflict(f"Conflicting resource class already exists: {name}")
    return Answer(status=201, headers=asked.location(f"/resource_classes/{name}"))


def show(asked: Asked, name: str) -> Answer:
    """``GET /resource_classes/{name}``."""
    if name not in STANDARD_CLASSES and placement_names.unknown(asked.database, "class", [name]):
        raise NotFound(f"No such resource class {name}")
    return Answer(_view(asked, name))


def update(asked: Asked, name: str) -> Answer:
    """``PUT /resource_classes/{name}``: renames it; from 1.7 on it makes sure that it is there."""
    if asked.version < (1, 7):
        return _rename(asked, name)
    validate(RESOURCE_CLASS, {"name": name})
    created = placement_names.add(asked.database, "class", name)
    status = 201 if created else 204
    return Answer(status=status, headers=asked.location(f"/resource_classes/{name}"))


def _rename(asked: Asked, name: str) -> Answer:
    asked.require_json()
    new = asked.body(RESOURCE_CLASS)["name"]
    if name in STANDARD_CLASSES:
        raise Invalid(f"Cannot update standard resource class {name}")
    placement_names.rename_class(asked.database, name, new)
    return Answer(_view(asked, new))


def delete(asked: Asked, name: str) -> Answer:
    """``DELETE /resource_classes/{name}``."""
    if name in STANDARD_CLASSES:
        raise Invalid(
            f"Error in delete resource class: Cannot delete standard resource class {name}"
        )
    placement_names.delete(asked.database, "class", name)
    return Answer(status=204)
