"""Sends notifications through oslo.messaging, beside everything else: nothing waits for them.

They wait in a queue of this process for the one thread that sends them, in order. What a broker that is
away leaves no room for is lost, counted, and logged once.
"""

import logging
import queue
import threading
import time
from typing import Protocol

import oslo_messaging
from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_messaging import opts
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing

from kilonova.core.context import RequestContext
from kilonova.core.counter import Counter
from kilonova.core.errors import BusUnavailable, Invalid
from kilonova.rpc.connect import MEMORY_SCHEME, transport_url
from kilonova.rpc.notifications.notification import Notification

LOG = logging.getLogger(__name__)


TOPIC = "versioned_notifications"
"""Where Nova's consumers listen, unless ``[oslo_messaging_notifications] topics`` says otherwise."""

_EXCHANGE = "nova"
"""The same of ``[DEFAULT] control_exchange``. What services say to each other goes another way."""
_GROUP = "oslo_messaging_notifications"
_NEED_A_BROKER = frozenset({"messaging", "messagingv2", "routing"})
_NO_BROKER = "fake://"
"""The transport of drivers that send nothing."""
_MOST_WAITING = 10_000
_SAID_EVERY = 60.0
_ENDS = 2.0
"""Seconds that the end of a process waits for what is still to be sent."""

LOST = Counter("kilonova_notifications_lost", "Notifications that the bus did not take")


class Notifier(Protocol):
    """What services know of notifications."""

    @property
    def is_on(self) -> bool:
        """Whether anybody wants them: what costs something is looked up only then."""

    def emit(self, context: RequestContext, notification: Notification) -> None:
        """Send one, at some time. Never fails, and never waits."""

    def close(self) -> None:
        """Send what is still to be sent, if that goes at once."""


class Silent:
    """Nobody wants them."""

    is_on = False

    def emit(self, _context: RequestContext, _notification: Notification) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def load(conf: cfg.ConfigOpts) -> Notifier:
    """Return what ``[oslo_messaging_notifications]`` asks for; without a ``driver`` that is nothing.

    Raises:
        Invalid: a driver needs a broker, and there is none.
        BusUnavailable: the library does not know the transport.
    """
    conf.register_opts(dict(opts.list_opts())[_GROUP], group=_GROUP)
    conf.set_default("topics", [TOPIC], group=_GROUP)
    section = conf[_GROUP]
    drivers = set(section.driver) - {"noop"}
    if not drivers:
        return Silent()
    # Reading it also registers the exchange.
    url = transport_url(conf)
    conf.set_default("control_exchange", _EXCHANGE)
    url = section.transport_url or url
    if url.startswith(MEMORY_SCHEME):
        if drivers & _NEED_A_BROKER:
            raise Invalid(
                f"[{_GROUP}] driver: {', '.join(sorted(drivers & _NEED_A_BROKER))} needs a broker, and "
                f"this deployment has none; set transport_url of the same section."
            )
        url = _NO_BROKER
    return OsloNotifier(conf, url)


class OsloNotifier:
    """Sends through the drivers that are configured."""

    is_on = True

    def __init__(self, conf: cfg.ConfigOpts, url: str) -> None:
        # The library registers these with oslo.config's global object only, and reads them from ours.
        conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
        conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
        try:
            transport = oslo_messaging.get_notification_transport(conf, url=url)
        except oslo_messaging.exceptions.MessagingException as error:
            # Its words have the URL in them, passwords and all.
            raise BusUnavailable("There is no bus for notifications behind this URL.") from error
        self._notifier = oslo_messaging.Notifier(transport, serializer=_Contexts())
        logging.getLogger("oslo_messaging.notify.messaging").addFilter(_once)
        self._waiting: queue.Queue[tuple[RequestContext, Notification] | None] = queue.Queue(
            _MOST_WAITING
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._full = False

    def emit(self, context: RequestContext, notification: Notification) -> None:
        """See ``Notifier``."""
        self._ensure_thread()
        try:
            self._waiting.put_nowait((context, notification))
        except queue.Full:
            LOST.add()
            if not self._full:
                LOG.warning("Notifications are lost: %d wait for the bus", _MOST_WAITING)
            self._full = True
        else:
            self._full = False

    def close(self) -> None:
        """See ``Notifier``."""
        thread = self._thread
        if thread is None:
            return
        try:
            self._waiting.put(None, timeout=_ENDS)
        except queue.Full:
            return
        thread.join(_ENDS)

    def _ensure_thread(self) -> None:
        # Not before it is needed: a server's workers are forked from a process that has this already.
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while (next_ := self._waiting.get()) is not None:
            context, told = next_
            teller = self._notifier.prepare(publisher_id=told.publisher)
            send = teller.error if told.priority == "ERROR" else teller.info
            # It logs what its drivers raise, and raises nothing.
            send(_shown(context), told.event_type, told.payload)


def _shown(context: RequestContext) -> oslo_context.RequestContext:
    return oslo_context.RequestContext(
        request_id=context.request_id,
        global_request_id=context.global_request_id or None,
        user_id=context.user_id or None,
        project_id=context.project_id or None,
        overwrite=False,
    )


class _Contexts(oslo_messaging.NoOpSerializer):  # type: ignore[misc]
    """Sends a context as a document, under the names that Nova's has beside the library's."""

    def serialize_context(self, ctxt: oslo_context.RequestContext) -> dict[str, object]:
        return {**ctxt.to_dict(), "user_id": ctxt.user_id, "project_id": ctxt.project_id}


class _Once(logging.Filter):
    """Of notifications that cannot be sent: one line a minute, without what would have been sent."""

    def __init__(self) -> None:
        super().__init__()
        self._said = -_SAID_EVERY

    def filter(self, record: logging.LogRecord) -> bool:
        LOST.add()
        if time.monotonic() - self._said < _SAID_EVERY:
            return False
        self._said = time.monotonic()
        error = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = "Notifications are lost: %s", (type(error).__name__,)
        record.exc_info = None
        return True


_once = _Once()
