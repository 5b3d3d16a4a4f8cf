"""Tells the cell what guests did by themselves: a power-off from inside, a crash, an operator's hand."""

import logging
import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack

from msgspec import UNSET

from kilonova.compute.driver import Driver
from kilonova.compute.guests import Turns
from kilonova.compute.reporter import Reporter, Told
from kilonova.core.context import service_context
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.report import InstanceReport
from kilonova.core.states import PowerState, state_of

LOG = logging.getLogger(__name__)

_SETTLES = 1.0
"""Seconds from a change to the look at what came of it: a guest that reboots goes through several."""


class Watch:
    """A ``Watcher`` that takes note, waits until things have settled, and reports what is news.

    What an action did is reported by the action: a guest that has its turn is looked at afterwards.
    """

    def __init__(
        self,
        host: HostName,
        driver: Driver,
        reporter: Reporter,
        turns: Turns,
        off: Callable[[InstanceUuid], None] = lambda _: None,
    ) -> None:
        self._driver = driver
        self._off = off
        self._reporter = reporter
        self._turns = turns
        self._lock = threading.Lock()
        self._noted: set[InstanceUuid] = set()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{host}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=2)

    def power_changed(self, uuid: InstanceUuid, power: PowerState) -> None:
        """See ``Watcher``."""
        self._note((uuid,))

    def look_at(self, uuid: InstanceUuid) -> None:
        """Take note of a guest that somebody says has changed."""
        self._note((uuid,))

    def changes_missed(self) -> None:
        """See ``Watcher``."""
        self._note(tuple(self._reporter.told))

    def _note(self, uuids: Collection[InstanceUuid]) -> None:
        if uuids:
            with self._lock:
                self._noted.update(uuids)
            self._wake.set()

    def _run(self) -> None:
        while self._wake.wait() and not self._stopped.wait(_SETTLES):
            self._wake.clear()
            with self._lock:
                noted, self._noted = self._noted, set()
            try:
                self._note(self.look(noted))
            except KilonovaError as error:
                LOG.info("Changes of %d guests wait: %s", len(noted), error)
                self._note(noted)
            except Exception:
                LOG.exception("Changes of %d guests were not looked at", len(noted))

    def look(self, noted: Collection[InstanceUuid]) -> set[InstanceUuid]:
        """Report what is news of these guests; return those that are at work, to look at again.

        Raises:
            HypervisorUnavailable: the hypervisor does not answer.
        """
        with ExitStack() as turns:
            free = {uuid for uuid in noted if turns.enter_context(self._turns.turn_if_free(uuid))}
            told = {uuid: self._reporter.told[uuid] for uuid in free & self._reporter.told.keys()}
            if told:
                guests = self._driver.guests()
                for uuid, last in told.items():
                    guest = guests.get(uuid)
                    self._compare(uuid, last, guest.power if guest else PowerState.NOSTATE)
        return set(noted) - free

    def _compare(self, uuid: InstanceUuid, told: Told, power: PowerState) -> None:
        if power == told.power:
            return
        LOG.info("Guest %s is %s by itself, and was %s", uuid, power.name, told.power.name)
        self._reporter.send(
            InstanceReport(
                instance_uuid=uuid,
                epoch=told.epoch,
                request_id=service_context().request_id,
                vm_state=state_of(power),
                power_state=power,
                task_state=UNSET,
                if_idle=True,
            )
        )
        if power == PowerState.SHUTDOWN:
            self._off(uuid)
