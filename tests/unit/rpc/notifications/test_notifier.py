"""Who is told, and that nobody waits for it or fails by it."""

import logging
import threading
import time

import testtools
from oslo_config import cfg

from kilonova.core import settings
from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable, Invalid
from kilonova.core.ids import RequestId
from kilonova.rpc.connect import transport_url
from kilonova.rpc.notifications import notifier
from kilonova.rpc.notifications.notification import ERROR, Notification
from kilonova.rpc.notifications.notifier import LOST, OsloNotifier

CONTEXT = RequestContext(request_id=RequestId("req-1"))
CHANGED = Notification(event_type="flavor.update", publisher="nova-api:h", payload={"a": 1})
GROUP = "oslo_messaging_notifications"


def configured(**options: object) -> cfg.ConfigOpts:
    """Return a configuration of a deployment in one process, with these options of notifications."""
    conf = settings.read_config([], prog="test", default_files=())
    # Both register what is set below.
    notifier.load(conf)
    transport_url(conf)
    conf.set_override("transport_url", "memory://test")
    for name, value in options.items():
        conf.set_override(name, value, group=GROUP)
    return conf


class LoadTest(testtools.TestCase):
    """What the configuration asks for."""

    def test_it_is_off_unless_a_driver_is_named(self) -> None:
        for options in ({}, {"driver": ["noop"]}):
            self.assertFalse(notifier.load(configured(**options)).is_on)

    def test_consumers_find_them_where_novas_are(self) -> None:
        conf = configured(driver=["log"])
        notifier.load(conf)
        self.assertEqual(["versioned_notifications"], conf[GROUP].topics)
        self.assertEqual("nova", conf.control_exchange)

    def test_an_operators_topics_count(self) -> None:
        conf = configured(topics=["mine"])
        notifier.load(conf)
        self.assertEqual(["mine"], conf[GROUP].topics)

    def test_what_needs_a_broker_is_refused_where_there_is_none(self) -> None:
        for driver in ("messaging", "messagingv2", "routing"):
            raised = self.assertRaises(Invalid, notifier.load, configured(driver=[driver]))
            self.assertIn(driver, raised.message)

    def test_a_broker_of_their_own_will_do(self) -> None:
        conf = configured(driver=["messagingv2"], transport_url="rabbit://u:p@127.0.0.1:1/")
        self.assertTrue(notifier.load(conf).is_on)

    def test_a_url_that_is_none_is_not_repeated(self) -> None:
        conf = configured(driver=["messagingv2"], transport_url="nonsense://u:secret@h/")
        raised = self.assertRaises(BusUnavailable, notifier.load, conf)
        self.assertNotIn("secret", raised.message)


class SendTest(testtools.TestCase):
    """Through oslo.messaging's log driver, which writes what it sends to a logger."""

    def setUp(self) -> None:
        super().setUp()
        self.notifier = notifier.load(configured(driver=["log"]))
        assert isinstance(self.notifier, OsloNotifier)
        self.addCleanup(self.notifier.close)

    def test_what_is_emitted_arrives_in_order_and_by_its_priority(self) -> None:
        written = _Written(self, "oslo.messaging.notification")
        failed = Notification(
            event_type="instance.create.error", publisher="p", payload={}, priority=ERROR
        )
        for one in (CHANGED, failed):
            self.notifier.emit(CONTEXT, one)
        self.notifier.close()
        self.assertEqual(
            [
                ("flavor.update", "oslo.messaging.notification.flavor.update", logging.INFO),
                (
                    "instance.create.error",
                    "oslo.messaging.notification.instance.create.error",
                    logging.ERROR,
                ),
            ],
            [
                (one.event_type, record.name, record.levelno)
                for one, record in zip((CHANGED, failed), written.records, strict=True)
            ],
        )
        self.assertIn('"publisher_id": "nova-api:h"', written.records[0].getMessage())

    def test_what_there_is_no_room_for_is_lost_and_counted_and_said_once(self) -> None:
        self.patch(notifier, "_MOST_WAITING", 2)
        stuck = notifier.load(configured(driver=["log"]))
        free = threading.Event()
        self.addCleanup(free.set)
        written = _Written(self, "oslo.messaging.notification", hold=free)
        said = _Written(self, notifier.__name__)
        stuck.emit(CONTEXT, CHANGED)
        written.reached.wait(5)
        lost, began = LOST.value(), time.monotonic()
        for _ in range(5):
            stuck.emit(CONTEXT, CHANGED)
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(3, LOST.value() - lost)
        self.assertEqual(1, len(said.records))
        free.set()
        stuck.close()
        self.assertEqual(3, len(written.records))

    def test_what_the_bus_refuses_is_logged_without_what_it_says(self) -> None:
        logger = logging.getLogger("oslo_messaging.notify.messaging")
        notifier._once._said = -1000.0
        said = _Written(self, logger.name)
        lost = LOST.value()
        for _ in range(2):
            logger.error("Could not send %s", {"payload": "everything"}, exc_info=OSError("away"))
        self.assertEqual(
            ["Notifications are lost: OSError"], [r.getMessage() for r in said.records]
        )
        self.assertIsNone(said.records[0].exc_info)
        self.assertEqual(2, LOST.value() - lost)


class _Written(logging.Handler):
    """Keeps what a logger writes; the first waits for ``hold``."""

    def __init__(
        self, case: testtools.TestCase, name: str, hold: threading.Event | None = None
    ) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.reached = threading.Event()
        self._hold = hold
        logger = logging.getLogger(name)
        before = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        case.addCleanup(logger.setLevel, before)
        case.addCleanup(logger.removeHandler, self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.reached.set()
        if self._hold is not None:
            self._hold.wait(5)
