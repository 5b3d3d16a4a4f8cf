"""Fetches images before anybody boots from them: one after the other, so that builds keep the network."""

import logging
from concurrent.futures import ThreadPoolExecutor

from kilonova.compute.driver import Driver
from kilonova.core.context import RequestContext, log_under
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName
from kilonova.core.image import Image
from kilonova.rpc.messages import CacheImages

LOG = logging.getLogger(__name__)


class Precache:
    """What a host was told to have; what it could not get is only logged, as whoever asked is gone."""

    def __init__(self, host: HostName, driver: Driver) -> None:
        self._driver = driver
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"precache-{host}")

    def add(self, context: RequestContext, message: CacheImages) -> None:
        """Fetch images, after those of earlier messages."""
        for image in message.images:
            self._thread.submit(self._fetch, context, image)

    def _fetch(self, context: RequestContext, image: Image) -> None:
        log_under(context)
        try:
            self._driver.cache_image(image)
        except KilonovaError as error:
            LOG.warning("Image %s is not cached: %s", image.image_id, error.in_full)
        except Exception:
            LOG.exception("Image %s is not cached", image.image_id)
        else:
            LOG.info("Image %s is cached", image.image_id)

    def stop(self) -> None:
        """Begin nothing any more; what was not fetched is fetched when it is needed."""
        self._thread.shutdown(wait=False, cancel_futures=True)
