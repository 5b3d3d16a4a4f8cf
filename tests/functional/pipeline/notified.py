"""Takes down what a deployment in this process notifies of, through oslo.messaging's own test driver."""

from typing import Any

import testtools
from oslo_messaging.notify import _impl_test

DRIVER = "[oslo_messaging_notifications]\ndriver = test\n"
"""What turns notifications on."""


class Notified:
    """The notifications since it was made."""

    def __init__(self, case: testtools.TestCase) -> None:
        _impl_test.reset()
        case.addCleanup(_impl_test.reset)

    def messages(self, about: str = "") -> list[dict[str, Any]]:
        """Return the messages whose event type begins so, in the order of sending."""
        sent = [message for _, message, _, _ in _impl_test.NOTIFICATIONS]
        return [message for message in sent if message["event_type"].startswith(about)]

    def types(self, about: str = "", *, without: str = "-") -> list[str]:
        """Return the event types that begin so, but for one."""
        types = [message["event_type"] for message in self.messages(about)]
        return [one for one in types if one != without]
