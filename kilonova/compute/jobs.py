"""What an order becomes on its host: a job, and what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from kilonova.compute.driver import Driver
from kilonova.compute.shares import HostShares
from kilonova.compute.volumes import HostVolumes
from kilonova.compute.wiring import Wiring
from kilonova.core.ids import RequestId
from kilonova.core.instance import Instance, Nic
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.http.images import ImageStore


class Job(msgspec.Struct, frozen=True):
    """One order in hand.

    ``hurry`` tells whether the server is to be deleted anyway; ``say`` reports how far the task has come.
    """

    driver: Driver
    images: ImageStore
    wiring: Wiring
    instance: Instance
    order: Any
    hurry: Callable[[], bool]
    say: Callable[[TaskState], None]
    volumes: HostVolumes
    shares: HostShares
    request_id: RequestId

    @contextmanager
    def connected(self) -> Iterator[Instance]:
        """Have the server's volumes and shares here, and give the server with them as they are here."""
        instance = self.volumes.connect(self.instance, self.request_id)
        with self.shares.mounted(instance, self.request_id) as whole:
            yield whole


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is when a job has succeeded. What is UNSET stays as it was.

    ``password`` is the administrator's, as only the owner's key reads it.
    """

    vm_state: VmState | UnsetType = UNSET
    power_state: PowerState | UnsetType = UNSET
    launched_at: datetime | UnsetType = UNSET
    password: str | UnsetType = UNSET
    nics: tuple[Nic, ...] | UnsetType = UNSET


RUNS = Outcome(vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING)
IS_OFF = Outcome(vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
STANDS_STILL = Outcome(vm_state=VmState.PAUSED, power_state=PowerState.PAUSED)
IS_SAVED = Outcome(vm_state=VmState.SUSPENDED, power_state=PowerState.SUSPENDED)
IS_RESCUED = Outcome(vm_state=VmState.RESCUED, power_state=PowerState.RUNNING)
IS_KEPT = Outcome(vm_state=VmState.SOFT_DELETED, power_state=PowerState.SHUTDOWN)
SAME = Outcome()
