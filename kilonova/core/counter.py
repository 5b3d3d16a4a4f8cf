"""The counters that ``/metrics`` shows.

prometheus_client decides at its first import whether it counts over several worker processes, and a service
knows only after the modules that count are loaded whether it will have any: so a counter is declared with
its module and made when it is first counted or shown.
"""

import threading
from typing import Any

_MAKING = threading.Lock()
_all: list["Counter"] = []


def make_all() -> None:
    """Make every counter that is declared, so that it is shown before anything was counted."""
    for counter in _all:
        counter.made()


class Counter:
    """What only grows, by the values of its labels."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        self._declared = (name, text, labels)
        self._made: Any = None
        _all.append(self)

    def add(self, *labels: str) -> None:
        """Count one more, with a value for each label."""
        made = self.made()
        (made.labels(*labels) if labels else made).inc()

    def value(self, *labels: str) -> float:
        """Return what this process has counted under these labels."""
        made = self.made()
        one = made.labels(*labels) if labels else made
        return float(one._value.get())

    def made(self) -> Any:
        """Return prometheus_client's counter."""
        if self._made is None:
            # Whichever thread comes first: a name can be registered only once.
            with _MAKING:
                if self._made is None:
                    from prometheus_client import Counter as Registered  # noqa: PLC0415

                    self._made = Registered(*self._declared)
        return self._made
