"""What a refusal by Placement is to those who asked it through the client."""

from typing import Any

from kilonova.core.errors import (
    Conflict,
    GenerationConflict,
    Invalid,
    InventoryInUse,
    KilonovaError,
    PlacementUnavailable,
)


def error_of(method: str, path: str, answer: Any) -> KilonovaError:
    """Return the error that an answer of 400 or more is."""
    detail = answer.text[:500]
    try:
        first = answer.json()["errors"][0]
        detail, code = first["detail"], first.get("code", "")
    except (ValueError, LookupError, TypeError):
        code = ""
    if answer.status_code >= 500 or answer.status_code == 401:
        return PlacementUnavailable(f"Placement answered {answer.status_code}: {detail}")
    if code == "placement.concurrent_update":
        return GenerationConflict(detail)
    if code == "placement.inventory.inuse":
        return InventoryInUse(detail)
    if answer.status_code == 409:
        return Conflict(detail)
    if answer.status_code == 400:
        return Invalid(detail)
    return KilonovaError(f"Placement refused {method} {path}: {detail}")
