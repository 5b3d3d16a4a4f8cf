"""What users name on a command line: flavors and images by id or name, and pairs."""

import uuid
from collections.abc import Iterable
from urllib.parse import quote

from kilonova.cli.cloud import Cloud
from kilonova.core.errors import Invalid


def flavor_id(where: Cloud, wanted: str) -> str:
    """Return the id of a flavor that has this id or, if none has, this name."""
    flavors = where.ask("GET", f"{where.compute}/flavors")["flavors"]
    for key in ("id", "name"):
        for flavor in flavors:
            if flavor[key] == wanted:
                return str(flavor["id"])
    # A private flavor is not in the list; the API says whether there is one.
    return wanted


def image_id(where: Cloud, wanted: str) -> str:
    """Return the id of an image that is named by its id or its name.

    Raises:
        Invalid: there is none of that name, or more than one.
    """
    try:
        return str(uuid.UUID(wanted))
    except ValueError:
        listed = where.ask("GET", f"{where.image()}/images?name={quote(wanted)}")
    ids = [str(image["id"]) for image in listed["images"]]
    if not ids:
        raise Invalid(f"There is no image called {wanted}.")
    if len(ids) > 1:
        raise Invalid(
            f"{len(ids)} images are called {wanted}; give the id of one: {', '.join(ids)}"
        )
    return ids[0]


def pairs(words: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    """Yield the (key, value) of each KEY=VALUE that was given to an option.

    Raises:
        Invalid: one is none.
    """
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise Invalid(f"{option} {word}: it must be KEY=VALUE")
        yield name, value
