"""Pages of lists: which one is asked for, and the link to the next."""

from typing import Any
from urllib.parse import urlencode

from kilonova.api.routing import Asked
from kilonova.core.errors import Invalid


def page(asked: Asked) -> tuple[int, str | None]:
    """Return the limit, never over ``[api] max_limit``, and the marker of the page that is asked for.

    Raises:
        Invalid: the limit is no whole number, or negative.
    """
    most: int = asked.services.conf.api.max_limit
    text = asked.query.get("limit", [str(most)])[0]
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"limit param must be a whole number of at least 0, not '{text}'")
    # Longer numbers are over every maximum, and Python refuses to read the longest.
    limit = most if len(text) > 12 else min(int(text), most)
    return limit, asked.query.get("marker", [None])[0]


def next_links(asked: Asked, path: str, limit: int, ids: list[Any]) -> list[dict[str, str]]:
    """Return the link to the next page, if this one, of items of these ids, is full."""
    if not ids or len(ids) < limit:
        return []
    parameters = {**asked.query, "marker": [str(ids[-1])]}
    # By name alone: of sort keys and their directions, the order counts.
    query = [(name, value) for name in sorted(parameters) for value in parameters[name]]
    return [{"rel": "next", "href": f"{asked.link(path)}?{urlencode(query)}"}]
