"""``/os-aggregates/{id}/images``: its hosts fetch images before anybody boots from them there."""

import logging
from uuid import UUID

from kilonova.api import notices
from kilonova.api.aggregates import number_of
from kilonova.api.microversions import Since
from kilonova.api.parameters import closed
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.core.errors import Invalid, KilonovaError, NotFound
from kilonova.core.ids import ImageId
from kilonova.core.image import Image
from kilonova.db import aggregates
from kilonova.db.cells import mapped_hosts
from kilonova.rpc.messages import CacheImages
from kilonova.rpc.notifications.aggregates import of_aggregate

LOG = logging.getLogger(__name__)

_SINCE = Since.IMAGE_CACHING
_ONE = closed({"id": {"type": "string", "format": "uuid"}}, "id")
_IMAGES = {"type": "array", "items": _ONE, "minItems": 1, "maxItems": 1000}
_BODY = Schemas({_SINCE: closed({"cache": _IMAGES}, "cache")})


def cache(asked: Asked, aggregate_id: str) -> Answer:
    """Tell every host of an aggregate; when each is done, and whether it could, is for its log to say.

    Raises:
        NotFound: there is no such aggregate.
        Invalid: an image is named twice, or is not there.
    """
    found = aggregates.get(asked.services.api_db, number_of(aggregate_id))
    message = CacheImages(images=_images(asked))
    notices.tell(asked, "aggregate.cache_images.start", lambda: of_aggregate(found))
    cells = mapped_hosts(asked.services.api_db)
    for host in found.hosts:
        try:
            # One that is in no cell has no bus.
            asked.services.cell_bus(cells[host]).cast(asked.context, message, host=host)
        except (KeyError, KilonovaError) as error:
            LOG.warning("%s fetches images only when it needs them: %s", host, error)
    return Answer(status=202)


def _images(asked: Asked) -> tuple[Image, ...]:
    names = [str(UUID(one["id"])) for one in asked.body["cache"]]
    if len(set(names)) < len(names):
        raise Invalid("An image is named twice.")
    try:
        return tuple(asked.services.images.get(asked.context, ImageId(name)) for name in names)
    except NotFound as error:
        raise Invalid(error.message) from error


ROUTES = (
    Route(
        "POST",
        "/os-aggregates/{aggregate_id}/images",
        "compute:aggregates:images",
        cache,
        body=_BODY,
        when=_SINCE,
    ),
)
