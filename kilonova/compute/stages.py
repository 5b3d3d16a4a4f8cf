"""Measures the stages of what a host does, as the events that users see."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.ids import HostName
from kilonova.core.instance import ActionEvent


class Stages:
    """The events of one action on one host, in the order in which they ended."""

    def __init__(self, host: HostName) -> None:
        self._host = host
        self.events: list[ActionEvent] = []

    def begin(self, name: str) -> ActionEvent:
        """Return an event that starts now."""
        return ActionEvent(name=name, started_at=utcnow(), host=self._host)

    def finish(self, event: ActionEvent, error: Exception | None = None) -> None:
        """Note the end of an event, and what went wrong."""
        done = msgspec.structs.replace(
            event, finished_at=utcnow(), result="Error" if error else "Success"
        )
        if error is not None:
            text = "".join(traceback.format_exception(error, limit=-5))
            done = msgspec.structs.replace(done, details=str(error), traceback=text)
        self.events.append(done)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a stage; whatever it raises is noted and passed on."""
        event = self.begin(name)
        try:
            yield
        except Exception as error:
            self.finish(event, error)
            raise
        self.finish(event)
