"""How the API notifies of what it has changed: of flavors, services, aggregates, keys, groups and servers.

    notices.tell(asked, "flavor.create", lambda: of_flavor(made))

The payload is made only if somebody wants notifications. What has a start and an end is told at both, and
without its end if it was refused.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from kilonova.api.routing import Asked
from kilonova.core.clock import utcnow
from kilonova.core.errors import KilonovaError
from kilonova.core.instance import Instance
from kilonova.core.states import VmState
from kilonova.rpc.notifications import instances
from kilonova.rpc.notifications.notification import END, START, Notification, Payload, by_api

LOG = logging.getLogger(__name__)

Make = Callable[[], Payload]


def tell(asked: Asked, event_type: str, payload: Make, publisher: str = "") -> None:
    """Notify of what has happened; without a publisher, it is the API of this machine."""
    if asked.services.notifier.is_on:
        _emit(asked, event_type, _made(payload), publisher)


@contextmanager
def told(asked: Asked, event_type: str, payload: Make, after: Make | None = None) -> Iterator[None]:
    """Notify of the start and, if nothing is raised, the end of what is done in the context.

    ``after`` makes the payload of the end, where that is another.
    """
    if not asked.services.notifier.is_on:
        yield
        return
    first = _made(payload)
    _emit(asked, f"{event_type}.{START}", first)
    yield
    _emit(asked, f"{event_type}.{END}", _made(after) if after else first)


@contextmanager
def told_gone(asked: Asked, event_type: str, payload: Make) -> Iterator[None]:
    """Notify, if nothing is raised in the context, of what there was before it."""
    if not asked.services.notifier.is_on:
        yield
        return
    before = _made(payload)
    yield
    _emit(asked, event_type, before)


def _made(payload: Make) -> Payload | None:
    """Make a payload; no request fails by what cannot be looked up for it."""
    try:
        return payload()
    except KilonovaError as error:
        LOG.info("Nobody is notified: %s", error)
        return None


def _emit(asked: Asked, event_type: str, payload: Payload | None, publisher: str = "") -> None:
    if payload is not None:
        services = asked.services
        publisher = publisher or by_api(services.conf.host)
        told = Notification(event_type=event_type, publisher=publisher, payload=payload)
        services.notifier.emit(asked.context, told)


def tell_server(asked: Asked, what: str, server: Instance) -> None:
    """Notify of what was done to a server, as ``lock``."""
    tell(asked, f"instance.{what}", lambda: instances.of_action(server, asked.context))


def tell_update(asked: Asked, before: Instance, after: Instance) -> None:
    """Notify of a server that is different now."""
    tell(
        asked,
        "instance.update",
        lambda: instances.of_update(before, after, asked.context, utcnow()),
    )


def tell_deleted(asked: Asked, server: Instance) -> None:
    """Notify of a server, as it was, that is deleted, and of which no host had anything."""
    gone = msgspec.structs.replace(
        server, vm_state=VmState.DELETED, task_state=None, terminated_at=utcnow(), deleted=True
    )
    tell_server(asked, "delete.start", server)
    tell_server(asked, "delete.end", gone)
