"""Takes down what services in this process notify of, through oslo.messaging's own test driver."""

import time
from types import ModuleType
from typing import Any

import testtools

import kilonova.rpc  # noqa: F401 - chooses native threads

DRIVER = "[oslo_messaging_notifications]\ndriver = test\n"
"""What turns notifications on."""


def _driver() -> ModuleType:
    # Not above: the library must find that kilonova has chosen native threads.
    from oslo_messaging.notify import _impl_test  # noqa: PLC0415

    return _impl_test


class Notified:
    """The notifications since it was made."""

    def __init__(self, case: testtools.TestCase) -> None:
        _driver().reset()
        case.addCleanup(_driver().reset)

    def messages(self, about: str = "") -> list[dict[str, Any]]:
        """Return the messages whose event type begins so, in the order of sending."""
        sent = [message for _, message, _, _ in _driver().NOTIFICATIONS]
        return [message for message in sent if message["event_type"].startswith(about)]

    def contexts(self) -> list[dict[str, Any]]:
        """Return the contexts that the messages came with."""
        return [context for context, _, _, _ in _driver().NOTIFICATIONS]

    def types(self, about: str = "", *, without: str = "-") -> list[str]:
        """Return the event types that begin so, but for one."""
        types = [message["event_type"] for message in self.messages(about)]
        return [one for one in types if one != without]

    def await_count(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Return the messages once there are as many, or those that there are in the end."""
        deadline = time.monotonic() + seconds
        while len(self.messages()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        # One too many comes right behind.
        time.sleep(0.05)
        return self.messages()
